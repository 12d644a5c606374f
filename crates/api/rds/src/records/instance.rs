//! The record of an instance.

use std::collections::BTreeMap;

use clusters::{ClusterResourceId, Identifier, InstanceResourceId, InstanceStatus, SourceType, VolumeId};
use ids::{AccountId, Arn, Region, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Record, WrappedKeys};
use crate::keys::EncryptionContext;

/// An instance of a cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Instance {
    pub id: InstanceResourceId,
    pub account: AccountId,
    pub region: Region,
    pub identifier: Identifier,
    pub cluster: ClusterResourceId,
    pub created: Timestamp,
    pub status: InstanceStatus,
    /// It is to go.
    pub delete: bool,
    /// It is to be restarted once.
    pub reboot: bool,
    pub class: String,
    pub promotion_tier: u32,
    pub availability_zone: String,
    pub parameter_group: String,
    pub auto_minor_version_upgrade: bool,
    pub copy_tags_to_snapshot: bool,
    pub publicly_accessible: bool,
    /// Its copies of the volume's keys, bound to [`Instance::context`].
    #[serde(flatten)]
    pub keys: WrappedKeys,
    /// Id of the grant on the KMS key.
    pub grant: Option<String>,
    pub tags: BTreeMap<String, String>,
}

impl Instance {
    /// What the instance's copy of the volume key is bound to: itself and the volume (spec/rds.md §5).
    pub fn context(&self, volume: &VolumeId) -> EncryptionContext {
        let mut context = self.grant_context();
        context.insert("aws:ebs:id".into(), volume.to_string());
        context
    }

    /// What its grant is limited to.
    pub fn grant_context(&self) -> EncryptionContext {
        BTreeMap::from([("aws:rds:db-id".to_owned(), self.id.to_string())])
    }
}

impl Record for Instance {
    const KIND: &'static str = "instance";
    const SOURCE: SourceType = SourceType::Instance;
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
        let resource = format!("db:{}", self.identifier);
        Arn::aws("rds", self.region.as_str(), self.account.as_str(), resource).to_string()
    }
    fn cluster(&self) -> Option<&str> {
        Some(self.cluster.as_str())
    }
}
