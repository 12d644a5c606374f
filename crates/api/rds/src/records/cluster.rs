//! The record of a cluster.

use std::collections::{BTreeMap, BTreeSet};

use clusters::{
    Access, BackupWindow, ClusterResourceId, ClusterSpec, ClusterStatus, DatabaseName, Goal, Identifier,
    MaintenanceWindow, MasterUsername, MemberSpec, SnapshotResourceId, SourceType, VolumeId,
};
use ids::{AccountId, Arn, Region, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Bytes, Instance, Record, WrappedKeys};
use crate::keys::EncryptionContext;

/// What wraps the volume key.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Encryption {
    /// A key of the server's own: no KMS key, `StorageEncrypted` is false.
    SseRds,
    /// A KMS key, by its ARN.
    SseKms { key_arn: String },
}

impl Encryption {
    /// As `StorageEncryptionType` writes it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::SseRds => "sse-rds",
            Self::SseKms { .. } => "sse-kms",
        }
    }

    /// The KMS key.
    pub fn key_arn(&self) -> Option<&str> {
        match self {
            Self::SseRds => None,
            Self::SseKms { key_arn } => Some(key_arn),
        }
    }
}

/// A cluster: what was asked for, and what became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cluster {
    pub id: ClusterResourceId,
    pub account: AccountId,
    pub region: Region,
    pub identifier: Identifier,
    pub created: Timestamp,
    pub status: ClusterStatus,
    pub goal: Goal,
    pub access: Access,
    pub restart_at: Option<Timestamp>,
    pub engine_version: String,
    pub port: u16,
    pub volume: VolumeId,
    pub encryption: Encryption,
    /// The volume's keys under [`Encryption`], bound to [`Cluster::context`].
    #[serde(flatten)]
    pub keys: WrappedKeys,
    /// Id of the grant on the KMS key.
    pub grant: Option<String>,
    /// The snapshot that the volume begins with.
    pub origin: Option<SnapshotResourceId>,
    /// The database has served once: its volume is never made anew.
    pub initialised: bool,
    /// Files of the volume may be there: until they have been removed.
    pub remains: bool,
    pub master_username: MasterUsername,
    /// Sealed, and only until it is set.
    pub master_password: Option<Bytes>,
    pub database_name: Option<DatabaseName>,
    pub backup_retention_days: u32,
    pub backup_window: BackupWindow,
    pub maintenance_window: MaintenanceWindow,
    pub parameter_group: String,
    pub subnet_group: String,
    pub security_groups: Vec<String>,
    pub availability_zones: Vec<String>,
    pub deletion_protection: bool,
    pub copy_tags_to_snapshot: bool,
    pub tags: BTreeMap<String, String>,
}

impl Cluster {
    /// The only engine there is.
    pub const ENGINE: &'static str = "aurora-postgresql";

    /// What the cluster's own copy of the volume key is bound to.
    pub fn context(&self) -> EncryptionContext {
        Self::context_of(&self.id)
    }

    /// What the copy of the volume key of a cluster with this id is bound to.
    pub fn context_of(id: &ClusterResourceId) -> EncryptionContext {
        BTreeMap::from([("aws:rds:db-id".to_owned(), id.to_string())])
    }

    /// Where the master password is sealed for.
    pub fn password_place(&self) -> String {
        Self::password_place_of(&self.id)
    }

    /// Where the master password of a cluster with this id is sealed for.
    pub fn password_place_of(id: &ClusterResourceId) -> String {
        format!("rds/master-password/{id}")
    }

    /// The wish, for the plan.
    pub fn spec(&self, members: &[Instance], recoverable_for: std::time::Duration) -> ClusterSpec {
        ClusterSpec {
            goal: self.goal,
            access: self.access,
            recoverable_for,
            restart_at: self.restart_at,
            restored: self.origin.is_some(),
            members: members
                .iter()
                .map(|m| (m.id.clone(), MemberSpec { delete: m.delete, reboot: m.reboot }))
                .collect(),
        }
    }

    /// Names that the database server's certificate has to cover.
    pub fn host_names(&self, endpoint: &str) -> Vec<String> {
        let names = ["localhost", "127.0.0.1", "::1", endpoint].map(str::to_owned);
        BTreeSet::from(names).into_iter().collect()
    }
}

impl Record for Cluster {
    const KIND: &'static str = "cluster";
    const SOURCE: SourceType = SourceType::Cluster;
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
        let resource = format!("cluster:{}", self.identifier);
        Arn::aws("rds", self.region.as_str(), self.account.as_str(), resource).to_string()
    }
    fn port(&self) -> Option<u16> {
        Some(self.port)
    }
}
