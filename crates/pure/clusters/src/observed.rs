//! What was seen of a cluster: processes and files as they are, statuses and grants as last recorded.

use std::collections::BTreeMap;

use ids::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ClusterStatus, InstanceResourceId, InstanceStatus};

/// The process of one instance.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub enum Process {
    /// There is none, and so no mount, no postgres and no key in memory.
    #[default]
    Absent,
    /// It runs and holds no key.
    Idle,
    /// It has the key and is on its way to serve.
    Opening,
    /// The database accepts connections.
    Serving,
    /// It closes the database and its volume, and then ends.
    Stopping,
    /// It could not open, or lost its database.
    Broken,
}

/// The sight of one cluster.
#[derive(Clone, Debug)]
pub struct ClusterSeen {
    pub status: ClusterStatus,
    /// The database has served once.
    pub initialised: bool,
    /// The volume is there, whole.
    pub volume: bool,
    /// Files of it may be there, whole or not: until they have been removed.
    pub remains: bool,
    /// The key service still has a grant for the cluster.
    pub grant: bool,
    /// A snapshot of the cluster has still to be taken.
    pub snapshots_pending: bool,
    pub members: BTreeMap<InstanceResourceId, MemberSeen>,
}

/// The sight of one instance.
#[derive(Clone, Copy, Debug)]
pub struct MemberSeen {
    pub status: InstanceStatus,
    /// The key service still has a grant for the instance.
    pub grant: bool,
    pub process: Process,
    /// Starts that failed since it last served.
    pub failures: u32,
    /// After a failed start: not before this instant.
    pub retry_at: Option<Timestamp>,
    /// Its volume finds no room for more.
    pub full: bool,
    /// What keeps it from serving is in its volume: trying again does not help.
    pub refused: bool,
}
