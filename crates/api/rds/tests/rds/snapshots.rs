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
            used("rds", "GenerateDataKeyWithoutPlaintext", &target),
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

#[tokio::test]
async fn with_a_store_a_snapshot_is_available_when_it_is_there_and_shows_how_far_it_is() {
    let mut world = World::new().await;
    world.transfers.configure(true);
    let key = world.keys.make("alias/orders");
    world.running("orders", Some(&key)).await;
    world.host.write("before");
    world.ok("CreateDBClusterSnapshot", take("orders", "nightly")).await;
    world.transfers.fail("upload", true);
    world.settle().await;
    let progress = async |world: &World| {
        let shown = snapshot(world, "nightly").await;
        (shown["Status"].as_str().unwrap().to_owned(), shown["PercentProgress"].as_u64().unwrap())
    };
    assert_eq!(progress(&world).await, ("creating".into(), 0), "the store is not to be reached");
    assert_eq!(world.host.snapshots(), 1, "it was taken at once all the same");
    world.host.write("after");
    world.transfers.fail("upload", false);
    // The anchor of what was written, the upload, how far it is.
    world.step().await;
    world.step().await;
    world.step().await;
    assert_eq!(progress(&world).await, ("creating".into(), 50));
    world.restart().await;
    assert_eq!(progress(&world).await, ("creating".into(), 50), "it never goes back");
    // The cluster goes, and what waits for the store alone does not keep it.
    world.ok("DeleteDBInstance", json!({"DBInstanceIdentifier": "orders-1"})).await;
    world.transfers.fail("upload", true);
    world.settle().await;
    world.ok("DeleteDBCluster", json!({"DBClusterIdentifier": "orders", "SkipFinalSnapshot": true})).await;
    world.settle().await;
    assert_eq!(world.host.volumes(), 0);
    world.transfers.fail("upload", false);
    world.settle().await;
    assert_eq!(progress(&world).await, ("available".into(), 100));
    assert_eq!(world.transfers.stored(), 1);

    // This machine loses its files: they come from the store.
    world.host.lose_snapshots();
    world.ok("RestoreDBClusterFromSnapshot", restore("nightly", "orders", None)).await;
    world.transfers.fail("fetch", true);
    world.transfers.fail("damage", true);
    world.settle().await;
    assert_eq!((world.status("orders").await.as_str(), world.host.volumes()), ("creating", 0));
    world.settle().await;
    let input = json!({"SourceType": "db-cluster-snapshot", "SourceIdentifier": "nightly"});
    let events = world.ok("DescribeEvents", input).await;
    let told = events["Events"].as_array().unwrap().iter().filter(|event| {
        event["Message"].as_str().unwrap()
            == "The DB cluster snapshot cannot be restored from the object store. Segment 3 is not in the store."
    });
    assert_eq!(told.count(), 1, "{events}");
    world.transfers.fail("fetch", false);
    world.settle().await;
    start_instance(&world, "orders").await;
    assert_eq!(world.host.rows(), [["before"]]);

    world.ok("DeleteDBClusterSnapshot", json!({"DBClusterSnapshotIdentifier": "nightly"})).await;
    world.transfers.configure(false);
    world.settle().await;
    assert_eq!(snapshot(&world, "nightly").await["Status"], "deleting", "its store is not to be reached");
    world.transfers.configure(true);
    world.settle().await;
    assert_eq!((world.transfers.stored(), world.host.snapshots()), (0, 0));
    let gone =
        world.refused("DescribeDBClusterSnapshots", json!({"DBClusterSnapshotIdentifier": "nightly"})).await;
    assert_eq!(gone, "DBClusterSnapshotNotFoundFault");
}

