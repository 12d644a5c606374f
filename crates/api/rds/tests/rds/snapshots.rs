//! Snapshots, which outlive their cluster, and what is restored from them.

use serde_json::{Value, json};

use crate::world::{World, cluster};

fn take(cluster: &str, name: &str) -> Value {
    json!({"DBClusterIdentifier": cluster, "DBClusterSnapshotIdentifier": name})
}

fn restore(snapshot: &str, cluster: &str, key: Option<&str>) -> Value {
    let mut input = json!({
        "SnapshotIdentifier": snapshot, "DBClusterIdentifier": cluster, "Engine": "aurora-postgresql",
    });
    if let Some(key) = key {
        input["KmsKeyId"] = json!(key);
    }
    input
}

async fn snapshot(world: &World, name: &str) -> Value {
    let answer = world.ok("DescribeDBClusterSnapshots", json!({"DBClusterSnapshotIdentifier": name})).await;
    answer["DBClusterSnapshots"][0].clone()
}

async fn delete(world: &World, cluster: &str) {
    world.ok("DeleteDBInstance", json!({"DBInstanceIdentifier": format!("{cluster}-1")})).await;
    world.ok("DeleteDBCluster", json!({"DBClusterIdentifier": cluster, "SkipFinalSnapshot": true})).await;
    world.settle().await;
}

async fn start_instance(world: &World, name: &str) {
    world.ok("CreateDBInstance", crate::world::instance(name, &format!("{name}-1"))).await;
    world.settle().await;
    assert_eq!(world.status(name).await, "available");
    assert_eq!(world.instance_status(&format!("{name}-1")).await, "available");
}

#[tokio::test]
async fn a_snapshot_outlives_its_cluster_and_brings_its_rows_back() {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    world.running("orders", Some(&key)).await;
    world.host.write("before");
    let taken = world.ok("CreateDBClusterSnapshot", take("orders", "Nightly")).await;
    assert_eq!(taken["DBClusterSnapshot"]["Status"], "creating");
    assert_eq!(taken["DBClusterSnapshot"]["PercentProgress"], 0);
    world.settle().await;
    world.host.write("after");
    let shown = snapshot(&world, "nightly").await;
    assert_eq!((&shown["Status"], &shown["PercentProgress"]), (&json!("available"), &json!(100)));
    assert_eq!((&shown["KmsKeyId"], &shown["StorageEncryptionType"]), (&json!(key), &json!("sse-kms")));
    assert_eq!(shown["DBClusterSnapshotArn"], "arn:aws:rds:us-west-2:111122223333:cluster-snapshot:nightly");
    let told = world.events("db-cluster-snapshot", "nightly").await;
    assert_eq!(told, ["Creating manual cluster snapshot.", "Manual cluster snapshot created."]);

    delete(&world, "orders").await;
    assert_eq!(world.keys.grants().len(), 1, "the snapshot's own");
    let restored = world.ok("RestoreDBClusterFromSnapshot", restore("nightly", "orders", None)).await;
    assert_eq!(restored["DBCluster"]["Status"], "creating");
    assert_eq!(restored["DBCluster"]["KmsKeyId"], key.as_str());
    world.settle().await;
    start_instance(&world, "orders").await;
    assert_eq!(world.host.rows(), [["before"]]);
    assert!(world.host.passwords().len() == 1, "the restored database has its password already");
}

#[tokio::test]
async fn a_restore_under_another_key_wraps_the_volume_key_anew() {
    let world = World::new().await;
    let (source, target) = (world.keys.make("alias/orders"), world.keys.make("alias/other"));
    world.running("orders", Some(&source)).await;
    world.host.write("a row");
    world.ok("CreateDBClusterSnapshot", take("orders", "nightly")).await;
    world.settle().await;
    world.keys.forget_uses();
    let restored =
        world.ok("RestoreDBClusterFromSnapshot", restore("nightly", "copy", Some("alias/other"))).await;
    assert_eq!(restored["DBCluster"]["KmsKeyId"], target.as_str());
    let uses: Vec<_> = world.keys.uses().into_iter().map(|u| (u.by, u.operation, u.key)).collect();
    let used = |by: &str, operation, key: &String| (by.to_owned(), operation, key.clone());
    assert_eq!(
        uses,
        [
            used("dba", "DescribeKey", &target),
            used("dba", "CreateGrant", &target),
            used("rds", "ReEncryptFrom", &source),
            used("rds", "ReEncryptTo", &target),
        ]
    );
    world.settle().await;
    // The copy needs the other key alone.
    world.keys.enable(&source, false);
    world.rds.key_changed(&source).await;
    start_instance(&world, "copy").await;
}

