//! The machine that instances and volumes live on. [`Host`] is implemented here; tests have a scripted one.

use std::{collections::BTreeMap, future::Future, path::PathBuf, pin::Pin};

use clusters::{DatabaseName, InstanceResourceId, MasterUsername, Process, SnapshotResourceId, VolumeId};
use wire::Secret;

use volume::{VolumeKey, WrappedKey};

pub use crate::protocol::{Counters, VolumeState};

/// What the host answers, in time.
pub type Work<'a, T> = Pin<Box<dyn Future<Output = Result<T, HostFault>> + Send + 'a>>;

/// The host could not do it. Every order may be given again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the host could not {order}: {detail}")]
pub struct HostFault {
    pub order: &'static str,
    pub detail: String,
}

/// How connections reach a database.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Address {
    /// A port on the loopback interface.
    Tcp(u16),
    /// A Unix socket.
    Unix(PathBuf),
}

/// The sight of one instance process.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sighting {
    pub process: Process,
    /// Where the database answers, while it serves.
    pub address: Option<Address>,
    /// Why it is broken.
    pub failure: Option<String>,
    /// What is wrong is in the volume itself: opening it again does not help.
    pub refused: bool,
    /// Of its volume, once that was open.
    pub open: VolumeState,
}

impl Sighting {
    /// The same, but for counters, which change all the time.
    #[must_use]
    pub fn without_counters(&self) -> Self {
        let mut steady = self.clone();
        steady.open.counters = Counters::default();
        steady
    }
}

/// What an instance process needs to open its volume and serve.
#[derive(Debug)]
pub struct OpenOrder {
    pub volume: VolumeId,
    /// The volume may be made if it is not there. `false` once it has held a database: a volume that is missing then is
    /// lost, and an empty one in its place would hide that.
    pub volume_may_be_new: bool,
    /// The newest key of the volume.
    pub key: VolumeKey,
    /// It wrapped, for the header of a new volume (spec/rds.md §12: a volume can be opened by it and KMS alone).
    pub wrapped_key: Vec<u8>,
    /// Older keys, which the volume may need still.
    pub older_keys: Vec<VolumeKey>,
    /// Directory of the PostgreSQL version to run.
    pub postgres_bin_dir: PathBuf,
    /// What to make if the volume has no database yet.
    pub initial: Initial,
    /// Names and addresses that the server's certificate has to cover.
    pub host_names: Vec<String>,
    /// Where the volume's log stood when it was last heard of; a volume that has not been there is refused.
    pub anchor: Option<Vec<u8>>,
}

/// What a new database begins with.
#[derive(Debug)]
pub struct Initial {
    pub master_username: MasterUsername,
    /// Set whenever it is given. `None` once it is set: it is not kept longer than that.
    pub master_password: Option<Secret>,
    pub database_name: Option<DatabaseName>,
}

/// What makes a volume out of a snapshot.
#[derive(Debug)]
pub struct CloneOrder {
    pub snapshot: SnapshotResourceId,
    /// Id of the volume that the snapshot was taken of.
    pub source: VolumeId,
    pub volume: VolumeId,
    /// Those of the snapshot, all of them, wrapped for the new volume. Ones that it does not need do no harm.
    pub keys: Vec<Wrapped>,
    /// A key of the new volume's own, under which it is sealed anew while it is used.
    pub own: Option<Wrapped>,
}

/// A volume key, and as a header names it.
#[derive(Debug)]
pub struct Wrapped {
    pub key: VolumeKey,
    pub wrapped: Vec<u8>,
}

impl Wrapped {
    /// The same, lent.
    pub fn lend(&self) -> WrappedKey<'_> {
        WrappedKey { key: &self.key, wrapped: &self.wrapped }
    }
}

/// Instance processes, volumes and snapshots of one machine. Every method may be called again after a failure or a
/// crash; one that finds its work done does nothing.
pub trait Host: Send + Sync {
    /// Every instance process there is, those of an earlier run of the server included.
    fn observe(&self) -> Work<'_, BTreeMap<InstanceResourceId, Sighting>>;

    /// Starts the process of an instance, without a key.
    fn spawn<'a>(&'a self, id: &'a InstanceResourceId) -> Work<'a, ()>;

    /// Hands over the key. Returns when the order is accepted; how it goes shows in [`Host::observe`].
    fn open<'a>(&'a self, id: &'a InstanceResourceId, order: OpenOrder) -> Work<'a, ()>;

    /// Says that the anchor which the process told of is kept: it may go on.
    fn anchored<'a>(&'a self, id: &'a InstanceResourceId, anchor: Vec<u8>) -> Work<'a, ()>;

    /// Has the volume of a running database sealed under another key, which its header names as `wrapped` on return. What
    /// was sealed before follows in the background; how far that is shows in [`Host::observe`].
    fn renew_key<'a>(&'a self, id: &'a InstanceResourceId, key: Wrapped) -> Work<'a, ()>;

    /// Shuts the database down in order, closes the volume, ends the process. Returns when it is under way.
    fn stop<'a>(&'a self, id: &'a InstanceResourceId) -> Work<'a, ()>;

    /// Kills the database, aborts the mount, wipes the key, ends the process. Returns when it is done.
    fn lock<'a>(&'a self, id: &'a InstanceResourceId) -> Work<'a, ()>;

    /// Ends the process, whatever it does; mounts vanish with it. Returns when it is gone.
    fn kill<'a>(&'a self, id: &'a InstanceResourceId) -> Work<'a, ()>;

    /// Are a volume's files there, all of them?
    fn has_volume<'a>(&'a self, volume: &'a VolumeId) -> Work<'a, bool>;

    /// Makes a volume out of a snapshot, whole or not at all.
    fn clone_volume(&self, order: CloneOrder) -> Work<'_, ()>;

    /// Removes a volume's files.
    fn remove_volume<'a>(&'a self, volume: &'a VolumeId) -> Work<'a, ()>;

    /// Are a snapshot's files there, all of them?
    fn has_snapshot<'a>(&'a self, snapshot: &'a SnapshotResourceId) -> Work<'a, bool>;

    /// Takes a snapshot, whole or not at all: through the process that has the volume open, or of its files.
    fn take_snapshot<'a>(
        &'a self,
        snapshot: &'a SnapshotResourceId,
        volume: &'a VolumeId,
        through: Option<&'a InstanceResourceId>,
    ) -> Work<'a, ()>;

    /// Removes a snapshot's files.
    fn remove_snapshot<'a>(&'a self, snapshot: &'a SnapshotResourceId) -> Work<'a, ()>;
}