#[tokio::test]
async fn a_snapshot_that_was_taken_before_there_was_a_store_is_brought_there_when_there_is_one() {
    let mut world = World::new().await;
    let key = world.keys.make("alias/orders");
    world.running("orders", Some(&key)).await;
    for name in ["one", "two"] {
        world.ok("CreateDBClusterSnapshot", take("orders", name)).await;
        world.settle().await;
        assert_eq!(snapshot(&world, name).await["Status"], "available");
    }
    world.transfers.configure(true);
    world.transfers.fail("upload", true);
    world.restart().await;
    world.settle().await;
    assert_eq!(snapshot(&world, "one").await["Status"], "available", "it is there, store or not");
    world.transfers.fail("upload", false);
    world.settle().await;
    assert_eq!(world.transfers.stored(), 2);
    assert_eq!(snapshot(&world, "two").await["PercentProgress"], 100);
    world.host.lose_snapshots();
    world.ok("DeleteDBClusterSnapshot", json!({"DBClusterSnapshotIdentifier": "one"})).await;
    world.settle().await;
    assert_eq!(world.transfers.stored(), 1);
}

fn copy(source: &str, target: &str, key: Option<&str>) -> Value {
    let mut input =
        json!({"SourceDBClusterSnapshotIdentifier": source, "TargetDBClusterSnapshotIdentifier": target});
    if let Some(key) = key {
        input["KmsKeyId"] = json!(key);
    }
    input
}

#[tokio::test]
async fn a_copy_under_another_key_has_a_volume_key_of_its_own_and_needs_the_first_no_more() {
    let mut world = World::new().await;
    let (first, other) = (world.keys.make("alias/orders"), world.keys.make("alias/other"));
    world.running("orders", Some(&first)).await;
    world.host.write("a row");
    let mut taken = take("orders", "nightly");
    taken["Tags"] = json!([{"Key": "stage", "Value": "test"}]);
    world.ok("CreateDBClusterSnapshot", taken).await;
    world.settle().await;
    world.keys.forget_uses();
    let mut input = copy("nightly", "moved", Some("alias/other"));
    input["CopyTags"] = json!(true);
    let copied = world.ok("CopyDBClusterSnapshot", input).await["DBClusterSnapshot"].clone();
    assert_eq!((&copied["Status"], &copied["PercentProgress"]), (&json!("copying"), &json!(0)));
    assert_eq!(copied["KmsKeyId"], other.as_str());
    assert_eq!(copied["TagList"], json!([{"Key": "stage", "Value": "test"}]));
    let source = "arn:aws:rds:us-west-2:111122223333:cluster-snapshot:nightly";
    assert_eq!(copied["SourceDBClusterSnapshotArn"], source);
    let uses: Vec<_> = world.keys.uses().into_iter().map(|u| (u.by, u.operation, u.key)).collect();
    let used = |by: &str, operation, key: &String| (by.to_owned(), operation, key.clone());
    assert_eq!(
        uses,
        [
            used("dba", "DescribeKey", &other),
            used("rds", "DescribeKey", &first),
            used("rds", "Decrypt", &first),
            used("dba", "CreateGrant", &other),
            used("rds", "GenerateDataKeyWithoutPlaintext", &other),
        ]
    );
    // The source stays until the copy is made; the server dies in the middle of it.
    world.ok("DeleteDBClusterSnapshot", json!({"DBClusterSnapshotIdentifier": "nightly"})).await;
    world.step().await;
    world.step().await;
    world.restart().await;
    assert_eq!(snapshot(&world, "nightly").await["Status"], "deleting");
    world.settle().await;
    let shown = snapshot(&world, "moved").await;
    assert_eq!((&shown["Status"], &shown["PercentProgress"]), (&json!("available"), &json!(100)));
    assert_eq!(world.host.snapshots(), 1);
    world.keys.enable(&first, false);
    world.rds.key_changed(&first).await;
    world.ok("RestoreDBClusterFromSnapshot", restore("moved", "copy", None)).await;
    world.settle().await;
    start_instance(&world, "copy").await;
    assert!(world.host.rows().contains(&vec!["a row".to_owned()]));
}

