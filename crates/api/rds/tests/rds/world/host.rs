//! A host from a script: processes, volumes and snapshots that outlive the server. It refuses what the real one refuses, and
//! watches that nobody opens what must stay shut.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use clusters::{InstanceResourceId, Process, SnapshotResourceId, VolumeId};
use engine::{Address, CloneOrder, Host, HostFault, OpenOrder, Sighting, VolumeState, Work, Wrapped};
use volume::Anchor;

use super::{death::Death, keys::ScriptedKeys};

/// The keys that the header names, what has been written, and how often it was opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Volume {
    /// Each with its wrapped copy; the newest last.
    pub keys: Vec<([u8; 32], Vec<u8>)>,
    pub rows: Vec<String>,
    epoch: u32,
}

impl Volume {
    /// The newest key.
    pub fn key(&self) -> [u8; 32] {
        self.keys.last().expect("a volume has a key").0
    }

    fn wrapped_keys(&self) -> Vec<Vec<u8>> {
        self.keys.iter().map(|(_, wrapped)| wrapped.clone()).collect()
    }

    fn anchor(&self) -> Vec<u8> {
        let sequence = self.rows.len() as u64;
        Anchor { epoch: self.epoch, salt: [1; 32], sequence, chain: [2; 16] }.to_bytes().to_vec()
    }

    /// Whether its log has been where the anchor says.
    fn contains(&self, anchor: &[u8]) -> bool {
        let anchor = Anchor::from_bytes(anchor).expect("an anchor that was kept");
        anchor.epoch <= self.epoch && anchor.sequence <= self.rows.len() as u64
    }
}

/// A process of an instance.
#[derive(Debug, Default)]
struct Running {
    process: Process,
    volume: Option<VolumeId>,
    /// It came up on a wrong or missing volume.
    failure: Option<String>,
    refused: bool,
    open: VolumeState,
    /// The anchor that it was told is kept.
    kept: Option<Vec<u8>>,
}

#[derive(Default)]
struct State {
    processes: BTreeMap<InstanceResourceId, Running>,
    volumes: BTreeMap<VolumeId, Volume>,
    snapshots: BTreeMap<SnapshotResourceId, Volume>,
    /// What was being removed.
    ruins: BTreeSet<String>,
    failing: BTreeSet<&'static str>,
    /// Databases do not come up.
    broken: bool,
    /// Where every database answers, instead of nowhere.
    answers: Option<u16>,
    passwords: Vec<String>,
}

pub struct ScriptedHost {
    state: Mutex<State>,
    death: Arc<Death>,
    keys: Arc<ScriptedKeys>,
}

