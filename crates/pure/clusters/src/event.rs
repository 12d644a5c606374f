//! Events as DescribeEvents tells them (spec/rds.md §9).

use serde::{Deserialize, Serialize};

/// What an event is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum SourceType {
    #[serde(rename = "db-cluster")]
    Cluster,
    #[serde(rename = "db-instance")]
    Instance,
    #[serde(rename = "db-cluster-snapshot")]
    ClusterSnapshot,
}

impl SourceType {
    /// As the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "db-cluster",
            Self::Instance => "db-instance",
            Self::ClusterSnapshot => "db-cluster-snapshot",
        }
    }
}

/// Something that happened to a cluster, an instance or a snapshot.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Event {
    ClusterCreated,
    ClusterDeleted,
    ClusterStopped,
    ClusterStarted,
    ClusterRestarted,
    SnapshotCreating,
    SnapshotCreated,
    InstanceCreated,
    InstanceDeleted,
    InstanceShutdown,
    InstanceRestarted,
    InstanceStopped,
    InstanceStarted,
    InstanceFailed,
    KeyUnreachable,
    KeyInaccessible,
    KeyReachable,
    /// The volume is not what it should be; what is wrong with it follows the sentence.
    VolumeRefused,
    /// Something in the volume of a running database is not what was written; what it is follows the sentence.
    VolumeDamaged,
    /// What the object store gives back of a snapshot is not what was put there; what it is follows the sentence.
    SnapshotDamaged,
    StorageFull,
    StorageFreed,
    VolumeKeyRenewing,
    VolumeKeyRenewed,
}

impl Event {
    /// The number in `RDS-EVENT-nnnn`.
    pub const fn number(self) -> &'static str {
        match self {
            Self::ClusterCreated => "0170",
            Self::ClusterDeleted => "0171",
            Self::ClusterStopped => "0150",
            Self::ClusterStarted => "0151",
            Self::ClusterRestarted => "0153",
            Self::SnapshotCreating => "0074",
            Self::SnapshotCreated => "0075",
            Self::InstanceCreated => "0005",
            Self::InstanceDeleted => "0003",
            Self::InstanceShutdown => "0004",
            Self::InstanceRestarted => "0006",
            Self::InstanceStopped => "0087",
            Self::InstanceStarted => "0088",
            Self::InstanceFailed => "0035",
            Self::KeyUnreachable => "0418",
            Self::KeyInaccessible => "0419",
            Self::KeyReachable => "0420",
            Self::VolumeRefused => "0035",
            Self::VolumeDamaged | Self::SnapshotDamaged => "0036",
            Self::StorageFull => "0007",
            // AWS tells of the modification that made room; here room comes by itself.
            Self::StorageFreed => "0017",
            // AWS has no such act: these are its maintenance of a cluster.
            Self::VolumeKeyRenewing | Self::VolumeKeyRenewed => "0176",
        }
    }

    /// The category that filters select by.
    pub const fn category(self) -> &'static str {
        match self {
            Self::ClusterCreated | Self::InstanceCreated => "creation",
            Self::ClusterDeleted | Self::InstanceDeleted => "deletion",
            Self::ClusterStopped | Self::ClusterStarted | Self::ClusterRestarted => "notification",
            Self::InstanceStopped | Self::InstanceStarted => "notification",
            Self::SnapshotCreating | Self::SnapshotCreated => "backup",
            Self::InstanceShutdown | Self::InstanceRestarted | Self::KeyInaccessible => "availability",
            Self::InstanceFailed | Self::KeyUnreachable | Self::KeyReachable => "failure",
            Self::VolumeRefused | Self::VolumeDamaged | Self::SnapshotDamaged => "failure",
            Self::StorageFull | Self::StorageFreed => "low storage",
            Self::VolumeKeyRenewing | Self::VolumeKeyRenewed => "maintenance",
        }
    }

    /// The sentence; `name` is the identifier of what it happened to.
    pub fn message(self, name: &str) -> String {
        let further = "Please refer to the troubleshooting section in the Amazon RDS documentation for further details.";
        match self {
            Self::ClusterCreated => "DB cluster created.".into(),
            Self::ClusterDeleted => "DB cluster deleted.".into(),
            Self::ClusterStopped => "DB cluster stopped.".into(),
            Self::ClusterStarted => "DB cluster started.".into(),
            Self::ClusterRestarted => {
                "DB cluster is being started due to it exceeding the maximum allowed time being stopped."
                    .into()
            }
            Self::SnapshotCreating => "Creating manual cluster snapshot.".into(),
            Self::SnapshotCreated => "Manual cluster snapshot created.".into(),
            Self::InstanceCreated => "DB instance created.".into(),
            Self::InstanceDeleted => "DB instance deleted.".into(),
            Self::InstanceShutdown => "DB instance shutdown.".into(),
            Self::InstanceRestarted => "DB instance restarted.".into(),
            Self::InstanceStopped => "DB instance stopped.".into(),
            Self::InstanceStarted => "DB instance started.".into(),
            Self::InstanceFailed => {
                "Database instance put into failed. The database could not be started.".into()
            }
            Self::VolumeRefused => "Database instance put into failed.".into(),
            Self::VolumeDamaged => "Database instance in available. Its volume is damaged.".into(),
            Self::SnapshotDamaged => {
                "The DB cluster snapshot cannot be restored from the object store.".into()
            }
            Self::StorageFull => {
                "Allocated storage has been exhausted. Allocate additional storage to resolve.".into()
            }
            Self::StorageFreed => "There is storage for the DB instance again.".into(),
            Self::VolumeKeyRenewing => "The volume key of the DB cluster is being renewed.".into(),
            Self::VolumeKeyRenewed => "The volume key of the DB cluster has been renewed.".into(),
            Self::KeyUnreachable => format!(
                "Amazon RDS is unable to access the KMS encryption key for database instance {name}. This is likely due \
                 to the key being disabled or Amazon RDS being unable to access it. If this continues the database will \
                 be placed into an inaccessible state. {further}"
            ),
            Self::KeyInaccessible => format!(
                "Amazon RDS has been unable to access the KMS encryption key for database instance {name}. This database \
                 will be placed into an inaccessible state. {further}"
            ),
            Self::KeyReachable => {
                format!(
                    "Amazon RDS can now successfully access the KMS encryption key for database instance {name}."
                )
            }
        }
    }
}

impl Event {
    /// The sentence, and one more about what exactly happened.
    pub fn message_with(self, name: &str, what: &str) -> String {
        let mut letters = what.chars();
        let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
        format!("{} {first}{}.", self.message(name), letters.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentences_about_the_key_name_the_instance() {
        let text = Event::KeyUnreachable.message("orders-1");
        assert!(text.starts_with(
            "Amazon RDS is unable to access the KMS encryption key for database instance orders-1. This is likely due to \
             the key being disabled"
        ));
        assert!(!text.contains("  "));
        assert_eq!(Event::KeyInaccessible.category(), "availability");
        let damaged = Event::VolumeDamaged.message_with("orders-1", "block 7 is not authentic");
        assert_eq!(
            damaged,
            "Database instance in available. Its volume is damaged. Block 7 is not authentic."
        );
    }
}