#[tokio::test]
async fn a_copy_under_the_same_key_shares_the_volume_key_and_outlives_its_source() {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    world.running("orders", Some(&key)).await;
    world.host.write("a row");
    world.ok("CreateDBClusterSnapshot", take("orders", "nightly")).await;
    world.settle().await;
    world.ok("CopyDBClusterSnapshot", copy("nightly", "kept", None)).await;
    world.settle().await;
    world.ok("DeleteDBClusterSnapshot", json!({"DBClusterSnapshotIdentifier": "nightly"})).await;
    delete(&world, "orders").await;
    assert_eq!(world.keys.grants().len(), 1, "the copy's own");
    world.ok("RestoreDBClusterFromSnapshot", restore("kept", "orders", None)).await;
    world.settle().await;
    start_instance(&world, "orders").await;
    assert_eq!(world.host.rows(), [["a row"]]);
}

#[tokio::test]
async fn a_copy_that_loses_a_key_fails_and_one_that_is_deleted_ends() {
    let world = World::new().await;
    let (first, other) = (world.keys.make("alias/orders"), world.keys.make("alias/other"));
    world.running("orders", Some(&first)).await;
    world.ok("CreateDBClusterSnapshot", take("orders", "nightly")).await;
    world.settle().await;
    world.ok("CopyDBClusterSnapshot", copy("nightly", "lost", Some(&other))).await;
    world.step().await;
    world.keys.enable(&other, false);
    world.rds.key_changed(&other).await;
    world.settle().await;
    assert_eq!(snapshot(&world, "lost").await["Status"], "failed");
    world.keys.enable(&other, true);
    world.ok("DeleteDBClusterSnapshot", json!({"DBClusterSnapshotIdentifier": "lost"})).await;
    world.ok("CopyDBClusterSnapshot", copy("nightly", "ended", Some(&other))).await;
    world.step().await;
    world.ok("DeleteDBClusterSnapshot", json!({"DBClusterSnapshotIdentifier": "ended"})).await;
    world.settle().await;
    assert_eq!((world.host.snapshots(), world.host.ruins()), (1, 0));
    assert_eq!(world.keys.grants().iter().filter(|(_, grant)| grant.key == other).count(), 0);
}

#[tokio::test]
async fn a_copy_that_cannot_be_made_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let (first, other) = (world.keys.make("alias/orders"), world.keys.make("alias/other"));
    world.running("orders", Some(&first)).await;
    world.running("plain", None).await;
    world.ok("CreateDBClusterSnapshot", take("plain", "open")).await;
    world.ok("CreateDBClusterSnapshot", take("orders", "nightly")).await;
    let refused = async |input| world.refused("CopyDBClusterSnapshot", input).await;
    assert_eq!(refused(copy("nightly", "early", None)).await, "InvalidDBClusterSnapshotStateFault");
    world.settle().await;
    let grants = world.keys.grants().len();
    assert_eq!(refused(copy("none", "target", None)).await, "DBClusterSnapshotNotFoundFault");
    assert_eq!(refused(copy("nightly", "open", None)).await, "DBClusterSnapshotAlreadyExistsFault");
    assert_eq!(refused(copy("nightly", "nightly", None)).await, "DBClusterSnapshotAlreadyExistsFault");
    assert_eq!(refused(copy("nightly", "-bad-", None)).await, "InvalidParameterValue");
    assert_eq!(refused(copy("open", "target", Some(&other))).await, "InvalidParameterCombination");
    assert_eq!(refused(copy("nightly", "target", Some("alias/none"))).await, "KMSKeyNotAccessibleFault");
    world.keys.enable(&other, false);
    assert_eq!(refused(copy("nightly", "target", Some(&other))).await, "KMSKeyNotAccessibleFault");
    world.keys.enable(&other, true);
    world.keys.enable(&first, false);
    let fault =
        world.call("CopyDBClusterSnapshot", copy("nightly", "target", Some(&other))).await.unwrap_err();
    assert!(fault.to_string().contains("The source snapshot KMS key"), "{fault}");
    let denied = world.call_as("auditor", "CopyDBClusterSnapshot", copy("nightly", "target", None)).await;
    assert_eq!(denied.unwrap_err().code, "AccessDenied");
    assert_eq!(world.keys.grants().len(), grants);
}