impl ScriptedHost {
    pub fn new(death: Arc<Death>, keys: Arc<ScriptedKeys>) -> Self {
        Self { state: Mutex::default(), death, keys }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    /// Time passes: databases come up and go down.
    pub fn advance(&self) {
        self.with(|s| {
            let broken = s.broken;
            for running in s.processes.values_mut() {
                match running.process {
                    Process::Opening if broken => {
                        running.process = Process::Broken;
                        running.failure = Some("it does not come up".into());
                    }
                    Process::Opening if running.kept == running.open.anchor => {
                        running.process = Process::Serving;
                    }
                    _ => {}
                }
            }
            s.processes.retain(|_, running| running.process != Process::Stopping);
        });
    }

    pub fn fail(&self, order: &'static str, fails: bool) {
        self.with(|s| if fails { s.failing.insert(order) } else { s.failing.remove(order) });
    }

    pub fn broken(&self, broken: bool) {
        self.with(|s| s.broken = broken);
    }

    /// Databases answer at a port.
    pub fn answer_at(&self, port: u16) {
        self.with(|s| s.answers = Some(port));
    }

    /// A process dies by itself.
    pub fn accident(&self) {
        self.with(|s| s.processes.pop_first());
    }

    pub fn processes(&self) -> BTreeMap<InstanceResourceId, Process> {
        self.with(|s| s.processes.iter().map(|(id, running)| (id.clone(), running.process)).collect())
    }

    /// Processes that hold a key.
    pub fn open(&self) -> usize {
        self.with(|s| s.processes.values().filter(|running| running.volume.is_some()).count())
    }

    pub fn volumes(&self) -> usize {
        self.with(|s| s.volumes.len())
    }

    pub fn snapshots(&self) -> usize {
        self.with(|s| s.snapshots.len())
    }

    /// What a snapshot holds, if its files are here.
    pub fn snapshot(&self, id: &SnapshotResourceId) -> Option<Volume> {
        self.with(|s| s.snapshots.get(id).cloned())
    }

    /// The files of a snapshot come from elsewhere.
    pub fn put_snapshot(&self, id: &SnapshotResourceId, content: Volume) {
        self.with(|s| s.snapshots.insert(id.clone(), content));
    }

    pub fn lose_snapshots(&self) {
        self.with(|s| s.snapshots.clear());
    }

    /// Volumes and snapshots of which some files are left.
    pub fn ruins(&self) -> usize {
        self.with(|s| s.ruins.len())
    }

    /// Every volume as it is now.
    pub fn copy_volumes(&self) -> BTreeMap<VolumeId, Volume> {
        self.with(|s| s.volumes.clone())
    }

    /// Puts volumes back as they were.
    pub fn put_back(&self, volumes: BTreeMap<VolumeId, Volume>) {
        self.with(|s| s.volumes = volumes);
    }

    /// Renewals of open volumes come to their end.
    pub fn finish_renewals(&self) {
        self.with(|s| {
            for running in s.processes.values_mut() {
                if let Some(volume) = running.volume.as_ref().and_then(|volume| s.volumes.get_mut(volume)) {
                    volume.keys.drain(..volume.keys.len() - 1);
                    running.open.wrapped_keys = volume.wrapped_keys();
                }
            }
        });
    }

    /// Databases find no room for more, or do again.
    pub fn fill(&self, full: bool) {
        self.with(|s| s.processes.values_mut().for_each(|running| running.open.full = full));
    }

    /// Something in the volumes of running databases is found damaged.
    pub fn damage(&self, what: &str) {
        self.with(|s| s.processes.values_mut().for_each(|running| running.open.damage.push(what.into())));
    }

    pub fn lose_volumes(&self) {
        self.with(|s| s.volumes.clear());
    }

    /// Starts a process that no record knows.
    pub fn stray(&self, id: &str) {
        self.with(|s| s.processes.insert(id.parse().unwrap(), Running::default()));
    }

    /// Writes a row to every database that serves.
    pub fn write(&self, row: &str) {
        self.with(|s| {
            let serving = s.processes.values().filter(|running| running.process == Process::Serving);
            for volume in serving.filter_map(|running| running.volume.clone()).collect::<Vec<_>>() {
                s.volumes.get_mut(&volume).expect("an open volume").rows.push(row.into());
            }
            for running in s.processes.values_mut() {
                if let Some(volume) = running.volume.as_ref().and_then(|volume| s.volumes.get(volume)) {
                    running.open.anchor = Some(volume.anchor());
                }
            }
        });
    }

    /// The rows of every volume.
    pub fn rows(&self) -> Vec<Vec<String>> {
        self.with(|s| s.volumes.values().map(|volume| volume.rows.clone()).collect())
    }

    /// Master passwords as databases were made with them.
    pub fn passwords(&self) -> Vec<String> {
        self.with(|s| s.passwords.clone())
    }

    async fn clear(&self, name: &str) -> Result<(), HostFault> {
        self.order("clear", |s| {
            s.ruins.remove(name);
            Ok(())
        })
        .await
    }

    async fn order<T>(
        &self,
        order: &'static str,
        act: impl FnOnce(&mut State) -> Result<T, String>,
    ) -> Result<T, HostFault> {
        self.death.pass().await;
        let done = self.with(|s| match s.failing.contains(order) {
            true => Err("the script says so".to_owned()),
            false => act(s),
        });
        self.death.pass().await;
        done.map_err(|detail| HostFault { order, detail })
    }
}

impl State {
    fn open(&mut self, id: &InstanceResourceId, order: &OpenOrder) -> Result<(), String> {
        let others = self.processes.iter().filter(|(other, _)| *other != id);
        let twice = others.map(|(_, running)| running).any(|r| r.volume.as_ref() == Some(&order.volume));
        assert!(!twice, "two processes on one volume");
        let key = *order.key.expose();
        let known: Vec<_> = order.older_keys.iter().chain([&order.key]).map(|key| *key.expose()).collect();
        let running = self.processes.get_mut(id).ok_or("it has no process")?;
        if running.process != Process::Idle {
            return Ok(());
        }
        if let Some(password) = &order.initial.master_password {
            self.passwords.push(password.expose().to_owned());
        }
        if order.volume_may_be_new {
            self.volumes.entry(order.volume.clone()).or_insert_with(|| Volume {
                keys: vec![(key, order.wrapped_key.clone())],
                rows: Vec::new(),
                epoch: 0,
            });
        }
        running.process = match self.volumes.get_mut(&order.volume) {
            Some(volume) if order.anchor.as_ref().is_some_and(|anchor| !volume.contains(anchor)) => {
                running.failure = Some("the volume is an older copy".into());
                running.refused = true;
                Process::Broken
            }
            Some(volume) => {
                let opens = volume.keys.iter().all(|(key, _)| known.contains(key));
                assert!(opens, "a volume is opened with all keys that its header names");
                running.open.wrapped_keys = volume.wrapped_keys();
                running.volume = Some(order.volume.clone());
                volume.epoch += 1;
                running.open.anchor = Some(volume.anchor());
                Process::Opening
            }
            None => {
                running.failure = Some("the volume is missing".into());
                Process::Broken
            }
        };
        Ok(())
    }
}

impl Host for ScriptedHost {
    fn observe(&self) -> Work<'_, BTreeMap<InstanceResourceId, Sighting>> {
        Box::pin(self.order("observe", |s| {
            let see = |(id, running): (&InstanceResourceId, &Running)| {
                let serves = running.process == Process::Serving;
                let nowhere = || Address::Unix(format!("/run/{id}").into());
                let address = serves.then(|| s.answers.map_or_else(nowhere, Address::Tcp));
                let Running { process, failure, refused, open, .. } = running;
                let (failure, open) = (failure.clone(), open.clone());
                (id.clone(), Sighting { process: *process, address, failure, refused: *refused, open })
            };
            Ok(s.processes.iter().map(see).collect())
        }))
    }

