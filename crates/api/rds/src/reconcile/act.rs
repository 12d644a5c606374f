//! Takes one step of the plan.

use std::time::Duration;

use clusters::{
    Access, Action, ClusterStatus, Event, Goal, Holder, InstanceResourceId, InstanceStatus,
    SnapshotResourceId,
};
use engine::{CloneOrder, Headway, Initial, OpenOrder, Wrapped};
use wire::Secret;

use super::{Sight, StepFault};
use crate::{
    keys::KeyFault,
    live::Live,
    records::{Bytes, Cluster, Encryption, Instance, Record, Snapshot},
    service::Rds,
    volume_keys::{OpenKeys, Slot},
};

/// How long a cluster may be stopped before it starts by itself.
const LONGEST_STOP: Duration = Duration::from_secs(7 * 24 * 3600);

impl Rds {
    pub(super) async fn act(
        &self,
        cluster: &Cluster,
        sight: &Sight,
        action: Action,
    ) -> Result<(), StepFault> {
        let live = self.lives.of(&cluster.id);
        match action {
            Action::CloneVolume => self.clone_volume(cluster, &live).await,
            Action::Spawn(id) => self.spawn(cluster, &live, &id).await,
            Action::Open(id) => self.open(cluster, &live, &id).await,
            Action::Stop(id) => {
                live.point_to(None);
                Ok(self.host.stop(&id).await?)
            }
            Action::Lock(id) => {
                live.point_to(None);
                Ok(self.host.lock(&id).await?)
            }
            Action::Kill(id) => {
                live.point_to(None);
                let failure = sight.sightings.get(&id).and_then(|sighting| sighting.failure.as_deref());
                tracing::warn!(instance = %id, failure, "ending a process");
                Ok(self.host.kill(&id).await?)
            }
            Action::RemoveVolume => {
                self.host.remove_volume(&cluster.volume).await?;
                let mut edit = self.records.edit_internally().await?;
                let Some(mut now) = edit.take::<Cluster>(cluster.id.as_str()).await? else { return Ok(()) };
                now.remains = false;
                edit.put(&now).await?;
                edit.forget_anchor(&cluster.volume).await?;
                Ok(edit.commit().await?)
            }
            Action::RetireGrant(holder) => self.retire_grant(cluster, sight, holder).await,
            Action::ClearReboot(id) => {
                live.forgive(&id);
                let change = |member: &mut Instance| std::mem::take(&mut member.reboot);
                self.change(id.as_str(), change, &[]).await
            }
            Action::MarkInitialised => {
                let change = |cluster: &mut Cluster| {
                    cluster.initialised = true;
                    cluster.master_password = None;
                    true
                };
                self.change(cluster.id.as_str(), change, &[]).await
            }
            Action::Restart => {
                let change = |cluster: &mut Cluster| {
                    cluster.restart_at = None;
                    // Unless the owner has asked for something else meanwhile.
                    std::mem::replace(&mut cluster.goal, Goal::Run) == Goal::Stop
                };
                self.change(cluster.id.as_str(), change, &[Event::ClusterRestarted]).await
            }
            Action::SetCluster { to, events } => {
                let restart_at = self.now().plus(LONGEST_STOP);
                let change = |now: &mut Cluster| {
                    now.restart_at = (to == ClusterStatus::Stopped).then_some(restart_at);
                    now.goal == cluster.goal && std::mem::replace(&mut now.status, to) == cluster.status
                };
                self.change(cluster.id.as_str(), change, &events).await
            }
            Action::SetMember { id, to, events } => {
                if to == InstanceStatus::Available {
                    live.forgive(&id);
                }
                let from = sight.members.iter().find(|member| member.id == id).map(|member| member.status);
                let change = |member: &mut Instance| Some(std::mem::replace(&mut member.status, to)) == from;
                let failure = sight.sightings.get(&id).and_then(|sighting| sighting.failure.as_deref());
                self.change_because(id.as_str(), change, &events, failure).await
            }
            Action::Forget { holder: Holder::Cluster, events } => {
                self.forget::<Cluster>(cluster.id.as_str(), &events).await?;
                self.lives.forget(&cluster.id);
                Ok(())
            }
            Action::Forget { holder: Holder::Member(id), events } => {
                live.forgive(&id);
                self.names.forget(&id);
                self.forget::<Instance>(id.as_str(), &events).await
            }
        }
    }

