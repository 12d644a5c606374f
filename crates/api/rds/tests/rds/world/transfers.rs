//! A store for snapshots from a script. Every look at long work brings it half the way further.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use clusters::SnapshotResourceId;
use engine::{CopyOrder, Headway, HostFault, Transfers, Work};

use super::{
    death::Death,
    host::{ScriptedHost, Volume},
};

#[derive(Default)]
struct State {
    configured: bool,
    stored: BTreeMap<SnapshotResourceId, Volume>,
    failing: BTreeSet<&'static str>,
}

pub struct ScriptedTransfers {
    state: Mutex<State>,
    /// What is under way dies with the server.
    running: Mutex<BTreeMap<SnapshotResourceId, u8>>,
    copying: Mutex<BTreeMap<SnapshotResourceId, Volume>>,
    host: Arc<ScriptedHost>,
    death: Arc<Death>,
}

impl ScriptedTransfers {
    pub fn new(host: Arc<ScriptedHost>, death: Arc<Death>) -> Self {
        Self { state: Mutex::default(), running: Mutex::default(), copying: Mutex::default(), host, death }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    pub fn configure(&self, configured: bool) {
        self.with(|s| s.configured = configured);
    }

    pub fn fail(&self, order: &'static str, fails: bool) {
        self.with(|s| if fails { s.failing.insert(order) } else { s.failing.remove(order) });
    }

    pub fn stored(&self) -> usize {
        self.with(|s| s.stored.len())
    }

    /// The server has died.
    pub fn forget(&self) {
        self.running.lock().unwrap().clear();
        self.copying.lock().unwrap().clear();
    }

    async fn long<'a>(
        &'a self,
        order: &'static str,
        id: &'a SnapshotResourceId,
        finish: impl FnOnce(&mut State) -> Result<(), String> + Send + 'a,
    ) -> Result<Headway, HostFault> {
        self.death.pass().await;
        let fault = |detail: String| HostFault { order, detail };
        if self.with(|s| s.failing.contains(order)) {
            return Err(fault("the script says so".into()));
        }
        let percent = {
            let mut running = self.running.lock().unwrap();
            let percent = running.entry(id.clone()).and_modify(|percent| *percent += 50).or_default();
            if *percent < 100 {
                return Ok(Headway::Running { percent: *percent });
            }
            running.remove(id)
        };
        assert_eq!(percent, Some(100));
        self.with(finish).map_err(fault)?;
        self.death.pass().await;
        Ok(Headway::Done)
    }
}

impl Transfers for ScriptedTransfers {
    fn has_store(&self) -> bool {
        self.with(|s| s.configured)
    }

    fn upload<'a>(&'a self, snapshot: &'a SnapshotResourceId) -> Work<'a, Headway> {
        Box::pin(self.long("upload", snapshot, |s| {
            assert!(s.configured);
            let content = self.host.snapshot(snapshot).ok_or("the snapshot is missing")?;
            s.stored.insert(snapshot.clone(), content);
            Ok(())
        }))
    }

    fn fetch<'a>(&'a self, snapshot: &'a SnapshotResourceId) -> Work<'a, Headway> {
        Box::pin(self.long("fetch", snapshot, |s| {
            let content = s.stored.get(snapshot).cloned().ok_or("the store does not have it")?;
            self.host.put_snapshot(snapshot, content);
            Ok(())
        }))
    }

    fn copy(&self, order: CopyOrder) -> Work<'_, Headway> {
        Box::pin(async move {
            self.death.pass().await;
            let mut content = self.host.snapshot(&order.source).expect("asked for, and there");
            if let Some(reseal) = &order.reseal {
                let known = |key: &[u8; 32]| reseal.source_keys.iter().any(|known| known.expose() == key);
                assert!(
                    content.keys.iter().all(|(key, _)| known(key)),
                    "a copy is read with its source's keys"
                );
                assert!(!known(reseal.key.expose()), "a copy has a key of its own");
                content.keys = vec![(*reseal.key.expose(), reseal.wrapped_key.clone())];
            }
            if self.with(|s| s.failing.contains("copy")) {
                return Err(HostFault { order: "copy", detail: "the script says so".into() });
            }
            self.running.lock().unwrap().insert(order.snapshot.clone(), 0);
            self.copying.lock().unwrap().insert(order.snapshot, content);
            Ok(Headway::Running { percent: 0 })
        })
    }

    fn look<'a>(&'a self, snapshot: &'a SnapshotResourceId) -> Work<'a, Option<Headway>> {
        Box::pin(async move {
            let Some(content) = self.copying.lock().unwrap().get(snapshot).cloned() else { return Ok(None) };
            let headway = self.long("copy", snapshot, |_| {
                self.host.put_snapshot(snapshot, content);
                Ok(())
            });
            let headway = headway.await?;
            if headway == Headway::Done {
                self.copying.lock().unwrap().remove(snapshot);
            }
            Ok(Some(headway))
        })
    }

    fn cancel<'a>(&'a self, snapshot: &'a SnapshotResourceId) -> Work<'a, ()> {
        Box::pin(async move {
            self.running.lock().unwrap().remove(snapshot);
            self.copying.lock().unwrap().remove(snapshot);
            Ok(())
        })
    }

    fn remove<'a>(&'a self, snapshot: &'a SnapshotResourceId) -> Work<'a, ()> {
        Box::pin(async move {
            self.death.pass().await;
            self.cancel(snapshot).await?;
            self.with(|s| match s.failing.contains("remove") {
                true => Err(HostFault { order: "remove", detail: "the script says so".into() }),
                false => {
                    s.stored.remove(snapshot);
                    Ok(())
                }
            })
        })
    }

    fn collect(&self) {}

    fn damage(&self, _: &SnapshotResourceId) -> Option<String> {
        self.with(|s| s.failing.contains("damage")).then(|| "segment 3 is not in the store".into())
    }

    fn percent(&self, snapshot: &SnapshotResourceId) -> Option<u8> {
        self.running.lock().unwrap().get(snapshot).copied()
    }
}
