//! What a cluster should be: the wish, as the state store has it.

use std::{collections::BTreeMap, time::Duration};

use ids::Timestamp;
use serde::{Deserialize, Serialize};

use crate::InstanceResourceId;

/// What the owner last asked of a cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Goal {
    Run,
    Stop,
    Delete,
}

/// Can the key that wraps the cluster's volume key be used?
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Access {
    Held,
    /// Found lost at this instant. Only StartDBCluster, after a check of the key, makes it `Held` again.
    Lost {
        since: Timestamp,
    },
}

/// The wish for one cluster.
#[derive(Clone, Debug)]
pub struct ClusterSpec {
    pub goal: Goal,
    pub access: Access,
    /// How long a cluster whose key is lost can still be recovered.
    pub recoverable_for: Duration,
    /// When a stopped cluster starts by itself.
    pub restart_at: Option<Timestamp>,
    /// The volume begins as a clone of a snapshot.
    pub restored: bool,
    pub members: BTreeMap<InstanceResourceId, MemberSpec>,
}

/// The wish for one instance of a cluster.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MemberSpec {
    pub delete: bool,
    /// Restart it once; cleared when it has gone down.
    pub reboot: bool,
}
