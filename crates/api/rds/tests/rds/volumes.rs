//! Anchors, full hosts and damage, as the owner of a cluster and its operator see them.

use std::{collections::BTreeMap, time::Duration};

use clusters::{SnapshotResourceId, VolumeId};
use serde_json::json;
use store::sqlx;

use crate::world::{ACCOUNT, Volume, World};

/// What `strongroom volume accept` leaves for the server.
async fn accept(world: &World, reason: &str) {
    let mut change = world.store.internal_change().await.unwrap();
    let volume = world.host.copy_volumes().keys().next().unwrap().to_string();
    sqlx::query("INSERT INTO volume_acceptances (volume, reason, operator, at) VALUES ($1, $2, 'root', 1)")
        .bind(volume)
        .bind(reason)
        .execute(change.tx())
        .await
        .unwrap();
    change.commit().await.unwrap();
}

async fn anchors(world: &World) -> Vec<Vec<u8>> {
    sqlx::query_scalar("SELECT anchor FROM volume_anchors").fetch_all(world.store.read()).await.unwrap()
}

#[tokio::test]
async fn a_database_serves_only_once_the_anchor_of_its_volume_is_kept() {
    let world = World::new().await;
    world.host.fail("anchored", true);
    world.ok("CreateDBCluster", crate::world::cluster("c", None)).await;
    world.ok("CreateDBInstance", crate::world::instance("c", "c-1")).await;
    for _ in 0..20 {
        world.host.advance();
        world.step().await;
    }
    assert_eq!(anchors(&world).await.len(), 1);
    assert_eq!(world.instance_status("c-1").await, "creating");
    world.host.fail("anchored", false);
    world.settle().await;
    assert_eq!(world.instance_status("c-1").await, "available");
}

/// Changes the volumes twice; returns them as they were in between.
async fn yesterday_and_today(world: &World) -> BTreeMap<VolumeId, Volume> {
    world.host.write("yesterday");
    world.settle().await;
    let yesterday = world.host.copy_volumes();
    world.host.write("today");
    world.settle().await;
    yesterday
}

#[tokio::test]
async fn an_older_copy_of_a_volume_is_refused_until_an_operator_accepts_it() {
    let world = World::new().await;
    world.running("c", None).await;
    let yesterday = yesterday_and_today(&world).await;
    world.ok("StopDBCluster", json!({"DBClusterIdentifier": "c"})).await;
    world.settle().await;
    world.host.put_back(yesterday);
    world.ok("StartDBCluster", json!({"DBClusterIdentifier": "c"})).await;
    // Tried again and again, told once.
    for _ in 0..10 {
        for _ in 0..6 {
            world.step().await;
            assert_eq!(world.host.open(), 0);
        }
        world.pass(Duration::from_secs(61));
    }
    assert_eq!(world.instance_status("c-1").await, "failed");
    assert_eq!(world.status("c").await, "available");
    let events = world.events("db-instance", "c-1").await;
    let told = "Database instance put into failed. The volume is an older copy.";
    assert_eq!(events.iter().filter(|event| *event == told).count(), 1, "{events:?}");

    accept(&world, "restored from tape").await;
    world.settle().await;
    assert_eq!(world.instance_status("c-1").await, "available");
    assert_eq!(world.host.rows(), [["yesterday"]]);
    let records = world.records("AcceptVolume").await;
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!(record.recipient_account_id.as_str(), ACCOUNT);
    let details = record.service_event_details.as_ref().unwrap();
    assert_eq!((&details["reason"], &details["operator"]), (&json!("restored from tape"), &json!("root")));
    assert_eq!(details["sequenceGivenUp"], json!(2));
    // And anchored anew.
    assert_eq!(anchors(&world).await.len(), 1);
}

#[tokio::test]
async fn a_restored_cluster_has_an_anchor_of_its_own_and_a_deleted_one_leaves_none() {
    let world = World::new().await;
    world.running("c", None).await;
    world.host.write("row");
    let snapshot = json!({"DBClusterSnapshotIdentifier": "s", "DBClusterIdentifier": "c"});
    world.ok("CreateDBClusterSnapshot", snapshot).await;
    world.settle().await;
    let restore =
        json!({"DBClusterIdentifier": "r", "SnapshotIdentifier": "s", "Engine": "aurora-postgresql"});
    world.ok("RestoreDBClusterFromSnapshot", restore).await;
    world.ok("CreateDBInstance", crate::world::instance("r", "r-1")).await;
    world.settle().await;
    assert_eq!(world.instance_status("r-1").await, "available");
    assert_eq!(anchors(&world).await.len(), 2);
    world.ok("DeleteDBInstance", json!({"DBInstanceIdentifier": "r-1"})).await;
    world.ok("DeleteDBCluster", json!({"DBClusterIdentifier": "r", "SkipFinalSnapshot": true})).await;
    world.settle().await;
    assert_eq!(anchors(&world).await.len(), 1);
}

