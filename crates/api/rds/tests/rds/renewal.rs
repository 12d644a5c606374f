//! Renewal of volume keys, as their operator and the owner of the cluster see it.

use api_rds::RenewalWish;
use serde_json::{Value, json};

use crate::world::{World, instance};

fn arn(name: &str) -> String {
    format!("arn:aws:rds:us-west-2:111122223333:cluster:{name}")
}

pub fn wish() -> RenewalWish {
    RenewalWish { operator: "root".into(), reason: Some("once a year".into()) }
}

async fn renew(world: &World, name: &str) -> Result<(), String> {
    world.rds.renew_volume_key(&arn(name), &wish()).await.map_err(|fault| fault.to_string())
}

/// Keys that the headers of all volumes name.
fn generations(world: &World) -> Vec<usize> {
    world.host.copy_volumes().values().map(|volume| volume.keys.len()).collect()
}

/// Wrapped keys that a record has.
async fn recorded(world: &World, kind: &str) -> Vec<usize> {
    let documents: Vec<String> =
        store::sqlx::query_scalar("SELECT document FROM rds_resources WHERE kind = $1 ORDER BY identifier")
            .bind(kind)
            .fetch_all(world.store.read())
            .await
            .unwrap();
    let older = |document: &String| {
        let record: Value = serde_json::from_str(document).unwrap();
        1 + record["older_wrapped_keys"].as_array().map_or(0, Vec::len)
    };
    documents.iter().map(older).collect()
}

async fn cluster_events(world: &World, name: &str) -> Vec<String> {
    let events = world.events("db-cluster", name).await;
    events.into_iter().filter(|event| event.contains("volume key")).collect()
}

#[tokio::test]
async fn a_key_is_renewed_while_the_database_runs_and_the_older_one_forgotten() {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    world.running("orders", Some(&key)).await;
    let before = world.host.copy_volumes().values().next().unwrap().key();
    world.keys.forget_uses();
    renew(&world, "orders").await.unwrap();
    assert!(renew(&world, "orders").await.unwrap_err().contains("renewed already"));
    let uses: Vec<_> = world.keys.uses().into_iter().map(|used| (used.by, used.operation)).collect();
    let expected = ["GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo"];
    assert_eq!(uses, expected.map(|operation| ("rds".to_owned(), operation)));
    world.settle().await;
    assert_eq!(generations(&world), [2]);
    assert_eq!((recorded(&world, "cluster").await, recorded(&world, "instance").await), (vec![2], vec![2]));
    assert_eq!(
        cluster_events(&world, "orders").await,
        ["The volume key of the DB cluster is being renewed."]
    );
    world.host.finish_renewals();
    world.settle().await;
    assert_eq!((recorded(&world, "cluster").await, recorded(&world, "instance").await), (vec![1], vec![1]));
    assert_eq!(
        cluster_events(&world, "orders").await[1..],
        ["The volume key of the DB cluster has been renewed."]
    );
    let volumes = world.host.copy_volumes();
    assert_ne!(volumes.values().next().unwrap().key(), before);
    // Whatever opens it next does so with the new key alone.
    world.ok("RebootDBInstance", json!({"DBInstanceIdentifier": "orders-1"})).await;
    world.settle().await;
    assert_eq!(world.instance_status("orders-1").await, "available");

    let records = world.records("RenewVolumeKey").await;
    let [record] = &records[..] else { panic!("{records:?}") };
    let details = record.service_event_details.as_ref().unwrap();
    assert_eq!((&details["reason"], &details["operator"]), (&json!("once a year"), &json!("root")));
    assert_eq!((&details["kmsKeyId"], &record.error_code), (&json!(key), &None));
}

#[tokio::test]
async fn what_ends_the_database_meanwhile_only_puts_a_renewal_off() {
    let mut world = World::new().await;
    let key = world.keys.make("alias/orders");
    world.running("orders", Some(&key)).await;
    world.ok("StopDBCluster", json!({"DBClusterIdentifier": "orders"})).await;
    world.settle().await;
    renew(&world, "orders").await.unwrap();
    world.settle().await;
    assert_eq!(generations(&world), [1], "nobody is there to begin it");
    world.ok("StartDBCluster", json!({"DBClusterIdentifier": "orders"})).await;
    world.settle().await;
    assert_eq!(generations(&world), [2]);

    world.keys.enable(&key, false);
    world.rds.key_changed(&key).await;
    assert_eq!(world.host.open(), 0);
    world.restart().await;
    world.settle().await;
    assert!(renew(&world, "orders").await.unwrap_err().contains("no access"));
    world.keys.enable(&key, true);
    world.ok("StartDBCluster", json!({"DBClusterIdentifier": "orders"})).await;
    world.settle().await;
    assert_eq!(world.instance_status("orders-1").await, "available");

    // Another instance has copies of both keys of its own.
    world.ok("DeleteDBInstance", json!({"DBInstanceIdentifier": "orders-1"})).await;
    world.settle().await;
    world.ok("CreateDBInstance", instance("orders", "orders-2")).await;
    world.settle().await;
    assert_eq!(recorded(&world, "instance").await, [2]);
    world.host.finish_renewals();
    world.settle().await;
    assert_eq!((recorded(&world, "cluster").await, recorded(&world, "instance").await), (vec![1], vec![1]));

    renew(&world, "orders").await.unwrap();
    world.settle().await;
    world.ok("DeleteDBInstance", json!({"DBInstanceIdentifier": "orders-2"})).await;
    world.ok("DeleteDBCluster", json!({"DBClusterIdentifier": "orders", "SkipFinalSnapshot": true})).await;
    world.settle().await;
    assert_eq!((world.host.volumes(), world.keys.grants().len()), (0, 0));
}

