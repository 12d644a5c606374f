//! Renewal of a volume key (docs/decisions/0530): wished for by an operator, begun by the instance, and over when the
//! header of the volume names the new key alone.
//!
//! INVARIANT: the records have every key that the header on the disk names: a key is recorded before an instance hears of
//! it, and forgotten after the instance has said that the header on the disk does without.

use clusters::{Access, Event, Goal, Process, SnapshotStatus};
use engine::Wrapped;
use serde_json::json;
use trail::{Resource, ServiceEvent};

use super::{Sight, StepFault};
use crate::{
    keys::KeyFault,
    records::{Bytes, Cluster, Edit, Instance, Record as _, Snapshot},
    service::Rds,
    upkeep::without_nulls,
    volume_keys::Slot,
};

/// Who wants a renewal, and why.
#[derive(Clone, Debug)]
pub struct RenewalWish {
    /// The user of the operating system who gave the command.
    pub operator: String,
    pub reason: Option<String>,
}

/// Why a volume key is not renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewalFault {
    #[error("there is no cluster {0}")]
    NoCluster(String),
    #[error("the cluster {0}")]
    State(String),
    #[error(transparent)]
    Key(#[from] KeyFault),
    #[error(transparent)]
    Records(#[from] crate::records::Error),
    #[error("the trail: {0}")]
    Trail(#[from] audit::Error),
}

impl Rds {
    /// Makes a new key for the volume of a cluster, by its ARN, and has it renewed: at once if a database runs on it, else
    /// when one does again. The trail says who wanted that, and why.
    ///
    /// # Errors
    /// [`RenewalFault`]; nothing is changed then.
    pub async fn renew_volume_key(&self, arn: &str, wish: &RenewalWish) -> Result<(), RenewalFault> {
        let clusters = self.records.all::<Cluster>().await?;
        let cluster = clusters.into_iter().find(|cluster| cluster.arn() == arn);
        let cluster = cluster.ok_or_else(|| RenewalFault::NoCluster(arn.into()))?;
        admits(&cluster)?;
        let record = trail::Record::from(self.renewal_event(&cluster, wish));
        let id = record.event_id.clone();
        self.trail.open_record(record.clone()).await?;
        let renewed = self.record_renewal(&cluster, &id).await;
        let mut closed = record;
        if let Err(error) = &renewed {
            closed.error_code = Some("InternalFailure".into());
            closed.error_message = Some(error.to_string());
        }
        self.trail.close_record(&id, closed).await?;
        self.wake(&cluster.id);
        renewed
    }

    /// Has a new key made and wrapped for everybody who needs it, and records it.
    async fn record_renewal(&self, seen: &Cluster, event_id: &str) -> Result<(), RenewalFault> {
        let keys = self.volume_keys(&seen.region, &seen.account);
        let of_cluster = Slot::of_cluster(seen);
        let newest = keys.make(&of_cluster).await?;
        let mut copies = Vec::new();
        for member in self.records.of_cluster::<Instance>(seen.id.as_str()).await? {
            if !member.delete {
                let to = Slot::of_instance(seen, &member);
                copies.push((member.id.clone(), keys.rewrap_one(&of_cluster, &newest, &to).await?));
            }
        }
        let mut edit = self.records.edit(event_id).await?;
        let changed = || RenewalFault::State(format!("{} has changed meanwhile: try again", seen.identifier));
        let mut cluster = edit.take::<Cluster>(seen.id.as_str()).await?.ok_or_else(changed)?;
        admits(&cluster)?;
        if cluster.keys != seen.keys {
            return Err(changed());
        }
        for mut member in edit.of_cluster::<Instance>(cluster.id.as_str()).await? {
            match copies.iter().find(|(id, _)| *id == member.id) {
                Some((_, copy)) => {
                    member.keys = member.keys.renewed(copy.clone());
                    edit.put(&member).await?;
                }
                None if member.delete => {}
                None => return Err(changed()),
            }
        }
        cluster.keys = cluster.keys.renewed(newest);
        edit.put(&cluster).await?;
        // They are taken of a volume that may know the new key by then.
        for mut snapshot in edit.of_cluster::<Snapshot>(cluster.id.as_str()).await? {
            if snapshot.status == SnapshotStatus::Creating {
                snapshot.keys = cluster.keys.clone();
                edit.put(&snapshot).await?;
            }
        }
        edit.tell(&cluster, Event::VolumeKeyRenewing, self.now()).await?;
        Ok(edit.commit().await?)
    }

    fn renewal_event(&self, cluster: &Cluster, wish: &RenewalWish) -> ServiceEvent {
        let resource = Resource {
            account_id: cluster.account.clone(),
            kind: "AWS::RDS::DBCluster".into(),
            arn: cluster.arn(),
        };
        let details = json!({
            "dBClusterIdentifier": cluster.identifier, "volumeId": cluster.volume,
            "kmsKeyId": cluster.encryption.key_arn(), "operator": wish.operator, "reason": wish.reason,
        });
        ServiceEvent {
            event_id: self.new_event_id(),
            at: self.now(),
            source: "rds.amazonaws.com".into(),
            name: "RenewVolumeKey".into(),
            region: cluster.region.clone(),
            account: cluster.account.clone(),
            resources: vec![resource],
            details: details.as_object().cloned().map(without_nulls),
        }
    }

    /// Takes one step of a renewal that is under way; whether there was one.
    pub(super) async fn step_renewal(&self, cluster: &Cluster, sight: &Sight) -> Result<bool, StepFault> {
        if cluster.keys.older.is_empty() {
            return Ok(false);
        }
        for member in sight.members.iter().filter(|member| !member.delete) {
            let Some(sighting) = sight.sightings.get(&member.id) else { continue };
            let newest = &cluster.keys.newest;
            match sighting.open.wrapped_keys.as_slice() {
                [] => {}
                [only] if *only == newest.0 => {
                    self.end_renewal(cluster, newest).await?;
                    return Ok(true);
                }
                [.., last] if *last == newest.0 => {}
                _ if sighting.process == Process::Serving => {
                    return self.begin_renewal(cluster, member).await;
                }
                _ => {}
            }
        }
        Ok(false)
    }

    /// Hands the new key to an instance, if access to it is held at this very moment.
    async fn begin_renewal(&self, seen: &Cluster, member: &Instance) -> Result<bool, StepFault> {
        let live = self.lives.of(&seen.id);
        let gate = live.gate.lock().await;
        let cluster = self.records.get::<Cluster>(seen.id.as_str()).await?;
        let member = self.records.get::<Instance>(member.id.as_str()).await?;
        let (Some(cluster), Some(member)) = (cluster, member) else { return Ok(true) };
        if cluster.access != Access::Held || cluster.goal != Goal::Run || member.delete {
            return Ok(false);
        }
        if cluster.keys != seen.keys {
            return Ok(true);
        }
        let keys = self.volume_keys(&cluster.region, &cluster.account);
        let opened = keys.open_one(&Slot::of_instance(&cluster, &member), &member.keys.newest.0).await;
        if let Err(KeyFault::Refused(reason)) = &opened {
            self.lose(&gate, &live, &cluster.id, reason).await;
            return Ok(true);
        }
        let wrapped = cluster.keys.newest.0.clone();
        self.host.renew_key(&member.id, Wrapped { key: opened?, wrapped }).await?;
        Ok(true)
    }

    /// The older keys are of no use any more.
    async fn end_renewal(&self, cluster: &Cluster, newest: &Bytes) -> Result<(), StepFault> {
        let mut edit: Edit = self.records.edit_internally().await?;
        let Some(mut now) = edit.take::<Cluster>(cluster.id.as_str()).await? else { return Ok(()) };
        if now.keys.newest != *newest || now.keys.older.is_empty() {
            return Ok(());
        }
        now.keys.older.clear();
        edit.put(&now).await?;
        for mut member in edit.of_cluster::<Instance>(now.id.as_str()).await? {
            member.keys.older.clear();
            edit.put(&member).await?;
        }
        edit.tell(&now, Event::VolumeKeyRenewed, self.now()).await?;
        edit.commit().await?;
        tracing::info!(cluster = %now.id, volume = %now.volume, "the volume key is renewed");
        Ok(())
    }
}

/// Whether the key of a cluster's volume may be renewed now.
fn admits(cluster: &Cluster) -> Result<(), RenewalFault> {
    let name = &cluster.identifier;
    let refuse = |why: &str| Err(RenewalFault::State(format!("{name} {why}")));
    if cluster.goal == Goal::Delete {
        return refuse("is being deleted");
    }
    if cluster.access != Access::Held {
        return refuse("has no access to its KMS key");
    }
    if !cluster.initialised {
        return refuse("has no data yet: its volume is made when its first DB instance starts");
    }
    if !cluster.keys.older.is_empty() {
        return refuse("is having its volume key renewed already");
    }
    Ok(())
}
