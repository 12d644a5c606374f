//! One step towards a wish. Every step may be repeated.

use crate::{ClusterStatus, Event, InstanceResourceId, InstanceStatus};

/// Who holds a grant or a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Holder {
    Cluster,
    Member(InstanceResourceId),
}

/// A step for a cluster. Steps on the world first, then steps that only write what was seen into the record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Make the volume out of the snapshot's.
    CloneVolume,
    /// Start the instance's process, without a key.
    Spawn(InstanceResourceId),
    /// Unwrap the volume key and hand it to the process, which mounts and starts the database.
    Open(InstanceResourceId),
    /// Shut the database down in order, close the volume, end the process.
    Stop(InstanceResourceId),
    /// Kill the database, abort the mount, wipe the key, end the process: at once.
    Lock(InstanceResourceId),
    /// End the process, whatever it does.
    Kill(InstanceResourceId),
    /// Remove the volume's files, whole or not, and note that it is done.
    RemoveVolume,
    /// Give the grant back.
    RetireGrant(Holder),
    /// The reboot has happened: forget the wish for it.
    ClearReboot(InstanceResourceId),
    /// The database serves for the first time: from now on its volume is never made anew, and the master password is
    /// not needed any more.
    MarkInitialised,
    /// A stopped cluster has been stopped for the longest time allowed: wish that it runs.
    Restart,
    /// Record the cluster's new status and tell of it.
    SetCluster { to: ClusterStatus, events: Vec<Event> },
    /// Record an instance's new status and tell of it.
    SetMember { id: InstanceResourceId, to: InstanceStatus, events: Vec<Event> },
    /// Drop the record, which was the last trace.
    Forget { holder: Holder, events: Vec<Event> },
}