#[tokio::test]
async fn a_cluster_without_a_kms_key_is_encrypted_by_restoring_it_under_one() {
    let world = World::new().await;
    world.running("orders", None).await;
    world.host.write("a row");
    world.ok("CreateDBClusterSnapshot", take("orders", "nightly")).await;
    world.settle().await;
    let key = world.keys.make("alias/orders");
    let plain = world.ok("RestoreDBClusterFromSnapshot", restore("nightly", "plain", None)).await;
    assert_eq!(plain["DBCluster"]["StorageEncryptionType"], "sse-rds");
    let sealed = world.ok("RestoreDBClusterFromSnapshot", restore("nightly", "sealed", Some(&key))).await;
    assert_eq!(sealed["DBCluster"]["StorageEncrypted"], true);
    world.settle().await;
    start_instance(&world, "plain").await;
    start_instance(&world, "sealed").await;
    assert_eq!(world.host.rows(), [["a row"], ["a row"], ["a row"]]);
}

#[tokio::test]
async fn a_restore_waits_until_the_key_can_be_used_again() {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    let other = world.keys.make("alias/other");
    world.running("orders", Some(&key)).await;
    world.ok("CreateDBClusterSnapshot", take("orders", "nightly")).await;
    world.settle().await;
    world.keys.enable(&key, false);
    world.rds.key_changed(&key).await;
    let grants = world.keys.grants();
    for target in [None, Some(other.as_str())] {
        let fault =
            world.call("RestoreDBClusterFromSnapshot", restore("nightly", "copy", target)).await.unwrap_err();
        assert_eq!(fault.code, "KMSKeyNotAccessibleFault");
        assert!(fault.message.unwrap().contains(&key), "the key that cannot be used is named");
    }
    assert_eq!(world.keys.grants(), grants);
    world.keys.enable(&key, true);
    world.ok("RestoreDBClusterFromSnapshot", restore("nightly", "copy", None)).await;
    world.settle().await;
    start_instance(&world, "copy").await;
}

#[tokio::test]
async fn a_final_snapshot_is_taken_before_the_volume_goes() {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    world.running("orders", Some(&key)).await;
    world.host.write("a row");
    world.ok("DeleteDBInstance", json!({"DBInstanceIdentifier": "orders-1"})).await;
    let name = json!({"DBClusterIdentifier": "orders"});
    let fault = world.call("DeleteDBCluster", name).await.unwrap_err();
    assert_eq!(
        fault.message.unwrap(),
        "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified."
    );
    let mut input = json!({"DBClusterIdentifier": "orders", "FinalDBSnapshotIdentifier": "last", "SkipFinalSnapshot": true});
    assert_eq!(world.refused("DeleteDBCluster", input.clone()).await, "InvalidParameterCombination");
    input["SkipFinalSnapshot"] = json!(false);
    world.ok("DeleteDBCluster", input).await;
    world.settle().await;
    assert_eq!(
        world.refused("DescribeDBClusters", json!({"DBClusterIdentifier": "orders"})).await,
        "DBClusterNotFoundFault"
    );
    assert_eq!(snapshot(&world, "last").await["Status"], "available");
    assert_eq!((world.host.volumes(), world.host.snapshots()), (0, 1));
    world.ok("RestoreDBClusterFromSnapshot", restore("last", "orders", None)).await;
    world.settle().await;
    start_instance(&world, "orders").await;
    assert_eq!(world.host.rows(), [["a row"]]);
}

