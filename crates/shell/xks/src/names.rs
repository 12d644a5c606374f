//! From a host name to addresses: what the settings say, else DNS, of which only public addresses are used. The very
//! addresses that are checked are the ones that are called: a name cannot mean another one a moment later.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::address::is_public;

/// Lookups under way of one name, and of all. One that is slow goes on when its caller has given up, on a thread of the
/// runtime's: there are never so many that others find none.
const MOST_OF_A_NAME: usize = 4;
const MOST: usize = 64;

/// Where proxies are.
#[derive(Debug)]
pub(crate) struct Names {
    known: Arc<BTreeMap<String, SocketAddr>>,
    lookups: Arc<Lookups>,
}

/// Lookups under way, by name.
#[derive(Debug, Default)]
struct Lookups(Mutex<HashMap<String, usize>>);

/// A lookup's place among them, until it ends.
struct Turn {
    name: String,
    lookups: Arc<Lookups>,
}

impl Names {
    pub(crate) fn new(known: Arc<BTreeMap<String, SocketAddr>>) -> Self {
        Self { known, lookups: Arc::default() }
    }
}

impl Turn {
    fn take(lookups: &Arc<Lookups>, name: &str) -> Option<Self> {
        let mut under_way = lookups.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_name = under_way.get(name).copied().unwrap_or_default();
        if of_name >= MOST_OF_A_NAME || under_way.values().sum::<usize>() >= MOST {
            return None;
        }
        under_way.insert(name.to_owned(), of_name + 1);
        Some(Self { name: name.to_owned(), lookups: Arc::clone(lookups) })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut under_way = self.lookups.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_name) = under_way.get_mut(&self.name) {
            *of_name -= 1;
            if *of_name == 0 {
                under_way.remove(&self.name);
            }
        }
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_lowercase();
        let known = self.known.get(&name).copied();
        let lookups = Arc::clone(&self.lookups);
        Box::pin(async move {
            if let Some(address) = known {
                return Ok(Box::new(std::iter::once(address)) as Addrs);
            }
            let turn = Turn::take(&lookups, &name)
                .ok_or_else(|| io::Error::other(format!("too many lookups of {name} are under way")))?;
            // A task of its own, which ends with the lookup and gives the turn back then.
            let found = tokio::spawn(async move {
                let found = tokio::net::lookup_host((turn.name.as_str(), 443)).await?;
                Ok::<_, io::Error>(found.filter(|address| is_public(address.ip())).collect::<Vec<_>>())
            });
            let public = found.await.map_err(io::Error::other)??;
            if public.is_empty() {
                let text = format!("{name} has no public address, and none in the settings");
                return Err(io::Error::other(text).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_name_takes_a_few_turns_and_gives_them_back() {
        let lookups = Arc::default();
        let mut turns: Vec<_> = (0..MOST_OF_A_NAME).filter_map(|_| Turn::take(&lookups, "slow")).collect();
        assert_eq!(turns.len(), MOST_OF_A_NAME);
        assert!(Turn::take(&lookups, "slow").is_none());
        turns.extend((0..MOST).filter_map(|n| Turn::take(&lookups, &n.to_string())));
        assert_eq!(turns.len(), MOST);
        turns.clear();
        assert!(Turn::take(&lookups, "slow").is_some());
        assert!(lookups.0.lock().unwrap().is_empty());
    }
}
