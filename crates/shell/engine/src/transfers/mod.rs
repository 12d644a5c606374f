//! Long work on snapshots, which goes on beside everything else: into the store, and back out of it.

mod collector;
mod copy;
mod jobs;
mod local;

use clusters::{SnapshotResourceId, VolumeId};
use volume::VolumeKey;

use crate::Work;

pub use local::LocalTransfers;

/// How far long work is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Headway {
    /// It is under way; 0 to 100.
    Running { percent: u8 },
    /// It is done, durably.
    Done,
}

/// What makes a snapshot out of another.
#[derive(Debug)]
pub struct CopyOrder {
    pub source: SnapshotResourceId,
    pub snapshot: SnapshotResourceId,
    /// The volume that both show.
    pub volume: VolumeId,
    /// Without it the copy has the blocks of its source.
    pub reseal: Option<Reseal>,
}

/// The keys of a copy whose blocks are sealed anew.
#[derive(Debug)]
pub struct Reseal {
    /// All that the source may need.
    pub source_keys: Vec<VolumeKey>,
    /// What the log of the source has to contain ([`volume::Anchor`]).
    pub anchor: Option<Vec<u8>>,
    pub key: VolumeKey,
    pub wrapped_key: Vec<u8>,
}

/// Moves snapshots between this machine and the object store. Each call starts the work if it is not under way, goes
/// on where an earlier server was interrupted, and answers at once; a fault ends the work, and the next call begins it
/// again.
pub trait Transfers: Send + Sync {
    /// Is there a store? Without one, snapshots live on this machine alone.
    fn has_store(&self) -> bool;

    /// Brings a snapshot of this machine into the store.
    fn upload<'a>(&'a self, snapshot: &'a SnapshotResourceId) -> Work<'a, Headway>;

    /// Brings a snapshot that is not on this machine back from the store, whole or not at all. Answers after a moment,
    /// as whoever waits for a volume can do nothing else meanwhile.
    fn fetch<'a>(&'a self, snapshot: &'a SnapshotResourceId) -> Work<'a, Headway>;

    /// Copies a snapshot of this machine, whole or not at all.
    fn copy(&self, order: CopyOrder) -> Work<'_, Headway>;

    /// Looks at the work for a snapshot; `None` if none is under way. The end of it is told once.
    fn look<'a>(&'a self, snapshot: &'a SnapshotResourceId) -> Work<'a, Option<Headway>>;

    /// Ends work for a snapshot. Returns when it has ended.
    fn cancel<'a>(&'a self, snapshot: &'a SnapshotResourceId) -> Work<'a, ()>;

    /// Ends work for a snapshot, and removes it from the store and what was fetched or copied of it so far. Returns when it is
    /// done.
    fn remove<'a>(&'a self, snapshot: &'a SnapshotResourceId) -> Work<'a, ()>;

    /// Gives back what no snapshot in the store needs, in the background.
    fn collect(&self);

    /// What the store gave back, when a snapshot was fetched last, that is not what was put there.
    fn damage(&self, snapshot: &SnapshotResourceId) -> Option<String>;

    /// How far the work for a snapshot is, if any is under way.
    fn percent(&self, snapshot: &SnapshotResourceId) -> Option<u8>;
}
