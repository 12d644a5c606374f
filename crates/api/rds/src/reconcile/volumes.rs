//! What instances tell of their volumes: anchors are kept, damage is told of; and what an operator says of a volume.
//!
//! INVARIANT: an anchor is in the state database before its instance hears that it is kept, and never goes back but by
//! the act of an operator, which is in the trail.

use clusters::{Event, SnapshotStatus};
use serde_json::json;
use trail::{Resource, ServiceEvent};
use volume::{Anchor, VolumeError};

use super::{Sight, StepFault};
use crate::{
    records::{Acceptance, Cluster, Instance, Record as _, Snapshot},
    service::Rds,
    upkeep::without_nulls,
};

/// Places of damage of an open volume that events tell of; all are in its status.
const MOST_TOLD: usize = 100;

impl Rds {
    /// Takes one step for the volume of a cluster; whether there was one.
    pub(super) async fn step_volume(&self, cluster: &Cluster, sight: &Sight) -> Result<bool, StepFault> {
        if let Some(acceptance) = self.records.acceptance(&cluster.volume).await? {
            self.accept(cluster, &acceptance).await?;
            for member in &sight.members {
                self.lives.of(&cluster.id).forgive(&member.id);
            }
            return Ok(true);
        }
        for member in &sight.members {
            if self.keep_anchor(cluster, member, sight).await?
                || self.tell_damage(cluster, member, sight).await?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Keeps the anchor that an instance tells, and lets the instance know.
    async fn keep_anchor(
        &self,
        cluster: &Cluster,
        member: &Instance,
        sight: &Sight,
    ) -> Result<bool, StepFault> {
        let live = self.lives.of(&cluster.id);
        let told = sight.sightings.get(&member.id).and_then(|sighting| sighting.open.anchor.as_ref());
        let Some(anchor) = told.filter(|anchor| !live.is_anchored(&member.id, anchor)) else {
            return Ok(false);
        };
        let mut edit = self.records.edit_internally().await?;
        // Read under the lock of the change: nobody else decides meanwhile.
        let kept = edit.anchor(&cluster.volume).await?;
        if kept.as_ref() != Some(anchor) {
            if !advances(kept.as_deref(), anchor)? {
                return Err(StepFault::Impossible(format!(
                    "the instance {} tells of an older {} than was heard of before",
                    member.id, cluster.volume
                )));
            }
            edit.keep_anchor(&cluster.volume, anchor, self.now()).await?;
            edit.commit().await?;
        }
        self.host.anchored(&member.id, anchor.clone()).await?;
        live.anchored(&member.id, anchor);
        Ok(true)
    }

    /// Tells of everything that was found damaged, once.
    async fn tell_damage(
        &self,
        cluster: &Cluster,
        member: &Instance,
        sight: &Sight,
    ) -> Result<bool, StepFault> {
        let live = self.lives.of(&cluster.id);
        let Some(sighting) = sight.sightings.get(&member.id) else { return Ok(false) };
        let found = sighting.open.damage.iter().take(MOST_TOLD);
        let new: Vec<_> = found.filter(|found| !live.is_told(&member.id, found)).collect();
        if new.is_empty() {
            return Ok(false);
        }
        let mut edit = self.records.edit_internally().await?;
        for found in &new {
            tracing::error!(instance = %member.id, volume = %cluster.volume, found, "a volume is damaged");
            edit.tell_once(member, Event::VolumeDamaged, found, self.now()).await?;
        }
        edit.commit().await?;
        new.into_iter().for_each(|found| live.told(&member.id, found));
        Ok(true)
    }

    /// Forgets where the volume has been, so that it is taken as it is; the trail says who wanted that, and why.
    async fn accept(&self, cluster: &Cluster, acceptance: &Acceptance) -> Result<(), StepFault> {
        let record = trail::Record::from(self.acceptance_event(cluster, acceptance).await?);
        let id = record.event_id.clone();
        let kept = |error: audit::Error| StepFault::Impossible(format!("the trail: {error}"));
        self.trail.open_record(record.clone()).await.map_err(kept)?;
        let forgotten = async {
            let mut edit = self.records.edit(&id).await?;
            edit.forget_anchor(&cluster.volume).await?;
            // Those that have still to be taken will show the volume that is accepted.
            for mut snapshot in edit.of_cluster::<Snapshot>(cluster.id.as_str()).await? {
                if snapshot.status == SnapshotStatus::Creating && snapshot.anchor.take().is_some() {
                    edit.put(&snapshot).await?;
                }
            }
            edit.commit().await
        };
        let mut closed = record;
        let forgotten = forgotten.await.inspect_err(|error| {
            closed.error_code = Some("InternalFailure".into());
            closed.error_message = Some(error.to_string());
        });
        self.trail.close_record(&id, closed).await.map_err(kept)?;
        tracing::warn!(cluster = %cluster.id, volume = %cluster.volume, "an operator accepts the volume as it is");
        Ok(forgotten?)
    }

    async fn acceptance_event(
        &self,
        cluster: &Cluster,
        acceptance: &Acceptance,
    ) -> Result<ServiceEvent, StepFault> {
        let resource = Resource {
            account_id: cluster.account.clone(),
            kind: "AWS::RDS::DBCluster".into(),
            arn: cluster.arn(),
        };
        let given_up = self.records.anchor(&cluster.volume).await?;
        let given_up = given_up.as_deref().map(Anchor::from_bytes).transpose().map_err(unreadable)?;
        let details = json!({
            "dBClusterIdentifier": cluster.identifier, "volumeId": cluster.volume, "operator": acceptance.operator,
            "reason": acceptance.reason, "requested": acceptance.at.iso8601_seconds(),
            "sequenceGivenUp": given_up.map(|anchor| anchor.sequence),
        });
        Ok(ServiceEvent {
            event_id: self.new_event_id(),
            at: self.now(),
            source: "rds.amazonaws.com".into(),
            name: "AcceptVolume".into(),
            region: cluster.region.clone(),
            account: cluster.account.clone(),
            resources: vec![resource],
            details: details.as_object().cloned().map(without_nulls),
        })
    }
}

/// Whether an anchor may take the place of the one that is kept: the log was there later.
fn advances(kept: Option<&[u8]>, told: &[u8]) -> Result<bool, StepFault> {
    let place =
        |bytes| Anchor::from_bytes(bytes).map(|anchor| (anchor.epoch, anchor.sequence)).map_err(unreadable);
    let told = place(told)?;
    Ok(kept.map(place).transpose()?.is_none_or(|kept| kept < told))
}

fn unreadable(error: VolumeError) -> StepFault {
    StepFault::Impossible(format!("an anchor cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchor(epoch: u32, sequence: u64) -> Vec<u8> {
        Anchor { epoch, salt: [1; 32], sequence, chain: [2; 16] }.to_bytes().to_vec()
    }

    #[test]
    fn an_anchor_only_ever_advances() {
        let (kept, same) = (anchor(2, 10), anchor(2, 10));
        assert!(advances(None, &kept).unwrap());
        assert!(advances(Some(&kept), &anchor(2, 11)).unwrap());
        assert!(advances(Some(&kept), &anchor(3, 10)).unwrap());
        assert!(!advances(Some(&kept), &same).unwrap());
        assert!(!advances(Some(&kept), &anchor(2, 9)).unwrap());
        assert!(!advances(Some(&kept), &anchor(1, 99)).unwrap());
        assert!(advances(Some(&kept), b"garbage").is_err());
    }
}
