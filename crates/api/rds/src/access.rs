//! Losing access to a key (spec/rds.md §7): found out at once when the key service says that something changed, and from
//! time to time in any case. A cluster whose key is lost is shut before anything else happens to it.

use std::sync::Arc;

use clusters::{Access, ClusterResourceId, Goal};
use tokio::{sync::MutexGuard, task::JoinSet};

use crate::{
    keys::KeyFault,
    live::Live,
    records::{self, Cluster, Encryption, Instance},
    service::Rds,
    volume_keys::Slot,
};

/// The gate of a cluster, held.
pub type Gate<'a> = MutexGuard<'a, ()>;

impl Rds {
    /// Something happened to a KMS key: checks every cluster that is sealed under it, and locks those that may not use it
    /// any more. Returns when they are shut.
    pub async fn key_changed(self: &Arc<Self>, key_arn: &str) {
        self.check(|encryption| encryption.key_arn() == Some(key_arn)).await;
    }

    /// Checks the key of every cluster. The key service is used for each: one DescribeKey and a Decrypt for every copy of
    /// the volume key.
    pub async fn check_all_keys(self: &Arc<Self>) {
        self.check(|encryption| encryption.key_arn().is_some()).await;
    }

    async fn check(self: &Arc<Self>, concerned: impl Fn(&Encryption) -> bool) {
        let clusters = match self.records.all::<Cluster>().await {
            Ok(clusters) => clusters,
            Err(error) => {
                tracing::error!(%error, "clusters cannot be read, so their keys were not checked");
                return;
            }
        };
        let held = |cluster: &Cluster| cluster.access == Access::Held && cluster.goal != Goal::Delete;
        let mut checks = JoinSet::new();
        for cluster in clusters.into_iter().filter(|cluster| held(cluster) && concerned(&cluster.encryption))
        {
            let rds = Arc::clone(self);
            checks.spawn(async move { rds.check_cluster(&cluster.id).await });
        }
        if let Err(error) = self.check_copies(&concerned).await {
            tracing::error!(%error, "the keys of copies under way were not checked");
        }
        // A check that panics would be a bug that the runtime reports; the others go on.
        while checks.join_next().await.is_some() {}
    }

    async fn check_cluster(&self, id: &ClusterResourceId) {
        let live = self.lives.of(id);
        let gate = live.gate.lock().await;
        match self.access_of(id).await {
            Ok(()) => {}
            Err(AccessFault::Key(KeyFault::Refused(reason))) => self.lose(&gate, &live, id, &reason).await,
            // Nothing follows for the key.
            Err(error) => tracing::warn!(cluster = %id, %error, "access to the key could not be checked"),
        }
    }

    /// Can the cluster's and its instances' copies of the volume key be opened now?
    async fn access_of(&self, id: &ClusterResourceId) -> Result<(), AccessFault> {
        let Some(cluster) = self.records.get::<Cluster>(id.as_str()).await? else { return Ok(()) };
        // What is on its way out gives its grants back.
        if cluster.access != Access::Held || cluster.goal == Goal::Delete {
            return Ok(());
        }
        let members = self.records.of_cluster::<Instance>(id.as_str()).await?;
        let keys = self.volume_keys(&cluster.region, &cluster.account);
        keys.check(&Slot::of_cluster(&cluster), &cluster.keys).await?;
        for member in members.iter().filter(|member| !member.delete) {
            keys.open(&Slot::of_instance(&cluster, member), &member.keys).await?;
        }
        Ok(())
    }

    /// Access is lost: nobody is let in, every process of the cluster loses its key, and the record says so. At the same
    /// time, so that nothing slow stands before the lock, and nobody sees a cluster without processes and takes it for one
    /// that broke.
    pub(crate) async fn lose(&self, _gate: &Gate<'_>, live: &Live, id: &ClusterResourceId, reason: &str) {
        tracing::warn!(cluster = %id, reason, "access to the key is lost: locking");
        live.point_to(None);
        let (locked, recorded) = tokio::join!(self.lock_members(id), self.record_loss(id));
        if let Err(error) = locked {
            tracing::error!(cluster = %id, %error, "the instances to lock cannot be read");
        }
        // If this fails, the key is refused again when the cluster is opened again, and that leads back here.
        if let Err(error) = recorded {
            tracing::error!(cluster = %id, %error, "the loss of access could not be recorded");
        }
        self.wake(id);
    }

    async fn lock_members(&self, id: &ClusterResourceId) -> Result<(), records::Error> {
        for member in self.records.of_cluster::<Instance>(id.as_str()).await? {
            if let Err(error) = self.host.lock(&member.id).await {
                tracing::error!(instance = %member.id, %error, "killing it instead");
                if let Err(error) = self.host.kill(&member.id).await {
                    tracing::error!(instance = %member.id, %error, "an instance was neither locked nor killed");
                }
            }
        }
        Ok(())
    }

    async fn record_loss(&self, id: &ClusterResourceId) -> Result<(), records::Error> {
        let mut edit = self.records.edit_internally().await?;
        let Some(mut cluster) = edit.take::<Cluster>(id.as_str()).await? else { return Ok(()) };
        if cluster.access == Access::Held {
            cluster.access = Access::Lost { since: self.now() };
            edit.put(&cluster).await?;
            edit.commit().await?;
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
enum AccessFault {
    #[error(transparent)]
    Key(#[from] KeyFault),
    #[error(transparent)]
    Records(#[from] records::Error),
}