    /// Starts an instance's process, unless access was lost since the plan was made: what a lock ends must not come back.
    async fn spawn(&self, cluster: &Cluster, live: &Live, id: &InstanceResourceId) -> Result<(), StepFault> {
        let _gate = live.gate.lock().await;
        match self.records.get::<Cluster>(cluster.id.as_str()).await? {
            Some(now) if now.access == Access::Held && now.goal == Goal::Run => {
                Ok(self.host.spawn(id).await?)
            }
            _ => Ok(()),
        }
    }

    /// Hands the volume key to an instance's process, if access to it is held at this very moment.
    async fn open(&self, cluster: &Cluster, live: &Live, id: &InstanceResourceId) -> Result<(), StepFault> {
        let gate = live.gate.lock().await;
        let cluster = self.records.get::<Cluster>(cluster.id.as_str()).await?;
        let member = self.records.get::<Instance>(id.as_str()).await?;
        let (Some(cluster), Some(member)) = (cluster, member) else { return Ok(()) };
        if cluster.access != Access::Held || cluster.goal != Goal::Run || member.delete {
            return Ok(());
        }
        live.attempted(id, self.now());
        let slot = Slot::of_instance(&cluster, &member);
        let opened = self.volume_keys(&cluster.region, &cluster.account).open(&slot, &member.keys).await;
        if let Err(KeyFault::Refused(reason)) = &opened {
            self.lose(&gate, live, &cluster.id, reason).await;
            return Ok(());
        }
        let engine = self.engine(&cluster.engine_version).ok_or_else(|| {
            StepFault::Impossible(format!("PostgreSQL {} is not installed any more", cluster.engine_version))
        })?;
        let OpenKeys { newest, older } = opened?;
        let order = OpenOrder {
            volume: cluster.volume.clone(),
            volume_may_be_new: cluster.origin.is_none() && !cluster.initialised,
            key: newest,
            wrapped_key: member.keys.newest.0.clone(),
            older_keys: older,
            postgres_bin_dir: engine.bin_dir.clone(),
            initial: self.initial(&cluster)?,
            host_names: cluster.host_names(&self.writer_host(&cluster)),
            anchor: self.records.anchor(&cluster.volume).await?,
        };
        Ok(self.host.open(id, order).await?)
    }

    fn initial(&self, cluster: &Cluster) -> Result<Initial, StepFault> {
        let open = |sealed: &Bytes| {
            let opened = self.sealer.open(&cluster.password_place(), &sealed.0);
            let opened = opened.map_err(|error| StepFault::Impossible(error.to_string()))?;
            let text = std::str::from_utf8(&opened)
                .map_err(|_| StepFault::Impossible("a password is text".into()))?;
            Ok::<_, StepFault>(Secret::new(text.to_owned()))
        };
        Ok(Initial {
            master_username: cluster.master_username.clone(),
            master_password: cluster.master_password.as_ref().map(open).transpose()?,
            database_name: cluster.database_name.clone(),
        })
    }

