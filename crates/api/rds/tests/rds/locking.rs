//! Losing the key, and getting it back (spec/rds.md §7).

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::world::{World, cluster, instance};

const HOUR: Duration = Duration::from_secs(3600);
const RECOVERABLE: &str = "inaccessible-encryption-credentials-recoverable";
const TERMINAL: &str = "inaccessible-encryption-credentials";

async fn locked() -> (World, String) {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    world.running("orders", Some(&key)).await;
    world.host.write("a row");
    world.keys.enable(&key, false);
    world.rds.key_changed(&key).await;
    (world, key)
}

fn named() -> Value {
    json!({"DBClusterIdentifier": "orders"})
}

#[tokio::test]
async fn a_disabled_key_shuts_the_database_before_the_call_returns() {
    let (world, _) = locked().await;
    assert_eq!(world.host.processes().len(), 0, "no process is left, and so no key and no mount");
    world.settle().await;
    assert_eq!(world.status("orders").await, RECOVERABLE);
    assert_eq!(world.instance_status("orders-1").await, RECOVERABLE);
    assert_eq!(world.host.open(), 0);
    let told = world.events("db-instance", "orders-1").await;
    assert!(
        told.iter().any(|m| m.starts_with("Amazon RDS is unable to access the KMS encryption key")),
        "{told:?}"
    );
    assert!(told.iter().any(|m| m.starts_with("Amazon RDS has been unable to access the KMS")), "{told:?}");
}

#[tokio::test]
async fn a_change_of_another_key_shuts_nothing() {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    let other = world.keys.make("alias/other");
    world.running("orders", Some(&key)).await;
    world.keys.enable(&other, false);
    world.keys.forget_uses();
    world.rds.key_changed(&other).await;
    assert!(world.keys.uses().is_empty());
    assert_eq!(world.host.open(), 1);
}

#[tokio::test]
async fn every_cluster_under_the_key_is_shut() {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    for name in ["orders", "billing"] {
        world.running(name, Some(&key)).await;
    }
    world.running("open", None).await;
    world.keys.enable(&key, false);
    world.rds.key_changed(&key).await;
    assert_eq!(world.host.open(), 1, "the one without the key");
    world.settle().await;
    for (name, status) in [("orders", RECOVERABLE), ("billing", RECOVERABLE), ("open", "available")] {
        assert_eq!(world.status(name).await, status, "{name}");
    }
}

#[tokio::test]
async fn an_unreachable_key_service_shuts_nothing() {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    world.running("orders", Some(&key)).await;
    world.keys.unreachable(true);
    world.rds.check_all_keys().await;
    assert_eq!(world.host.open(), 1);
    assert_eq!(world.status("orders").await, "available");
}

#[tokio::test]
async fn a_loss_that_nobody_told_of_is_found_by_the_check_or_by_the_next_use() {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    world.running("orders", Some(&key)).await;
    world.keys.enable(&key, false);
    assert_eq!(world.host.open(), 1, "the plaintext key in memory serves on");
    world.ok("RebootDBInstance", json!({"DBInstanceIdentifier": "orders-1"})).await;
    world.settle().await;
    assert_eq!(world.status("orders").await, RECOVERABLE);

    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    world.running("orders", Some(&key)).await;
    world.keys.enable(&key, false);
    world.rds.check_all_keys().await;
    assert_eq!(world.host.open(), 0);
}