    fn spawn<'a>(&'a self, id: &'a InstanceResourceId) -> Work<'a, ()> {
        Box::pin(self.order("spawn", |s| {
            let idle = Running { process: Process::Idle, ..Running::default() };
            s.processes.entry(id.clone()).or_insert(idle);
            Ok(())
        }))
    }

    fn open<'a>(&'a self, id: &'a InstanceResourceId, order: OpenOrder) -> Work<'a, ()> {
        Box::pin(async move {
            assert!(self.keys.would_open(&order.wrapped_key), "a key is handed over that may not be used");
            self.order("open", |s| s.open(id, &order)).await
        })
    }

    fn anchored<'a>(&'a self, id: &'a InstanceResourceId, anchor: Vec<u8>) -> Work<'a, ()> {
        Box::pin(self.order("anchored", move |s| {
            if let Some(running) = s.processes.get_mut(id) {
                running.kept = Some(anchor);
            }
            Ok(())
        }))
    }

    fn renew_key<'a>(&'a self, id: &'a InstanceResourceId, new: Wrapped) -> Work<'a, ()> {
        Box::pin(async move {
            assert!(self.keys.would_open(&new.wrapped), "a key is handed over that may not be used");
            self.order("renew_key", move |s| {
                let running = s.processes.get_mut(id).ok_or("it has no process")?;
                let volume = running.volume.as_ref().ok_or("it has no volume")?;
                let volume = s.volumes.get_mut(volume).ok_or("the volume is missing")?;
                if volume.keys.last().is_none_or(|(_, wrapped)| *wrapped != new.wrapped) {
                    volume.keys.push((*new.key.expose(), new.wrapped));
                }
                running.open.wrapped_keys = volume.wrapped_keys();
                Ok(())
            })
            .await
        })
    }

