//! The making of a snapshot, by its own operation or by the deletion of its cluster (spec/rds.md §5, step 6).

use std::collections::BTreeMap;

use clusters::{Identifier, SnapshotResourceId, SnapshotStatus};
use front::Call;
use wire::Fault;

use super::target::Named;
use crate::{
    encryption::{self, NewGrant},
    faults,
    names::new_identifier,
    records::{Cluster, Edit, Snapshot},
    service::Rds,
};

/// A snapshot with its grant, not yet recorded.
pub struct NewSnapshot {
    pub record: Snapshot,
    grant: NewGrant,
}

impl NewSnapshot {
    /// Checks the name and gives the snapshot a grant of its own, asked for as the caller, so that it outlives the cluster.
    /// The wrapped volume key is the cluster's, in the cluster's context.
    ///
    /// # Errors
    /// InvalidParameterValue, DBClusterSnapshotAlreadyExistsFault, KMSKeyNotAccessibleFault; InvalidDBClusterStateFault
    /// for a cluster in which no database has been made yet.
    pub async fn prepare(
        rds: &Rds,
        call: &Call,
        cluster: &Cluster,
        name: &str,
        tags: BTreeMap<String, String>,
    ) -> Result<Self, Fault> {
        let identifier = new_identifier("DBClusterSnapshotIdentifier", name, Identifier::LONGEST_SNAPSHOT)?;
        if Named::<Snapshot>::by_name(rds, call, identifier.to_string()).await?.exists() {
            return Err(faults::snapshot_exists(&identifier));
        }
        if !cluster.initialised {
            let text = "has no data yet: its volume is made when its first DB instance starts.";
            return Err(faults::cluster_state(format!("DbCluster {} {text}", cluster.identifier)));
        }
        if let Some(key) = cluster.encryption.key_arn() {
            encryption::usable_key(rds, call, key).await?;
        }
        let id = SnapshotResourceId::generate(&*rds.entropy);
        let grant =
            NewGrant::ask(rds, call, &cluster.encryption, &format!("rds-{id}"), cluster.context()).await;
        let key = cluster.encryption.key_arn().unwrap_or_default();
        let grant = grant.map_err(|error| faults::key_fault(&error, key))?;
        let record = Snapshot {
            id,
            account: cluster.account.clone(),
            region: cluster.region.clone(),
            identifier,
            cluster: cluster.id.clone(),
            cluster_identifier: cluster.identifier.clone(),
            cluster_created: cluster.created,
            created: call.now,
            status: SnapshotStatus::Creating,
            delete: false,
            remains: true,
            uploaded: false,
            percent: 0,
            copied_from: None,
            anchor: None,
            engine_version: cluster.engine_version.clone(),
            port: cluster.port,
            volume: cluster.volume.clone(),
            encryption: cluster.encryption.clone(),
            keys: cluster.keys.clone(),
            grant: grant.id.clone(),
            master_username: cluster.master_username.clone(),
            database_name: cluster.database_name.clone(),
            backup_retention_days: cluster.backup_retention_days,
            availability_zones: cluster.availability_zones.clone(),
            tags,
        };
        Ok(Self { record, grant })
    }

    /// Writes the record. `cluster` is as `edit` has taken it.
    ///
    /// # Errors
    /// DBClusterSnapshotAlreadyExistsFault, if the name was taken meanwhile.
    pub async fn insert(&self, edit: &mut Edit, cluster: &Cluster) -> Result<(), Fault> {
        // A renewal may have begun since; one that begins later finds the snapshot.
        let inserted = edit.insert(&Snapshot { keys: cluster.keys.clone(), ..self.record.clone() }).await;
        inserted.map_err(|error| match error.is_taken() {
            true => faults::snapshot_exists(&self.record.identifier),
            false => error.into(),
        })
    }

    /// Gives the grant back if the rest has failed.
    ///
    /// # Errors
    /// What the rest has failed with.
    pub async fn settle<T>(self, rds: &Rds, call: &Call, rest: Result<T, Fault>) -> Result<T, Fault> {
        if rest.is_err() {
            self.grant.give_back(rds, call).await;
        }
        rest
    }
}
