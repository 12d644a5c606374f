//! From the creation of a cluster to its end.

use std::time::Duration;

use serde_json::json;

use crate::world::{World, cluster, instance};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn a_cluster_and_its_instance_come_up_and_are_described() {
    let world = World::new().await;
    let created = world.ok("CreateDBCluster", cluster("Orders", None)).await;
    assert_eq!(created["DBCluster"]["Status"], "creating");
    let created = world.ok("CreateDBInstance", instance("orders", "orders-1")).await;
    assert_eq!(created["DBInstance"]["DBInstanceStatus"], "creating");
    assert!(created["DBInstance"]["Endpoint"].is_null());
    world.settle().await;

    let cluster = world.describe("ORDERS").await;
    assert_eq!(cluster["Status"], "available");
    assert_eq!(cluster["DBClusterIdentifier"], "orders");
    assert_eq!(cluster["EngineVersion"], "16.10", "the newest, and 16.10 is newer than 16.9");
    assert_eq!(cluster["DBClusterParameterGroup"], "default.aurora-postgresql16");
    assert_eq!(cluster["Endpoint"], "localhost");
    assert_eq!(cluster["StorageEncrypted"], false);
    assert_eq!(cluster["StorageEncryptionType"], "sse-rds");
    assert!(cluster["KmsKeyId"].is_null());
    assert_eq!(cluster["DBClusterArn"], "arn:aws:rds:us-west-2:111122223333:cluster:orders");
    let member = &cluster["DBClusterMembers"][0];
    assert_eq!(
        (&member["DBInstanceIdentifier"], &member["IsClusterWriter"]),
        (&json!("orders-1"), &json!(true))
    );

    let answer = world.ok("DescribeDBInstances", json!({})).await;
    let instance = &answer["DBInstances"][0];
    assert_eq!(instance["DBInstanceStatus"], "available");
    assert_eq!(instance["Endpoint"]["Port"], cluster["Port"]);
    assert_eq!(instance["DBClusterIdentifier"], "orders");
    assert_eq!(world.events("db-cluster", "orders").await, ["DB cluster created."]);
    assert_eq!(world.events("db-instance", "orders-1").await, ["DB instance created."]);
    assert!(world.keys.uses().is_empty(), "without a KMS key no key service is asked");
}

#[tokio::test]
async fn the_master_password_is_handed_over_until_the_database_serves_and_then_forgotten() {
    let world = World::new().await;
    world.host.broken(true);
    world.ok("CreateDBCluster", cluster("orders", None)).await;
    world.ok("CreateDBInstance", instance("orders", "orders-1")).await;
    for _ in 0..20 {
        world.host.advance();
        world.step().await;
        world.pass(Duration::from_secs(61));
    }
    world.host.broken(false);
    world.settle().await;
    let given = world.host.passwords();
    assert!(given.len() > 1 && given.iter().all(|password| password == "correct-horse-1"));
    world.ok("RebootDBInstance", json!({"DBInstanceIdentifier": "orders-1"})).await;
    world.settle().await;
    assert_eq!(world.host.passwords().len(), given.len());
    let document: String =
        store::sqlx::query_scalar("SELECT document FROM rds_resources WHERE kind = 'cluster'")
            .fetch_one(world.store.read())
            .await
            .unwrap();
    assert!(document.contains("\"master_password\":null"), "{document}");
}

#[tokio::test]
async fn a_stopped_cluster_starts_again_and_by_itself_after_seven_days() {
    let world = World::new().await;
    world.running("orders", None).await;
    let name = json!({"DBClusterIdentifier": "orders"});
    assert_eq!(world.refused("StartDBCluster", name.clone()).await, "InvalidDBClusterStateFault");
    let answer = world.ok("StopDBCluster", name.clone()).await;
    assert_eq!(answer["DBCluster"]["Status"], "available", "as on AWS");
    world.settle().await;
    let stopped = world.describe("orders").await;
    assert_eq!(stopped["Status"], "stopped");
    assert!(stopped["AutomaticRestartTime"].is_string());
    assert_eq!(world.instance_status("orders-1").await, "stopped");
    assert_eq!(world.host.processes().len(), 0);
    let fault = world.call("StopDBCluster", name.clone()).await.unwrap_err();
    assert_eq!(
        fault.message.unwrap(),
        "DbCluster orders is in stopped state but expected it to be one of available."
    );
    for operation in ["CreateDBInstance", "DeleteDBInstance"] {
        let code = world.call(operation, instance("orders", "orders-1")).await.unwrap_err().code;
        assert!(
            ["InvalidDBClusterStateFault", "DBInstanceAlreadyExists"].contains(&&*code),
            "{operation}: {code}"
        );
    }

    let answer = world.ok("StartDBCluster", name.clone()).await;
    assert_eq!(answer["DBCluster"]["Status"], "starting");
    world.settle().await;
    assert_eq!(world.status("orders").await, "available");
    assert!(world.describe("orders").await["AutomaticRestartTime"].is_null());

    world.ok("StopDBCluster", name).await;
    world.settle().await;
    world.pass(7 * DAY);
    world.settle().await;
    assert_eq!(world.status("orders").await, "available");
    let told = world.events("db-cluster", "orders").await;
    let restarted = "DB cluster is being started due to it exceeding the maximum allowed time being stopped.";
    assert!(told.iter().any(|message| message == restarted), "{told:?}");
}