#[tokio::test]
async fn calls_by_state_while_recoverable() {
    let (world, _) = locked().await;
    world.settle().await;
    let snapshot = json!({"DBClusterIdentifier": "orders", "DBClusterSnapshotIdentifier": "s"});
    let final_snapshot = json!({"DBClusterIdentifier": "orders", "FinalDBSnapshotIdentifier": "s"});
    for (operation, input, code) in [
        ("StopDBCluster", named(), "InvalidDBClusterStateFault"),
        ("StartDBCluster", named(), "KMSKeyNotAccessibleFault"),
        ("RebootDBInstance", json!({"DBInstanceIdentifier": "orders-1"}), "InvalidDBInstanceState"),
        ("CreateDBInstance", instance("orders", "orders-2"), "InvalidDBClusterStateFault"),
        ("CreateDBClusterSnapshot", snapshot, "InvalidDBClusterStateFault"),
    ] {
        assert_eq!(world.refused(operation, input).await, code, "{operation}");
        assert_eq!(world.status("orders").await, RECOVERABLE, "{operation} changes nothing");
    }
    let arn = "arn:aws:rds:us-west-2:111122223333:cluster:orders";
    world.ok("ListTagsForResource", json!({"ResourceName": arn})).await;
    world.ok("DeleteDBInstance", json!({"DBInstanceIdentifier": "orders-1"})).await;
    world.settle().await;
    assert_eq!(world.refused("DeleteDBCluster", final_snapshot).await, "KMSKeyNotAccessibleFault");
    world.ok("DeleteDBCluster", json!({"DBClusterIdentifier": "orders", "SkipFinalSnapshot": true})).await;
    world.settle().await;
    assert!(world.keys.grants().is_empty() && world.host.volumes() == 0);
}

#[tokio::test]
async fn a_regained_key_and_a_start_bring_the_rows_back() {
    let (world, key) = locked().await;
    world.settle().await;
    world.keys.enable(&key, true);
    world.rds.key_changed(&key).await;
    world.settle().await;
    assert_eq!(world.status("orders").await, RECOVERABLE, "nothing recovers by itself");
    let answer = world.ok("StartDBCluster", named()).await;
    assert_eq!(answer["DBCluster"]["Status"], "starting");
    world.settle().await;
    assert_eq!(world.status("orders").await, "available");
    assert_eq!(world.instance_status("orders-1").await, "available");
    assert_eq!(world.host.rows(), [["a row"]]);
    let told = world.events("db-instance", "orders-1").await;
    assert!(
        told.iter().any(|message| message.starts_with("Amazon RDS can now successfully access")),
        "{told:?}"
    );
    assert_eq!(world.events("db-cluster", "orders").await.last().unwrap(), "DB cluster started.");
}

#[tokio::test]
async fn a_revoked_grant_needs_a_new_one_made_by_whoever_starts_the_cluster() {
    for victim in [0, 1] {
        let world = World::new().await;
        let key = world.keys.make("alias/orders");
        world.running("orders", Some(&key)).await;
        let grants = world.keys.grants();
        world.keys.revoke(&grants[victim].0);
        world.rds.key_changed(&key).await;
        world.settle().await;
        assert_eq!(world.status("orders").await, RECOVERABLE);
        world.keys.forbid("no-grant", "CreateGrant");
        let fault = world.call_as("no-grant", "StartDBCluster", named()).await.unwrap_err();
        assert_eq!(fault.code, "KMSKeyNotAccessibleFault");
        world.ok("StartDBCluster", named()).await;
        world.settle().await;
        assert_eq!(world.status("orders").await, "available");
        assert_eq!(world.keys.grants().len(), 2);
    }
}

#[tokio::test]
async fn a_start_that_the_key_policy_forbids_leaves_no_grant_behind() {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    world.running("orders", Some(&key)).await;
    let grants = world.keys.grants();
    world.keys.deny_service(&key);
    world.rds.key_changed(&key).await;
    world.settle().await;
    assert_eq!(world.refused("StartDBCluster", named()).await, "KMSKeyNotAccessibleFault");
    assert_eq!(world.keys.grants(), grants);
    assert_eq!(world.status("orders").await, RECOVERABLE);
}

