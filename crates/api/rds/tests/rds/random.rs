//! Whatever is called and whatever fails, it comes to rest at what was asked for, and nothing is ever opened without access
//! to its key (which the scripted host watches).

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use crate::{
    renewal::wish,
    world::{World, cluster, instance},
};

#[derive(Clone, Copy, Debug)]
enum Move {
    Create(u8),
    AddInstance(u8),
    DeleteInstance(u8),
    Delete(u8),
    Stop(u8),
    Start(u8),
    Reboot(u8),
    Snapshot(u8),
    Restore(u8),
    DeleteSnapshot(u8),
    Copy(u8),
    RenewKey(u8),
    FinishRenewals,
    Enable(bool),
    /// A change that is told of, or not.
    Tell,
    Revoke(u8),
    Step,
    Advance,
    Accident,
    Fail(u8, bool),
    FailTransfer(u8, bool),
    LoseSnapshots,
    Broken(bool),
    Pass(u8),
    Restart,
}

const ORDERS: [&str; 8] =
    ["spawn", "open", "stop", "lock", "kill", "take_snapshot", "clone_volume", "renew_key"];
const TRANSFERS: [&str; 4] = ["upload", "fetch", "remove", "copy"];

fn moves() -> impl Strategy<Value = Move> {
    let which = 0..2_u8;
    prop_oneof![
        3 => which.clone().prop_map(Move::Create),
        4 => which.clone().prop_map(Move::AddInstance),
        1 => which.clone().prop_map(Move::DeleteInstance),
        1 => which.clone().prop_map(Move::Delete),
        1 => which.clone().prop_map(Move::Stop),
        3 => which.clone().prop_map(Move::Start),
        1 => which.clone().prop_map(Move::Reboot),
        2 => which.clone().prop_map(Move::Snapshot),
        2 => which.clone().prop_map(Move::Restore),
        1 => which.clone().prop_map(Move::DeleteSnapshot),
        2 => which.clone().prop_map(Move::Copy),
        2 => which.prop_map(Move::RenewKey),
        2 => Just(Move::FinishRenewals),
        3 => any::<bool>().prop_map(Move::Enable),
        2 => Just(Move::Tell),
        1 => (0..6_u8).prop_map(Move::Revoke),
        12 => Just(Move::Step),
        8 => Just(Move::Advance),
        1 => Just(Move::Accident),
        3 => (0..ORDERS.len() as u8, any::<bool>()).prop_map(|(order, fails)| Move::Fail(order, fails)),
        2 => (0..TRANSFERS.len() as u8, any::<bool>()).prop_map(|(order, fails)| Move::FailTransfer(order, fails)),
        1 => Just(Move::LoseSnapshots),
        1 => any::<bool>().prop_map(Move::Broken),
        1 => (0..100_u8).prop_map(Move::Pass),
        1 => Just(Move::Restart),
    ]
}

