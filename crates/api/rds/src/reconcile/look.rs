//! What there is of one cluster: records, processes, files.

use std::{collections::BTreeMap, sync::Arc};

use clusters::{
    Access, ClusterResourceId, ClusterSeen, Goal, InstanceResourceId, InstanceStatus, MemberSeen, Process,
    SnapshotStatus, Source,
};
use engine::Address;

use super::StepFault;
use crate::{
    observer::Sightings,
    records::{Cluster, Instance, Snapshot},
    service::Rds,
};

/// One look.
pub struct Sight {
    pub cluster: Option<Cluster>,
    pub members: Vec<Instance>,
    pub snapshots: Vec<Snapshot>,
    /// A snapshot still waits for the volume's blocks.
    pub snapshots_pending: bool,
    pub sightings: Arc<Sightings>,
    /// The volume's files are there.
    pub volume: bool,
}

impl Sight {
    pub fn process(&self, id: &InstanceResourceId) -> Process {
        self.sightings.get(id).map_or(Process::Absent, |sighting| sighting.process)
    }

    /// Does any snapshot of the cluster wait for something?
    pub fn snapshots_wait(&self, has_store: bool) -> bool {
        self.snapshots.iter().any(|snapshot| snapshot.waits(has_store))
    }

    /// Where a snapshot's blocks would come from now.
    pub fn source(&self) -> Source {
        let closed = |process| matches!(process, Process::Absent | Process::Idle);
        let open: Vec<_> = self.members.iter().filter(|member| !closed(self.process(&member.id))).collect();
        match open[..] {
            [] if self.volume => Source::Closed,
            [] => Source::Gone,
            [member] if self.process(&member.id) == Process::Serving => Source::Serving(member.id.clone()),
            _ => Source::Busy,
        }
    }

    /// Where the database that connections may go to answers, if there is one. Only one that is known to have served, so
    /// that nothing is written to a volume that could still be made anew.
    fn endpoint(&self, cluster: &Cluster) -> Option<Address> {
        if cluster.access != Access::Held || cluster.goal != Goal::Run || !cluster.initialised {
            return None;
        }
        let serves = |member: &&Instance| {
            let wished = !member.delete && !member.reboot && !member.status.is_inaccessible();
            wished && self.process(&member.id) == Process::Serving
        };
        let writer = self.members.iter().find(serves)?;
        self.sightings.get(&writer.id)?.address.clone()
    }
}

impl Rds {
    /// Looks. The host comes first: what runs has a record from before it ran until after it is gone.
    pub(super) async fn sight(&self, id: &ClusterResourceId) -> Result<Sight, StepFault> {
        let sightings = self.observer.look().await?;
        let cluster = self.records.get::<Cluster>(id.as_str()).await?;
        let members = self.records.of_cluster(id.as_str()).await?;
        let snapshots: Vec<Snapshot> = self.records.of_cluster(id.as_str()).await?;
        let mut snapshots_pending = false;
        for snapshot in snapshots.iter().filter(|s| s.status == SnapshotStatus::Creating && !s.delete) {
            snapshots_pending |= !self.host.has_snapshot(&snapshot.id).await?;
        }
        let volume = match &cluster {
            Some(cluster) => self.host.has_volume(&cluster.volume).await?,
            None => false,
        };
        Ok(Sight { cluster, members, snapshots, snapshots_pending, sightings, volume })
    }

    /// The sight as the plan wants it. Instances that serve are forgiven their failed starts.
    pub(super) fn seen(&self, sight: &Sight, cluster: &Cluster) -> ClusterSeen {
        let live = self.lives.of(&cluster.id);
        let mut members = BTreeMap::new();
        for member in &sight.members {
            self.names.note(
                &member.id,
                &cluster.volume,
                cluster.identifier.as_str(),
                member.identifier.as_str(),
            );
            let process = sight.process(&member.id);
            let settled = matches!(member.status, InstanceStatus::Available | InstanceStatus::StorageFull);
            if process == Process::Serving && settled {
                live.forgive(&member.id);
            }
            let attempts = live.attempts_of(&member.id);
            let seen = MemberSeen {
                status: member.status,
                grant: member.grant.is_some(),
                process,
                failures: attempts.count,
                retry_at: attempts.retry_at,
                full: sight.sightings.get(&member.id).is_some_and(|sighting| sighting.open.full),
                refused: sight.sightings.get(&member.id).is_some_and(|sighting| sighting.refused),
            };
            members.insert(member.id.clone(), seen);
        }
        ClusterSeen {
            status: cluster.status,
            initialised: cluster.initialised,
            volume: sight.volume,
            remains: cluster.remains,
            grant: cluster.grant.is_some(),
            snapshots_pending: sight.snapshots_pending,
            members,
        }
    }

    /// Opens or closes the cluster's endpoint. The gate keeps a look from before a loss of access from opening it after.
    pub(super) async fn point_endpoint(&self, cluster: &Cluster, sight: &Sight) -> Result<(), StepFault> {
        let live = self.lives.of(&cluster.id);
        let target = sight.endpoint(cluster);
        if *live.target.borrow() == target {
            return Ok(());
        }
        let _gate = live.gate.lock().await;
        let now = self.records.get::<Cluster>(cluster.id.as_str()).await?;
        live.point_to(now.and_then(|now| sight.endpoint(&now)));
        Ok(())
    }
}
