//! What is known of a cluster only while the server runs: who waits for it, where it answers, how often it failed.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use clusters::{ClusterResourceId, InstanceResourceId};
use ids::Timestamp;
use tokio::sync::{Notify, watch};

use engine::Address;

/// The longest wait between two starts of an instance.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The transient side of one cluster.
#[derive(Debug)]
pub struct Live {
    /// Held while a key is handed to a process or taken from it, so that neither misses the other.
    pub gate: tokio::sync::Mutex<()>,
    /// Something changed: plan again.
    pub wake: Notify,
    /// Where the writer answers; `None`: nobody may connect.
    pub target: watch::Sender<Option<Address>>,
    attempts: Mutex<HashMap<InstanceResourceId, Attempts>>,
    heard: Mutex<HashMap<InstanceResourceId, Heard>>,
}

/// What has been heard of an instance's volume, and dealt with.
#[derive(Debug, Default)]
struct Heard {
    /// The anchor that it was last told is kept.
    anchor: Option<Vec<u8>>,
    damage: HashSet<String>,
}

/// Starts of an instance since it last served.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attempts {
    pub count: u32,
    /// Not again before this instant.
    pub retry_at: Option<Timestamp>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            gate: tokio::sync::Mutex::default(),
            wake: Notify::new(),
            target: watch::Sender::new(None),
            attempts: Mutex::default(),
            heard: Mutex::default(),
        }
    }
}

impl Live {
    fn attempts(&self) -> MutexGuard<'_, HashMap<InstanceResourceId, Attempts>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often an instance was started in vain.
    pub fn attempts_of(&self, id: &InstanceResourceId) -> Attempts {
        self.attempts().get(id).copied().unwrap_or_default()
    }

    /// An instance is being started: the next attempt waits, longer every time.
    pub fn attempted(&self, id: &InstanceResourceId, now: Timestamp) {
        let mut attempts = self.attempts();
        let entry = attempts.entry(id.clone()).or_default();
        let wait = Duration::from_secs(1 << entry.count.min(6)).min(LONGEST_WAIT);
        *entry = Attempts { count: entry.count.saturating_add(1), retry_at: Some(now.plus(wait)) };
    }

    /// When the next instance that waits for it may be started again.
    pub fn next_attempt(&self, now: Timestamp) -> Option<Timestamp> {
        self.attempts().values().filter_map(|attempts| attempts.retry_at).filter(|at| *at > now).min()
    }

    /// An instance serves, or is gone, or is to be started at once.
    pub fn forgive(&self, id: &InstanceResourceId) {
        self.attempts().remove(id);
    }

    fn heard<T>(&self, id: &InstanceResourceId, with: impl FnOnce(&mut Heard) -> T) -> T {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        with(heard.entry(id.clone()).or_default())
    }

    /// Whether an instance has been told that this anchor is kept.
    pub fn is_anchored(&self, id: &InstanceResourceId, anchor: &[u8]) -> bool {
        self.heard(id, |heard| heard.anchor.as_deref() == Some(anchor))
    }

    /// An instance has been told that this anchor is kept.
    pub fn anchored(&self, id: &InstanceResourceId, anchor: &[u8]) {
        self.heard(id, |heard| heard.anchor = Some(anchor.to_vec()));
    }

    /// Whether there is an event about this damage.
    pub fn is_told(&self, id: &InstanceResourceId, damage: &str) -> bool {
        self.heard(id, |heard| heard.damage.contains(damage))
    }

    /// There is an event about this damage.
    pub fn told(&self, id: &InstanceResourceId, damage: &str) {
        self.heard(id, |heard| heard.damage.insert(damage.to_owned()));
    }

    /// Sets where the writer answers; connections to elsewhere end.
    pub fn point_to(&self, target: Option<Address>) {
        self.target.send_if_modified(|current| {
            let changed = *current != target;
            *current = target;
            changed
        });
    }
}

/// The transient sides of all clusters.
#[derive(Debug, Default)]
pub struct LiveClusters(Mutex<HashMap<ClusterResourceId, Arc<Live>>>);

impl LiveClusters {
    fn map(&self) -> MutexGuard<'_, HashMap<ClusterResourceId, Arc<Live>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That of one cluster.
    pub fn of(&self, id: &ClusterResourceId) -> Arc<Live> {
        self.map().entry(id.clone()).or_default().clone()
    }

    /// The cluster is gone.
    pub fn forget(&self, id: &ClusterResourceId) {
        if let Some(live) = self.map().remove(id) {
            live.point_to(None);
        }
    }
}