    async fn clone_volume(&self, cluster: &Cluster, live: &Live) -> Result<(), StepFault> {
        let origin = cluster.origin.as_ref().map(SnapshotResourceId::as_str).unwrap_or_default();
        let snapshot = self.records.get::<Snapshot>(origin).await?;
        let snapshot = snapshot.ok_or_else(|| StepFault::Impossible(format!("snapshot {origin} is gone")))?;
        if !self.host.has_snapshot(&snapshot.id).await? {
            if !snapshot.uploaded {
                return Err(StepFault::Impossible(format!("the files of snapshot {origin} are gone")));
            }
            if let Headway::Running { .. } = self.fetch_snapshot(&snapshot).await? {
                // The next step asks again.
                return Ok(());
            }
        }
        let keys = self.volume_keys(&cluster.region, &cluster.account);
        let opened = {
            let gate = live.gate.lock().await;
            let opened = keys.open(&Slot::of_cluster(cluster), &cluster.keys).await;
            if let Err(KeyFault::Refused(reason)) = &opened {
                self.lose(&gate, live, &cluster.id, reason).await;
                return Ok(());
            }
            opened?
        };
        let wrapped = cluster.keys.all().map(<[u8]>::to_vec);
        let keys = opened.all().into_iter().zip(wrapped).map(|(key, wrapped)| Wrapped { key, wrapped });
        let mut keys: Vec<_> = keys.collect();
        // As the restore has made it.
        let own = if cluster.encryption == snapshot.encryption { None } else { keys.pop() };
        let order = CloneOrder {
            snapshot: snapshot.id.clone(),
            source: snapshot.volume.clone(),
            volume: cluster.volume.clone(),
            keys,
            own,
        };
        Ok(self.host.clone_volume(order).await?)
    }

    async fn retire_grant(&self, cluster: &Cluster, sight: &Sight, holder: Holder) -> Result<(), StepFault> {
        match holder {
            Holder::Cluster => {
                self.retire(cluster, &cluster.encryption, cluster.grant.as_deref()).await?;
                self.change(cluster.id.as_str(), |cluster: &mut Cluster| cluster.grant.take().is_some(), &[])
                    .await
            }
            Holder::Member(id) => {
                let grant = sight.members.iter().find(|m| m.id == id).and_then(|m| m.grant.as_deref());
                self.retire(cluster, &cluster.encryption, grant).await?;
                self.change(id.as_str(), |member: &mut Instance| member.grant.take().is_some(), &[]).await
            }
        }
    }

    /// Gives a grant back for good. One that may not be given back must not keep what is to go from going.
    pub(super) async fn retire(
        &self,
        of: &impl Record,
        encryption: &Encryption,
        grant: Option<&str>,
    ) -> Result<(), StepFault> {
        match self.volume_keys(of.region(), of.account()).retire(encryption, grant).await {
            Err(KeyFault::Refused(reason)) => {
                tracing::warn!(grant, reason, "a grant may not be retired and is left behind");
                Ok(())
            }
            done => Ok(done?),
        }
    }

    /// Changes one record and tells of it, unless it is gone or `change` finds that it is not what was looked at.
    pub(super) async fn change<T: Record>(
        &self,
        id: &str,
        change: impl FnOnce(&mut T) -> bool + Send,
        events: &[Event],
    ) -> Result<(), StepFault> {
        self.change_because(id, change, events, None).await
    }

    /// The same; `reason` follows the sentences of events that leave it open.
    async fn change_because<T: Record>(
        &self,
        id: &str,
        change: impl FnOnce(&mut T) -> bool + Send,
        events: &[Event],
        reason: Option<&str>,
    ) -> Result<(), StepFault> {
        let mut edit = self.records.edit_internally().await?;
        let Some(mut record) = edit.take::<T>(id).await? else { return Ok(()) };
        if !change(&mut record) {
            return Ok(());
        }
        edit.put(&record).await?;
        for event in events {
            match (event, reason) {
                (Event::VolumeRefused, Some(reason)) => {
                    edit.tell_once(&record, *event, reason, self.now()).await?;
                }
                _ => edit.tell(&record, *event, self.now()).await?,
            }
        }
        Ok(edit.commit().await?)
    }

    /// Drops a record and tells of it.
    pub(super) async fn forget<T: Record>(&self, id: &str, events: &[Event]) -> Result<(), StepFault> {
        let mut edit = self.records.edit_internally().await?;
        let Some(record) = edit.take::<T>(id).await? else { return Ok(()) };
        edit.remove(id).await?;
        for event in events {
            edit.tell(&record, *event, self.now()).await?;
        }
        Ok(edit.commit().await?)
    }
}
