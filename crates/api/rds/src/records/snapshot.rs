//! The record of a cluster snapshot. It has all it takes to restore when the cluster is gone.

use std::collections::BTreeMap;

use clusters::{
    ClusterResourceId, DatabaseName, Identifier, MasterUsername, SnapshotResourceId, SnapshotStatus,
    SourceType, VolumeId,
};
use ids::{AccountId, Arn, Region, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Bytes, Encryption, Record, WrappedKeys};
use crate::keys::EncryptionContext;

/// The snapshot that another is a copy of, which may be gone once that is made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CopiedFrom {
    pub id: SnapshotResourceId,
    pub arn: String,
}

/// A snapshot of a cluster's volume.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    pub id: SnapshotResourceId,
    pub account: AccountId,
    pub region: Region,
    pub identifier: Identifier,
    /// The cluster it was taken of, which may be gone.
    pub cluster: ClusterResourceId,
    pub cluster_identifier: Identifier,
    pub cluster_created: Timestamp,
    pub created: Timestamp,
    pub status: SnapshotStatus,
    /// It is to go.
    pub delete: bool,
    /// Files of it may be here or in the object store: until they have been removed.
    pub remains: bool,
    /// The object store has it, all of it.
    #[serde(default)]
    pub uploaded: bool,
    /// How far its making is: 0 to 100, never less than before.
    #[serde(default)]
    pub percent: u8,
    #[serde(default)]
    pub copied_from: Option<CopiedFrom>,
    pub engine_version: String,
    pub port: u16,
    /// The volume that it shows.
    pub volume: VolumeId,
    pub encryption: Encryption,
    /// The volume's keys, bound to [`Snapshot::context`].
    #[serde(flatten)]
    pub keys: WrappedKeys,
    /// What the log of the volume held before the snapshot was taken; a copy that is sealed anew has a log of its own.
    #[serde(default)]
    pub anchor: Option<Bytes>,
    /// Id of its own grant on the KMS key.
    pub grant: Option<String>,
    pub master_username: MasterUsername,
    pub database_name: Option<DatabaseName>,
    pub backup_retention_days: u32,
    pub availability_zones: Vec<String>,
    pub tags: BTreeMap<String, String>,
}

impl Snapshot {
    /// Does it wait for something to be done? It is to go, or is being made, or `has_store` and it is only here: it was
    /// taken before there was a store.
    pub fn waits(&self, has_store: bool) -> bool {
        let only_here = self.status == SnapshotStatus::Available && !self.uploaded;
        self.delete || self.status.is_unfinished() || (has_store && only_here)
    }

    /// What its wrapped key is bound to: the cluster that it was taken of.
    pub fn context(&self) -> EncryptionContext {
        super::Cluster::context_of(&self.cluster)
    }
}

impl Record for Snapshot {
    const KIND: &'static str = "snapshot";
    const SOURCE: SourceType = SourceType::ClusterSnapshot;
    fn id(&self) -> &str {
        self.id.as_str()
    }
    fn account(&self) -> &AccountId {
        &self.account
    }
    fn region(&self) -> &Region {
        &self.region
    }
    fn identifier(&self) -> &str {
        self.identifier.as_str()
    }
    fn arn(&self) -> String {
        let resource = format!("cluster-snapshot:{}", self.identifier);
        Arn::aws("rds", self.region.as_str(), self.account.as_str(), resource).to_string()
    }
    fn cluster(&self) -> Option<&str> {
        Some(self.cluster.as_str())
    }
}
