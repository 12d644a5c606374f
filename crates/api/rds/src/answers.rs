//! Clusters, instances, snapshots and events as the model has them (spec/rds.md §3, §8, §9).

use std::collections::BTreeMap;

use ids::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    records::{Cluster, Encryption, Instance, Record, Snapshot, ToldEvent},
    service::Rds,
};

/// The certificate authority that the servers' certificates come from: this server's own.
const CERTIFICATE_AUTHORITY: &str = "strongroom-ca";
/// What Aurora says of a volume that grows by itself.
const ALLOCATED_STORAGE: u32 = 1;

/// Tags as answers have them.
pub fn tag_list(tags: &BTreeMap<String, String>) -> Value {
    tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
}

fn instant(at: Timestamp) -> Value {
    json!(at.iso8601())
}

/// `StorageEncrypted`, `StorageEncryptionType` and, for a KMS key alone, `KmsKeyId`.
fn add_encryption(answer: &mut Value, encryption: &Encryption) {
    answer["StorageEncrypted"] = json!(encryption.key_arn().is_some());
    answer["StorageEncryptionType"] = json!(encryption.as_str());
    if let Some(arn) = encryption.key_arn() {
        answer["KmsKeyId"] = json!(arn);
    }
}

fn security_groups(cluster: &Cluster) -> Value {
    cluster.security_groups.iter().map(|id| json!({"VpcSecurityGroupId": id, "Status": "active"})).collect()
}

/// `DBCluster`
pub fn cluster(rds: &Rds, cluster: &Cluster, members: &[Instance]) -> Value {
    let member = |instance: &Instance| {
        json!({
            "DBInstanceIdentifier": instance.identifier,
            // There is one instance that stays; one on its way out writes nothing any more.
            "IsClusterWriter": !instance.delete,
            "DBClusterParameterGroupStatus": "in-sync",
            "PromotionTier": instance.promotion_tier,
        })
    };
    let mut answer = json!({
        "AllocatedStorage": ALLOCATED_STORAGE,
        "AvailabilityZones": cluster.availability_zones,
        "BackupRetentionPeriod": cluster.backup_retention_days,
        "DBClusterIdentifier": cluster.identifier,
        "DBClusterArn": cluster.arn(),
        "DbClusterResourceId": cluster.id,
        "DBClusterParameterGroup": cluster.parameter_group,
        "DBSubnetGroup": cluster.subnet_group,
        "Status": cluster.status,
        "Endpoint": rds.writer_host(cluster),
        "ReaderEndpoint": rds.reader_host(cluster),
        "MultiAZ": false,
        "Engine": Cluster::ENGINE,
        "EngineVersion": cluster.engine_version,
        "EngineMode": "provisioned",
        "Port": cluster.port,
        "MasterUsername": cluster.master_username,
        "PreferredBackupWindow": cluster.backup_window.to_string(),
        "PreferredMaintenanceWindow": cluster.maintenance_window.to_string(),
        "ReadReplicaIdentifiers": [],
        "DBClusterMembers": members.iter().map(member).collect::<Value>(),
        "VpcSecurityGroups": security_groups(cluster),
        "AssociatedRoles": [],
        "IAMDatabaseAuthenticationEnabled": false,
        "ClusterCreateTime": instant(cluster.created),
        "EnabledCloudwatchLogsExports": [],
        "DeletionProtection": cluster.deletion_protection,
        "HttpEndpointEnabled": false,
        "CopyTagsToSnapshot": cluster.copy_tags_to_snapshot,
        "CrossAccountClone": false,
        "TagList": tag_list(&cluster.tags),
        "AutoMinorVersionUpgrade": false,
        "ActivityStreamStatus": "stopped",
        "StorageType": "aurora",
    });
    if let Some(name) = &cluster.database_name {
        answer["DatabaseName"] = json!(name);
    }
    if let Some(at) = cluster.restart_at {
        answer["AutomaticRestartTime"] = instant(at);
    }
    add_encryption(&mut answer, &cluster.encryption);
    answer
}