#[tokio::test]
async fn a_reboot_restarts_the_database_on_the_same_volume() {
    let world = World::new().await;
    world.running("orders", None).await;
    world.host.write("a row");
    let answer = world.ok("RebootDBInstance", json!({"DBInstanceIdentifier": "orders-1"})).await;
    assert_eq!(answer["DBInstance"]["DBInstanceStatus"], "rebooting");
    let code = world.refused("RebootDBInstance", json!({"DBInstanceIdentifier": "orders-1"})).await;
    assert_eq!(code, "InvalidDBInstanceState");
    world.settle().await;
    assert_eq!(world.instance_status("orders-1").await, "available");
    assert_eq!(world.host.rows(), [["a row"]]);
    let told = world.events("db-instance", "orders-1").await;
    assert_eq!(told, ["DB instance created.", "DB instance shutdown.", "DB instance restarted."]);
}

#[tokio::test]
async fn an_instance_whose_process_dies_comes_back() {
    let world = World::new().await;
    world.running("orders", None).await;
    world.host.accident();
    world.settle().await;
    assert_eq!(world.instance_status("orders-1").await, "available");
    assert_eq!(world.host.open(), 1);
}

#[tokio::test]
async fn an_instance_that_does_not_come_up_is_failed_and_still_tried() {
    let world = World::new().await;
    world.host.broken(true);
    world.ok("CreateDBCluster", cluster("orders", None)).await;
    world.ok("CreateDBInstance", instance("orders", "orders-1")).await;
    for _ in 0..40 {
        world.host.advance();
        world.step().await;
        world.pass(Duration::from_secs(61));
    }
    assert_eq!(world.instance_status("orders-1").await, "failed");
    world.host.broken(false);
    world.settle().await;
    assert_eq!(world.instance_status("orders-1").await, "available");
}

#[tokio::test]
async fn a_volume_that_is_lost_is_never_replaced_by_an_empty_one() {
    let world = World::new().await;
    world.running("orders", None).await;
    world.host.accident();
    world.host.lose_volumes();
    for _ in 0..40 {
        world.host.advance();
        world.step().await;
        world.pass(Duration::from_secs(61));
    }
    assert_eq!(world.instance_status("orders-1").await, "failed");
    assert_eq!(world.host.volumes(), 0);
}

#[tokio::test]
async fn deletion_leaves_nothing() {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    world.running("orders", Some(&key)).await;
    let delete = json!({"DBClusterIdentifier": "orders", "SkipFinalSnapshot": true});
    let fault = world.call("DeleteDBCluster", delete.clone()).await.unwrap_err();
    assert_eq!(fault.code, "InvalidDBClusterStateFault");
    assert_eq!(
        fault.message.unwrap(),
        "Cluster cannot be deleted, it still contains DB instances in non-deleting state."
    );
    world.ok("DeleteDBInstance", json!({"DBInstanceIdentifier": "orders-1"})).await;
    let code = world.refused("DeleteDBInstance", json!({"DBInstanceIdentifier": "orders-1"})).await;
    assert_eq!(code, "InvalidDBInstanceState");
    let answer = world.ok("DeleteDBCluster", delete.clone()).await;
    assert_eq!(answer["DBCluster"]["Status"], "deleting");
    assert_eq!(world.refused("DeleteDBCluster", delete.clone()).await, "InvalidDBClusterStateFault");
    world.settle().await;
    assert_eq!(world.refused("DeleteDBCluster", delete).await, "DBClusterNotFoundFault");
    let gone = json!({"DBInstanceIdentifier": "orders-1"});
    assert_eq!(world.refused("DescribeDBInstances", gone).await, "DBInstanceNotFound");
    assert!(world.keys.grants().is_empty(), "grants are retired");
    assert_eq!((world.host.volumes(), world.host.processes().len()), (0, 0));
    assert!(world.known().await.is_empty());
    let told = world.events("db-cluster", "orders").await;
    assert_eq!(told.last().unwrap(), "DB cluster deleted.");
}

#[tokio::test]
async fn a_protected_cluster_stays() {
    let world = World::new().await;
    let mut input = cluster("orders", None);
    input["DeletionProtection"] = json!(true);
    world.ok("CreateDBCluster", input).await;
    world.settle().await;
    let delete = json!({"DBClusterIdentifier": "orders", "SkipFinalSnapshot": true});
    let fault = world.call("DeleteDBCluster", delete).await.unwrap_err();
    assert_eq!(fault.code, "InvalidParameterCombination");
    let text = "Cannot delete protected Cluster, please disable deletion protection and try again.";
    assert_eq!(fault.message.unwrap(), text);
}

#[tokio::test]
async fn an_instance_can_be_replaced_by_another_on_the_same_volume() {
    let world = World::new().await;
    world.running("orders", None).await;
    world.host.write("a row");
    let second = instance("orders", "orders-2");
    assert_eq!(world.refused("CreateDBInstance", second.clone()).await, "InstanceQuotaExceeded");
    world.ok("DeleteDBInstance", json!({"DBInstanceIdentifier": "orders-1"})).await;
    world.ok("CreateDBInstance", second).await;
    world.settle().await;
    assert_eq!(world.instance_status("orders-2").await, "available");
    assert_eq!(world.host.rows(), [["a row"]]);
}
