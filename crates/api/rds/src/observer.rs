//! What runs on the host, looked at once for everyone who asks at the same time.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use clusters::InstanceResourceId;
use engine::{Host, HostFault, Sighting};
use tokio::sync::{Mutex, watch};

/// Every instance process there is.
pub type Sightings = BTreeMap<InstanceResourceId, Sighting>;

/// Looks at the host.
pub struct Observer {
    host: Arc<dyn Host>,
    /// Looks begun so far.
    begun: AtomicU64,
    last: Mutex<Look>,
    seen: watch::Sender<Arc<Sightings>>,
}

struct Look {
    number: u64,
    sightings: Arc<Sightings>,
}

impl Observer {
    pub fn new(host: Arc<dyn Host>) -> Self {
        let none = Arc::new(Sightings::new());
        let last = Mutex::new(Look { number: 0, sightings: Arc::clone(&none) });
        Self { host, begun: AtomicU64::new(0), last, seen: watch::Sender::new(none) }
    }

    /// The host as a look shows it that began after this call did.
    ///
    /// # Errors
    /// [`HostFault`].
    pub async fn look(&self) -> Result<Arc<Sightings>, HostFault> {
        let before = self.begun.load(Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if last.number <= before {
            let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
            let sightings = Arc::new(self.host.observe().await?);
            self.seen.send_if_modified(|seen| {
                let steady = |all: &Sightings| -> Vec<_> {
                    all.iter().map(|(id, sighting)| (id.clone(), sighting.without_counters())).collect()
                };
                let changed = steady(seen) != steady(&sightings);
                *seen = Arc::clone(&sightings);
                changed
            });
            *last = Look { number, sightings };
        }
        Ok(Arc::clone(&last.sightings))
    }

    /// What the last look showed.
    pub fn last(&self) -> Arc<Sightings> {
        Arc::clone(&self.seen.borrow())
    }

    /// Tells when a look shows something new, counters apart.
    pub fn changes(&self) -> watch::Receiver<Arc<Sightings>> {
        self.seen.subscribe()
    }
}