async fn play(world: &mut World, key: &str, made: Move) {
    let name = |n: u8| format!("c{n}");
    let named = |n: u8| json!({"DBClusterIdentifier": name(n)});
    let member = |n: u8| json!({"DBInstanceIdentifier": format!("i{n}")});
    let (operation, input) = match made {
        Move::Create(n) => ("CreateDBCluster", cluster(&name(n), (n == 0).then_some(key))),
        Move::AddInstance(n) => ("CreateDBInstance", instance(&name(n), &format!("i{n}"))),
        Move::DeleteInstance(n) => ("DeleteDBInstance", member(n)),
        Move::Delete(n) => {
            ("DeleteDBCluster", json!({"DBClusterIdentifier": name(n), "SkipFinalSnapshot": true}))
        }
        Move::Stop(n) => ("StopDBCluster", named(n)),
        Move::Start(n) => ("StartDBCluster", named(n)),
        Move::Reboot(n) => ("RebootDBInstance", member(n)),
        Move::Snapshot(n) => (
            "CreateDBClusterSnapshot",
            json!({"DBClusterIdentifier": name(n), "DBClusterSnapshotIdentifier": format!("s{n}")}),
        ),
        // From one cluster's snapshot into the other's name.
        Move::Restore(n) => (
            "RestoreDBClusterFromSnapshot",
            json!({
                "DBClusterIdentifier": name(1 - n), "SnapshotIdentifier": format!("s{n}"),
                "Engine": "aurora-postgresql",
            }),
        ),
        Move::DeleteSnapshot(n) => {
            ("DeleteDBClusterSnapshot", json!({"DBClusterSnapshotIdentifier": format!("s{n}")}))
        }
        // Under another key, where there is one at all.
        Move::Copy(n) => (
            "CopyDBClusterSnapshot",
            json!({
                "SourceDBClusterSnapshotIdentifier": format!("s{n}"), "KmsKeyId": "alias/other",
                "TargetDBClusterSnapshotIdentifier": format!("s{}", 1 - n),
            }),
        ),
        Move::RenewKey(n) => {
            let arn = format!("arn:aws:rds:us-west-2:111122223333:cluster:{}", name(n));
            // It may be refused, as anything else.
            let _ = world.rds.renew_volume_key(&arn, &wish()).await;
            return;
        }
        Move::FinishRenewals => return world.host.finish_renewals(),
        Move::Enable(enabled) => return world.keys.enable(key, enabled),
        Move::Tell => return world.rds.key_changed(key).await,
        Move::Revoke(n) => {
            let grants = world.keys.grants();
            if let Some((id, _)) = grants.get(usize::from(n)) {
                world.keys.revoke(id);
            }
            return;
        }
        Move::Step => {
            world.step().await;
            return;
        }
        Move::Advance => return world.host.advance(),
        Move::Accident => return world.host.accident(),
        Move::Fail(order, fails) => return world.host.fail(ORDERS[usize::from(order)], fails),
        Move::FailTransfer(order, fails) => {
            return world.transfers.fail(TRANSFERS[usize::from(order)], fails);
        }
        Move::LoseSnapshots => return world.host.lose_snapshots(),
        Move::Broken(broken) => return world.host.broken(broken),
        Move::Pass(hours) => return world.pass(Duration::from_secs(3600 * u64::from(hours))),
        Move::Restart => return world.restart().await,
    };
    if let Err(fault) = world.call(operation, input).await {
        assert!(fault.status < 500, "{operation}: {fault}");
    }
}

async fn holds(store: bool, played: Vec<Move>) {
    let mut world = World::new().await;
    world.transfers.configure(store);
    let key = world.keys.make("alias/orders");
    world.keys.make("alias/other");
    for made in played {
        play(&mut world, &key, made).await;
    }
    // Quiet times.
    for order in ORDERS {
        world.host.fail(order, false);
    }
    for order in TRANSFERS {
        world.transfers.fail(order, false);
    }
    world.host.broken(false);
    world.rds.check_all_keys().await;
    world.settle().await;
    world.rds.check_all_keys().await;
    world.settle().await;
    let clusters = world.ok("DescribeDBClusters", json!({})).await;
    let mut serving = 0;
    for cluster in clusters["DBClusters"].as_array().unwrap() {
        let status = cluster["Status"].as_str().unwrap();
        let rests = ["available", "stopped"].contains(&status)
            || status.starts_with("inaccessible-encryption-credentials");
        assert!(rests, "{cluster}");
        for member in cluster["DBClusterMembers"].as_array().unwrap() {
            let name = member["DBInstanceIdentifier"].as_str().unwrap();
            assert_eq!(world.instance_status(name).await, status, "{cluster}");
            serving += usize::from(status == "available");
        }
    }
    assert_eq!(world.host.open(), serving);
    // Whatever has a grant is there, and nothing is left of what is not.
    let resources: Vec<String> = store::sqlx::query_scalar("SELECT document FROM rds_resources")
        .fetch_all(world.store.read())
        .await
        .unwrap();
    for (id, grant) in world.keys.grants() {
        assert!(resources.iter().any(|document| document.contains(&id)), "a grant is left behind: {grant:?}");
    }
}

/// `PROPTEST_CASES`, or as many as take a few seconds.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn it_comes_to_rest_at_what_was_asked_for(store: bool, played in prop::collection::vec(moves(), 10..80)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(holds(store, played));
    }
}