async fn take(world: &World, name: &str) -> SnapshotResourceId {
    let order = json!({"DBClusterSnapshotIdentifier": name, "DBClusterIdentifier": "c"});
    world.ok("CreateDBClusterSnapshot", order).await;
    world.settle().await;
    find(world, name).await
}

async fn find(world: &World, name: &str) -> SnapshotResourceId {
    let one = sqlx::query_scalar("SELECT id FROM rds_resources WHERE kind = 'snapshot' AND identifier = $1");
    let id: String = one.bind(name).fetch_one(world.store.read()).await.unwrap();
    id.parse().unwrap()
}

async fn restore(world: &World, name: &str, snapshot: &str) {
    let order =
        json!({"DBClusterIdentifier": name, "SnapshotIdentifier": snapshot, "Engine": "aurora-postgresql"});
    world.ok("RestoreDBClusterFromSnapshot", order).await;
    world.ok("CreateDBInstance", crate::world::instance(name, &format!("{name}-1"))).await;
    // One that is refused is tried again and again.
    for _ in 0..60 {
        world.host.advance();
        world.step().await;
    }
}

#[tokio::test]
async fn an_older_snapshot_in_the_place_of_another_is_refused() {
    let world = World::new().await;
    world.running("c", None).await;
    world.host.write("yesterday");
    world.settle().await;
    let old = take(&world, "old").await;
    world.host.write("today");
    world.settle().await;
    let new = take(&world, "new").await;
    let copy =
        json!({"SourceDBClusterSnapshotIdentifier": "new", "TargetDBClusterSnapshotIdentifier": "copy"});
    world.ok("CopyDBClusterSnapshot", copy).await;
    world.settle().await;
    let copy = find(&world, "copy").await;
    restore(&world, "r", "new").await;
    assert_eq!(world.instance_status("r-1").await, "available");

    let content = world.host.snapshot(&old).unwrap();
    for (name, snapshot) in [("new", &new), ("copy", &copy)] {
        world.host.put_snapshot(snapshot, content.clone());
        let restored = format!("of-{name}");
        restore(&world, &restored, name).await;
        assert_eq!(world.instance_status(&format!("{restored}-1")).await, "failed");
    }
    restore(&world, "o", "old").await;
    assert_eq!(world.instance_status("o-1").await, "available");
}

#[tokio::test]
async fn a_snapshot_of_an_accepted_volume_can_be_restored() {
    let world = World::new().await;
    world.running("c", None).await;
    let yesterday = yesterday_and_today(&world).await;
    // It is asked for before the volume is put back, and taken afterwards.
    world.host.fail("take_snapshot", true);
    take(&world, "s").await;
    world.ok("StopDBCluster", json!({"DBClusterIdentifier": "c"})).await;
    world.settle().await;
    world.host.put_back(yesterday);
    accept(&world, "restored from tape").await;
    world.settle().await;
    world.host.fail("take_snapshot", false);
    world.pass(Duration::from_secs(61));
    world.settle().await;
    restore(&world, "r", "s").await;
    assert_eq!(world.instance_status("r-1").await, "available");
}

#[tokio::test]
async fn a_full_host_shows_as_storage_full_and_goes_by_itself() {
    let world = World::new().await;
    world.running("c", None).await;
    world.host.fill(true);
    world.settle().await;
    assert_eq!(world.instance_status("c-1").await, "storage-full");
    assert_eq!(world.status("c").await, "available");
    let refused = world.refused("RebootDBInstance", json!({"DBInstanceIdentifier": "c-1"})).await;
    assert_eq!(refused, "InvalidDBInstanceState");
    world.host.fill(false);
    world.settle().await;
    assert_eq!(world.instance_status("c-1").await, "available");
    let events = world.events("db-instance", "c-1").await;
    assert_eq!(
        events[events.len() - 2..],
        [
            "Allocated storage has been exhausted. Allocate additional storage to resolve.",
            "There is storage for the DB instance again.",
        ]
    );
}

#[tokio::test]
async fn damage_is_told_once_a_place_whoever_asks_again() {
    let mut world = World::new().await;
    world.running("c", None).await;
    world.host.damage("block 7 is not authentic");
    world.host.damage("block 9 is not authentic");
    world.settle().await;
    world.host.damage("block 7 is not authentic");
    world.restart().await;
    world.settle().await;
    let events = world.events("db-instance", "c-1").await;
    let told: Vec<_> = events.iter().filter(|event| event.contains("damaged")).collect();
    assert_eq!(
        told,
        [
            "Database instance in available. Its volume is damaged. Block 7 is not authentic.",
            "Database instance in available. Its volume is damaged. Block 9 is not authentic.",
        ]
    );
    assert_eq!(world.instance_status("c-1").await, "available");
}