/// `DBInstance`
pub fn instance(rds: &Rds, instance: &Instance, cluster: &Cluster) -> Value {
    let endpoint = json!({"Address": rds.instance_host(cluster, &instance.identifier), "Port": cluster.port});
    let mut answer = json!({
        "DBInstanceIdentifier": instance.identifier,
        "DBInstanceArn": instance.arn(),
        "DbiResourceId": instance.id,
        "DBInstanceClass": instance.class,
        "DBInstanceStatus": instance.status,
        "DBClusterIdentifier": cluster.identifier,
        "Engine": Cluster::ENGINE,
        "EngineVersion": cluster.engine_version,
        "MasterUsername": cluster.master_username,
        "AllocatedStorage": ALLOCATED_STORAGE,
        "InstanceCreateTime": instant(instance.created),
        "PreferredBackupWindow": cluster.backup_window.to_string(),
        "PreferredMaintenanceWindow": cluster.maintenance_window.to_string(),
        "BackupRetentionPeriod": cluster.backup_retention_days,
        "DBSecurityGroups": [],
        "VpcSecurityGroups": security_groups(cluster),
        "DBParameterGroups": [{"DBParameterGroupName": instance.parameter_group, "ParameterApplyStatus": "in-sync"}],
        "AvailabilityZone": instance.availability_zone,
        "DBSubnetGroup": {
            "DBSubnetGroupName": cluster.subnet_group,
            "DBSubnetGroupDescription": cluster.subnet_group,
            "SubnetGroupStatus": "Complete",
            "Subnets": [],
        },
        "PendingModifiedValues": {},
        "MultiAZ": false,
        "AutoMinorVersionUpgrade": instance.auto_minor_version_upgrade,
        "ReadReplicaDBInstanceIdentifiers": [],
        "LicenseModel": "postgresql-license",
        "OptionGroupMemberships": [],
        "PubliclyAccessible": instance.publicly_accessible,
        "StorageType": "aurora",
        "DbInstancePort": 0,
        "CACertificateIdentifier": CERTIFICATE_AUTHORITY,
        "DomainMemberships": [],
        "CopyTagsToSnapshot": instance.copy_tags_to_snapshot,
        "MonitoringInterval": 0,
        "PromotionTier": instance.promotion_tier,
        "IAMDatabaseAuthenticationEnabled": false,
        "PerformanceInsightsEnabled": false,
        "DeletionProtection": false,
        "AssociatedRoles": [],
        "TagList": tag_list(&instance.tags),
    });
    // As on AWS, there is none until the instance has been made.
    if instance.status != clusters::InstanceStatus::Creating {
        answer["Endpoint"] = endpoint;
    }
    if let Some(name) = &cluster.database_name {
        answer["DBName"] = json!(name);
    }
    add_encryption(&mut answer, &cluster.encryption);
    answer
}

/// `DBClusterSnapshot`
pub fn snapshot(snapshot: &Snapshot) -> Value {
    let progress = match snapshot.status {
        // Only what is available is whole.
        status if status.is_unfinished() => snapshot.percent.min(99),
        _ => 100,
    };
    let mut answer = json!({
        "DBClusterSnapshotIdentifier": snapshot.identifier,
        "DBClusterSnapshotArn": snapshot.arn(),
        "DBClusterIdentifier": snapshot.cluster_identifier,
        "DbClusterResourceId": snapshot.cluster,
        "AvailabilityZones": snapshot.availability_zones,
        "SnapshotCreateTime": instant(snapshot.created),
        "ClusterCreateTime": instant(snapshot.cluster_created),
        "Engine": Cluster::ENGINE,
        "EngineVersion": snapshot.engine_version,
        "EngineMode": "provisioned",
        "AllocatedStorage": ALLOCATED_STORAGE,
        "Status": snapshot.status,
        "Port": snapshot.port,
        "MasterUsername": snapshot.master_username,
        "LicenseModel": "postgresql-license",
        "SnapshotType": "manual",
        "PercentProgress": progress,
        "IAMDatabaseAuthenticationEnabled": false,
        "TagList": tag_list(&snapshot.tags),
        "StorageType": "aurora",
        "BackupRetentionPeriod": snapshot.backup_retention_days,
    });
    if let Some(source) = &snapshot.copied_from {
        answer["SourceDBClusterSnapshotArn"] = json!(source.arn);
    }
    add_encryption(&mut answer, &snapshot.encryption);
    answer
}

/// `Event`
pub fn event(event: &ToldEvent) -> Value {
    json!({
        "SourceIdentifier": event.source_id,
        "SourceType": event.source_type,
        "SourceArn": event.source_arn,
        "Message": event.message,
        "EventCategories": [event.category],
        "Date": instant(event.at),
    })
}

/// A page of a list: the items under their name, and where the next page begins.
pub fn list(name: &str, items: impl IntoIterator<Item = Value>, marker: Option<String>) -> Value {
    let mut answer = Map::from_iter([(name.to_owned(), items.into_iter().collect())]);
    answer.extend(marker.map(|marker| ("Marker".to_owned(), json!(marker))));
    Value::Object(answer)
}
