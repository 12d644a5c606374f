//! Makes what is recorded come true: looks at a cluster, plans, takes the first step, looks again (design.md §6).
//!
//! INVARIANT: every step may be repeated, and touches the world before the records. So whoever takes steps may die between any
//! two, or in the middle of one, and the next one to come leads to the same end.

mod act;
mod look;
mod renewal;
mod run;
mod snapshots;
mod volumes;

use clusters::{Action, ClusterResourceId, plan};
use engine::HostFault;

use crate::{keys::KeyFault, records, service::Rds};
use look::Sight;
pub use renewal::{RenewalFault, RenewalWish};
use snapshots::SnapshotStep;

/// What came of one look at a cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// A step was taken: there may be more.
    Taken,
    /// Nothing to do until something changes.
    Waits,
    /// Long work is under way, which is to be looked at again soon.
    Watches,
    /// The cluster is gone, and no snapshot of it waits for anything.
    Gone,
}

/// Why a step was not taken. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum StepFault {
    #[error(transparent)]
    Host(#[from] HostFault),
    #[error(transparent)]
    Key(#[from] KeyFault),
    #[error(transparent)]
    Records(#[from] records::Error),
    #[error("{0}")]
    Impossible(String),
}

impl Rds {
    /// Looks at a cluster and its snapshots, and takes the most urgent step.
    ///
    /// # Errors
    /// [`StepFault`]; the step may be tried again.
    pub async fn reconcile(&self, id: &ClusterResourceId) -> Result<Step, StepFault> {
        let sight = self.sight(id).await?;
        let now = self.now();
        let action = sight.cluster.as_ref().and_then(|cluster| {
            let spec = cluster.spec(&sight.members, self.settings.recoverable_for());
            plan(&spec, &self.seen(&sight, cluster), now).into_iter().next()
        });
        if let Some(cluster) = &sight.cluster {
            self.point_endpoint(cluster, &sight).await?;
        }
        let urgent = matches!(action, Some(Action::Lock(_) | Action::Kill(_)));
        let (mut late_fault, mut idle) = (None, Step::Waits);
        if !urgent {
            // A snapshot that cannot be taken, or a key that cannot be renewed, must not keep the cluster from anything else:
            // such faults count last.
            if let Some(cluster) = &sight.cluster
                && self.step_volume(cluster, &sight).await?
            {
                return Ok(Step::Taken);
            }
            match self.step_snapshots(&sight).await {
                Ok(SnapshotStep::Taken) => return Ok(Step::Taken),
                Ok(SnapshotStep::Watched) => idle = Step::Watches,
                Ok(SnapshotStep::None) => {}
                Err(fault) => late_fault = Some(fault),
            }
            if let Some(cluster) = &sight.cluster {
                match self.step_renewal(cluster, &sight).await {
                    Ok(true) => return Ok(Step::Taken),
                    Ok(false) => {}
                    Err(fault) => late_fault = Some(fault),
                }
            }
        }
        match (action, &sight.cluster, late_fault) {
            (Some(action), Some(cluster), _) => {
                tracing::debug!(cluster = %id, ?action, "a step");
                self.act(cluster, &sight, action).await?;
                Ok(Step::Taken)
            }
            (_, _, Some(fault)) => Err(fault),
            (_, None, None) if !sight.snapshots_wait(self.transfers.has_store()) => Ok(Step::Gone),
            (_, _, None) => Ok(idle),
        }
    }
}
