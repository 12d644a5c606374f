//! The operations, one file each.

mod add_tags_to_resource;
mod cluster_options;
mod copy_db_cluster_snapshot;
mod create_db_cluster;
mod create_db_cluster_snapshot;
mod create_db_instance;
mod delete_db_cluster;
mod delete_db_cluster_snapshot;
mod delete_db_instance;
mod describe_db_cluster_snapshots;
mod describe_db_clusters;
mod describe_db_engine_versions;
mod describe_db_instances;
mod describe_events;
mod describe_orderable_db_instance_options;
mod list_tags_for_resource;
mod new_snapshot;
mod reboot_db_instance;
mod remove_tags_from_resource;
mod restore_db_cluster_from_snapshot;
mod start_db_cluster;
mod stop_db_cluster;
mod tagged;
mod target;

use std::sync::Arc;

use front::Router;

use crate::service::Rds;

/// Serves every operation.
pub fn operations(router: &mut Router, rds: Arc<Rds>) {
    router.add::<add_tags_to_resource::AddTagsToResource>(Arc::clone(&rds));
    router.add::<copy_db_cluster_snapshot::CopyDbClusterSnapshot>(Arc::clone(&rds));
    router.add::<create_db_cluster::CreateDbCluster>(Arc::clone(&rds));
    router.add::<create_db_cluster_snapshot::CreateDbClusterSnapshot>(Arc::clone(&rds));
    router.add::<create_db_instance::CreateDbInstance>(Arc::clone(&rds));
    router.add::<delete_db_cluster::DeleteDbCluster>(Arc::clone(&rds));
    router.add::<delete_db_cluster_snapshot::DeleteDbClusterSnapshot>(Arc::clone(&rds));
    router.add::<delete_db_instance::DeleteDbInstance>(Arc::clone(&rds));
    router.add::<describe_db_cluster_snapshots::DescribeDbClusterSnapshots>(Arc::clone(&rds));
    router.add::<describe_db_clusters::DescribeDbClusters>(Arc::clone(&rds));
    router.add::<describe_db_engine_versions::DescribeDbEngineVersions>(Arc::clone(&rds));
    router.add::<describe_db_instances::DescribeDbInstances>(Arc::clone(&rds));
    router.add::<describe_events::DescribeEvents>(Arc::clone(&rds));
    router
        .add::<describe_orderable_db_instance_options::DescribeOrderableDbInstanceOptions>(Arc::clone(&rds));
    router.add::<list_tags_for_resource::ListTagsForResource>(Arc::clone(&rds));
    router.add::<reboot_db_instance::RebootDbInstance>(Arc::clone(&rds));
    router.add::<remove_tags_from_resource::RemoveTagsFromResource>(Arc::clone(&rds));
    router.add::<restore_db_cluster_from_snapshot::RestoreDbClusterFromSnapshot>(Arc::clone(&rds));
    router.add::<start_db_cluster::StartDbCluster>(Arc::clone(&rds));
    router.add::<stop_db_cluster::StopDbCluster>(rds);
}