#[tokio::test]
async fn after_seven_days_nothing_leads_back() {
    let (world, key) = locked().await;
    world.settle().await;
    world.keys.enable(&key, true);
    world.pass(6 * 24 * HOUR + 22 * HOUR);
    world.settle().await;
    assert_eq!(world.status("orders").await, RECOVERABLE);
    world.pass(2 * HOUR);
    let code = world.refused("StartDBCluster", named()).await;
    assert_eq!(
        code, "InvalidDBClusterStateFault",
        "even before the reconciler has seen that the time is over"
    );
    world.settle().await;
    assert_eq!(world.status("orders").await, TERMINAL);
    assert_eq!(world.instance_status("orders-1").await, TERMINAL);
    for operation in ["StartDBCluster", "StopDBCluster"] {
        assert_eq!(world.refused(operation, named()).await, "InvalidDBClusterStateFault");
    }
    let final_snapshot = json!({"DBClusterIdentifier": "orders", "FinalDBSnapshotIdentifier": "s"});
    world.ok("DeleteDBInstance", json!({"DBInstanceIdentifier": "orders-1"})).await;
    world.settle().await;
    assert_eq!(world.refused("DeleteDBCluster", final_snapshot).await, "InvalidDBClusterStateFault");
    world.ok("DeleteDBCluster", json!({"DBClusterIdentifier": "orders", "SkipFinalSnapshot": true})).await;
    world.settle().await;
    assert!(world.known().await.is_empty());
}

#[tokio::test]
async fn without_recoverable_days_the_loss_is_terminal_at_once() {
    let world = World::with(|settings| settings.recoverable_days = 0).await;
    let key = world.keys.make("alias/orders");
    world.running("orders", Some(&key)).await;
    world.keys.enable(&key, false);
    world.rds.key_changed(&key).await;
    world.settle().await;
    assert_eq!(world.status("orders").await, TERMINAL);
}

#[tokio::test]
async fn a_cluster_without_instances_tells_of_the_loss_itself() {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    world.ok("CreateDBCluster", cluster("orders", Some(&key))).await;
    world.settle().await;
    world.keys.enable(&key, false);
    world.rds.key_changed(&key).await;
    world.settle().await;
    assert_eq!(world.status("orders").await, RECOVERABLE);
    let told = world.events("db-cluster", "orders").await;
    assert!(told.iter().any(|message| message.starts_with("Amazon RDS has been unable")), "{told:?}");
    world.keys.enable(&key, true);
    world.ok("StartDBCluster", named()).await;
    world.settle().await;
    assert_eq!(world.status("orders").await, "available");
}

#[tokio::test]
async fn a_process_that_cannot_be_locked_is_killed() {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    world.running("orders", Some(&key)).await;
    world.host.fail("lock", true);
    world.keys.enable(&key, false);
    world.rds.key_changed(&key).await;
    assert_eq!(world.host.open(), 0);
}

/// Waits for what the running server does by itself.
async fn until(mut holds: impl AsyncFnMut() -> bool) {
    while !holds().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn connections_end_with_the_key_and_are_refused_until_it_is_back() {
    let database = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = World::with(|settings| settings.ports = 23_200..=23_299).await;
    let key = world.keys.make("alias/orders");
    world.host.answer_at(database.local_addr().unwrap().port());
    let (stop, stopping) = watch::channel(false);
    let running = tokio::spawn(world.rds.clone().run(stopping));
    let created = world.ok("CreateDBCluster", cluster("orders", Some(&key))).await;
    let port = u16::try_from(created["DBCluster"]["Port"].as_i64().unwrap()).unwrap();
    world.ok("CreateDBInstance", instance("orders", "orders-1")).await;
    let connects = async || TcpStream::connect(("127.0.0.1", port)).await.is_ok();
    until(async || {
        world.host.advance();
        world.instance_status("orders-1").await == "available" && connects().await
    })
    .await;
    let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    client.write_all(b"SELECT 1").await.unwrap();

    world.keys.enable(&key, false);
    world.rds.key_changed(&key).await;
    assert!(world.host.processes().is_empty());
    let read = client.read(&mut [0; 8]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "the connection has ended");
    until(async || !connects().await).await;
    until(async || world.status("orders").await == RECOVERABLE).await;

    world.keys.enable(&key, true);
    world.ok("StartDBCluster", named()).await;
    until(async || {
        world.host.advance();
        world.status("orders").await == "available" && connects().await
    })
    .await;
    stop.send_replace(true);
    running.await.unwrap();
    assert_eq!(world.host.open(), 1);
}