    fn stop<'a>(&'a self, id: &'a InstanceResourceId) -> Work<'a, ()> {
        Box::pin(self.order("stop", |s| {
            if let Some(running) = s.processes.get_mut(id) {
                running.process = Process::Stopping;
            }
            Ok(())
        }))
    }

    fn lock<'a>(&'a self, id: &'a InstanceResourceId) -> Work<'a, ()> {
        Box::pin(self.order("lock", |s| {
            s.processes.remove(id);
            Ok(())
        }))
    }

    fn kill<'a>(&'a self, id: &'a InstanceResourceId) -> Work<'a, ()> {
        Box::pin(self.order("kill", |s| {
            s.processes.remove(id);
            Ok(())
        }))
    }

    fn has_volume<'a>(&'a self, volume: &'a VolumeId) -> Work<'a, bool> {
        Box::pin(self.order("has_volume", |s| Ok(s.volumes.contains_key(volume))))
    }

    fn clone_volume(&self, order: CloneOrder) -> Work<'_, ()> {
        Box::pin(self.order("clone_volume", move |s| {
            let snapshot = s.snapshots.get(&order.snapshot).cloned().ok_or("the snapshot is missing")?;
            let wrap = |(key, _): &([u8; 32], Vec<u8>)| {
                let known = order.keys.iter().find(|known| known.key.expose() == key);
                (*key, known.expect("a clone keeps the keys of its source").wrapped.clone())
            };
            let mut keys: Vec<_> = snapshot.keys.iter().map(wrap).collect();
            keys.extend(order.own.map(|own| (*own.key.expose(), own.wrapped)));
            // A clone goes on with the log of its source.
            s.volumes.insert(order.volume, Volume { keys, ..snapshot });
            Ok(())
        }))
    }

    fn remove_volume<'a>(&'a self, volume: &'a VolumeId) -> Work<'a, ()> {
        Box::pin(async move {
            self.order("remove_volume", |s| {
                assert!(
                    s.processes.values().all(|r| r.volume.as_ref() != Some(volume)),
                    "removed while open"
                );
                s.ruins.extend(s.volumes.remove(volume).map(|_| volume.to_string()));
                Ok(())
            })
            .await?;
            self.clear(volume.as_str()).await
        })
    }

    fn has_snapshot<'a>(&'a self, snapshot: &'a SnapshotResourceId) -> Work<'a, bool> {
        Box::pin(self.order("has_snapshot", |s| Ok(s.snapshots.contains_key(snapshot))))
    }

    fn take_snapshot<'a>(
        &'a self,
        snapshot: &'a SnapshotResourceId,
        volume: &'a VolumeId,
        through: Option<&'a InstanceResourceId>,
    ) -> Work<'a, ()> {
        Box::pin(self.order("take_snapshot", move |s| {
            let open = s.processes.iter().find(|(_, running)| running.volume.as_ref() == Some(volume));
            if open.map(|(id, _)| id) != through {
                return Err("the volume is open elsewhere, or not at all".into());
            }
            let content = s.volumes.get(volume).cloned().ok_or("the volume is missing")?;
            s.snapshots.entry(snapshot.clone()).or_insert(content);
            Ok(())
        }))
    }

    fn remove_snapshot<'a>(&'a self, snapshot: &'a SnapshotResourceId) -> Work<'a, ()> {
        Box::pin(async move {
            self.order("remove_snapshot", |s| {
                s.ruins.extend(s.snapshots.remove(snapshot).map(|_| snapshot.to_string()));
                Ok(())
            })
            .await?;
            self.clear(snapshot.as_str()).await
        })
    }
}