#[tokio::test]
async fn a_renewal_that_the_instance_cannot_begin_keeps_it_from_nothing_else() {
    let world = World::new().await;
    world.running("orders", None).await;
    world.host.fail("renew_key", true);
    renew(&world, "orders").await.unwrap();
    world.settle().await;
    world.ok("StopDBCluster", json!({"DBClusterIdentifier": "orders"})).await;
    world.settle().await;
    assert_eq!(world.status("orders").await, "stopped");
    world.host.fail("renew_key", false);
    world.ok("StartDBCluster", json!({"DBClusterIdentifier": "orders"})).await;
    world.settle().await;
    assert_eq!(generations(&world), [2]);
}

#[tokio::test]
async fn nothing_is_recorded_that_the_key_service_refuses_but_the_attempt() {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    world.running("orders", Some(&key)).await;
    world.keys.deny_service(&key);
    assert!(renew(&world, "orders").await.unwrap_err().contains("AccessDenied"));
    assert_eq!((recorded(&world, "cluster").await, generations(&world)), (vec![1], vec![1]));
    let records = world.records("RenewVolumeKey").await;
    assert_eq!(records[0].error_code.as_deref(), Some("InternalFailure"));
    assert!(cluster_events(&world, "orders").await.is_empty());
    assert!(renew(&world, "nobody").await.unwrap_err().contains("no cluster"));
}

#[tokio::test]
async fn a_snapshot_that_waits_while_a_renewal_begins_has_the_keys_it_needs() {
    let world = World::new().await;
    let (key, other) = (world.keys.make("alias/orders"), world.keys.make("alias/other"));
    world.running("orders", Some(&key)).await;
    world.host.write("a row");
    world.host.fail("take_snapshot", true);
    let take = json!({"DBClusterIdentifier": "orders", "DBClusterSnapshotIdentifier": "s"});
    world.ok("CreateDBClusterSnapshot", take).await;
    renew(&world, "orders").await.unwrap();
    world.settle().await;
    assert_eq!(generations(&world), [2]);
    world.host.fail("take_snapshot", false);
    world.settle().await;
    assert_eq!(recorded(&world, "snapshot").await, [2]);
    world.host.finish_renewals();
    world.settle().await;

    // It is restored under its own key and another, and copied.
    for (name, kms_key) in [("same", None), ("moved", Some(&other))] {
        let mut restore =
            json!({"DBClusterIdentifier": name, "SnapshotIdentifier": "s", "Engine": "aurora-postgresql"});
        if let Some(kms_key) = kms_key {
            restore["KmsKeyId"] = json!(kms_key);
        }
        world.ok("RestoreDBClusterFromSnapshot", restore).await;
        world.ok("CreateDBInstance", instance(name, &format!("{name}-1"))).await;
        world.settle().await;
        assert_eq!(world.instance_status(&format!("{name}-1")).await, "available");
    }
    let keys: Vec<_> = world.host.copy_volumes().into_values().map(|volume| volume.keys).collect();
    let mut counts: Vec<_> = keys.iter().map(Vec::len).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 2, 3], "of itself, of the snapshot, and of the snapshot and its own");
    let newest: std::collections::BTreeSet<_> = keys.iter().map(|keys| keys.last().unwrap().0).collect();
    assert_eq!(newest.len(), 2, "under another key the volume key is another");
    world.host.finish_renewals();
    world.settle().await;
    assert_eq!(recorded(&world, "cluster").await, [1, 1, 1]);
    let copy = json!({
        "SourceDBClusterSnapshotIdentifier": "s", "TargetDBClusterSnapshotIdentifier": "c", "KmsKeyId": other,
    });
    world.ok("CopyDBClusterSnapshot", copy).await;
    world.settle().await;
    assert_eq!(recorded(&world, "snapshot").await, [1, 2]);
    assert_eq!(world.host.rows(), [["a row"], ["a row"], ["a row"]]);
}

#[tokio::test]
async fn a_server_that_dies_at_any_moment_of_a_renewal_loses_no_key() {
    for moment in (0..20).chain((20..).step_by(3)) {
        let mut world = World::new().await;
        let key = world.keys.make("alias/orders");
        world.running("orders", Some(&key)).await;
        let death = world.death.clone();
        death.after(moment);
        loop {
            match death.or(renew(&world, "orders")).await {
                None => world.restart().await,
                Some(Ok(())) => break,
                Some(Err(refused)) => {
                    assert!(refused.contains("renewed already"), "moment {moment}: {refused}");
                    break;
                }
            }
        }
        let settle = async |world: &mut World| {
            while death.or(world.settle()).await.is_none() {
                world.restart().await;
            }
        };
        settle(&mut world).await;
        assert_eq!(generations(&world), [2], "moment {moment}");
        world.host.accident();
        settle(&mut world).await;
        world.host.finish_renewals();
        settle(&mut world).await;
        world.host.accident();
        settle(&mut world).await;
        assert_eq!(world.instance_status("orders-1").await, "available", "moment {moment}");
        assert_eq!(
            (recorded(&world, "cluster").await, recorded(&world, "instance").await),
            (vec![1], vec![1]),
            "moment {moment}"
        );
        if !death.cancel() {
            assert!(moment > 20, "a renewal is longer than {moment} moments");
            return;
        }
    }
}