#[tokio::test]
async fn a_deleted_snapshot_leaves_nothing_but_waits_for_what_is_made_from_it() {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    world.running("orders", Some(&key)).await;
    world.ok("CreateDBClusterSnapshot", take("orders", "nightly")).await;
    let name = json!({"DBClusterSnapshotIdentifier": "nightly"});
    assert_eq!(
        world.refused("DeleteDBClusterSnapshot", name.clone()).await,
        "InvalidDBClusterSnapshotStateFault"
    );
    world.settle().await;
    delete(&world, "orders").await;
    world.host.fail("clone_volume", true);
    world.ok("RestoreDBClusterFromSnapshot", restore("nightly", "copy", None)).await;
    let deleted = world.ok("DeleteDBClusterSnapshot", name.clone()).await;
    assert_eq!(deleted["DBClusterSnapshot"]["Status"], "deleting");
    let code = world.refused("RestoreDBClusterFromSnapshot", restore("nightly", "late", None)).await;
    assert_eq!(code, "InvalidDBClusterSnapshotStateFault");
    for _ in 0..5 {
        world.step().await;
    }
    assert_eq!(world.host.snapshots(), 1, "the clone is still to come");
    world.host.fail("clone_volume", false);
    world.settle().await;
    assert_eq!(world.status("copy").await, "available");
    assert_eq!(world.host.snapshots(), 0);
    assert_eq!(world.keys.grants().len(), 1, "that of the copy");
    assert_eq!(world.refused("DeleteDBClusterSnapshot", name).await, "DBClusterSnapshotNotFoundFault");
}

#[tokio::test]
async fn a_cluster_without_data_has_nothing_to_take_a_snapshot_of() {
    let world = World::new().await;
    world.ok("CreateDBCluster", cluster("orders", None)).await;
    world.settle().await;
    assert_eq!(
        world.refused("CreateDBClusterSnapshot", take("orders", "s")).await,
        "InvalidDBClusterStateFault"
    );
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let world = World::new().await;
    world.running("orders", None).await;
    world.ok("CreateDBClusterSnapshot", take("orders", "nightly")).await;
    let fault = world.call("CreateDBClusterSnapshot", take("orders", "NIGHTLY")).await.unwrap_err();
    assert_eq!(fault.code, "DBClusterSnapshotAlreadyExistsFault");
    let text = "Cannot create the snapshot because a snapshot with the identifier nightly already exists.";
    assert_eq!(fault.message.unwrap(), text);
    world.settle().await;
    assert_eq!(
        world.refused("RestoreDBClusterFromSnapshot", restore("nightly", "orders", None)).await,
        "DBClusterAlreadyExistsFault"
    );
    assert_eq!(
        world.refused("RestoreDBClusterFromSnapshot", restore("other", "new", None)).await,
        "DBClusterSnapshotNotFoundFault"
    );
}

#[tokio::test]
async fn snapshots_are_found_by_cluster_type_and_filter() {
    let world = World::new().await;
    for name in ["orders", "billing"] {
        world.running(name, None).await;
        world.ok("CreateDBClusterSnapshot", take(name, &format!("of-{name}"))).await;
    }
    world.settle().await;
    let found = async |input: Value| -> Vec<String> {
        let answer = world.ok("DescribeDBClusterSnapshots", input).await;
        let list = answer["DBClusterSnapshots"].as_array().unwrap();
        list.iter().map(|s| s["DBClusterSnapshotIdentifier"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(found(json!({})).await, ["of-billing", "of-orders"]);
    assert_eq!(found(json!({"DBClusterIdentifier": "orders"})).await, ["of-orders"]);
    assert_eq!(found(json!({"SnapshotType": "automated"})).await, [""; 0]);
    let filter = json!({"Filters": [{"Name": "db-cluster-id", "Values": ["billing"]}]});
    assert_eq!(found(filter).await, ["of-billing"]);
    assert_eq!(
        world.refused("DescribeDBClusterSnapshots", json!({"SnapshotType": "x"})).await,
        "InvalidParameterValue"
    );
}
