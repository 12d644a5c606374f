//! Steps for the snapshots of a cluster, which may be gone already.

use clusters::{SnapshotAction, SnapshotSeen, SnapshotSpec, plan_snapshot};

use super::{Sight, StepFault};
use crate::{
    records::{Cluster, Snapshot},
    service::Rds,
};

impl Rds {
    /// Takes one step for the first snapshot that wants one; whether there was one.
    pub(super) async fn step_snapshots(&self, sight: &Sight) -> Result<bool, StepFault> {
        for snapshot in &sight.snapshots {
            let seen = SnapshotSeen {
                status: snapshot.status,
                files: self.host.has_snapshot(&snapshot.id).await?,
                remains: snapshot.remains,
                grant: snapshot.grant.is_some(),
                source: sight.source(),
                in_use: snapshot.delete && self.in_use(snapshot).await?,
            };
            if let Some(action) = plan_snapshot(SnapshotSpec { delete: snapshot.delete }, &seen) {
                tracing::debug!(snapshot = %snapshot.id, ?action, "a step");
                self.act_on_snapshot(snapshot, action).await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Is a cluster still to be made from it?
    async fn in_use(&self, snapshot: &Snapshot) -> Result<bool, StepFault> {
        for cluster in self.records.all::<Cluster>().await? {
            let waits = cluster.origin.as_ref() == Some(&snapshot.id) && !cluster.initialised;
            if waits && !self.host.has_volume(&cluster.volume).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn act_on_snapshot(&self, snapshot: &Snapshot, action: SnapshotAction) -> Result<(), StepFault> {
        let id = snapshot.id.as_str();
        match action {
            SnapshotAction::Take { through } => {
                Ok(self.host.take_snapshot(&snapshot.id, &snapshot.volume, through.as_ref()).await?)
            }
            SnapshotAction::Remove => {
                self.host.remove_snapshot(&snapshot.id).await?;
                self.change(id, |snapshot: &mut Snapshot| std::mem::take(&mut snapshot.remains), &[]).await
            }
            SnapshotAction::RetireGrant => {
                self.retire(snapshot, &snapshot.encryption, snapshot.grant.as_deref()).await?;
                self.change(id, |snapshot: &mut Snapshot| snapshot.grant.take().is_some(), &[]).await
            }
            SnapshotAction::Set { to, events } => {
                let change = |now: &mut Snapshot| std::mem::replace(&mut now.status, to) == snapshot.status;
                self.change(id, change, &events).await
            }
            SnapshotAction::Forget => self.forget::<Snapshot>(id, &[]).await,
        }
    }
}
