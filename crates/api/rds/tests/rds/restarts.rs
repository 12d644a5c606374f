//! The server dies at every moment of a cluster's life, and whoever comes after brings it to the same end.

use serde_json::{Value, json};

use crate::world::{World, cluster, instance};

/// Makes a call until it was heard: a server that dies in it is asked again, as a client would.
async fn call(world: &mut World, operation: &str, input: Value) {
    for _ in 0..3 {
        let death = world.death.clone();
        match death.or(world.call(operation, input.clone())).await {
            Some(Ok(_)) => return,
            Some(Err(fault)) => {
                // It had been heard, although the answer was lost.
                let heard = [
                    "AlreadyExists",
                    "already being deleted",
                    "state but expected",
                    "not found",
                    "in deleting",
                ];
                let text = fault.to_string();
                assert!(heard.iter().any(|words| text.contains(words)), "{operation}: {text}");
                return;
            }
            None => world.restart().await,
        }
    }
    panic!("{operation} is never heard");
}

async fn settle(world: &mut World) {
    let death = world.death.clone();
    while death.or(world.settle()).await.is_none() {
        world.restart().await;
    }
}

/// From creation to deletion; true if the server died on the way.
async fn live(moment: u32) -> bool {
    let mut world = World::new().await;
    let key = world.keys.make("alias/orders");
    world.death.after(moment);
    call(&mut world, "CreateDBCluster", cluster("orders", Some(&key))).await;
    call(&mut world, "CreateDBInstance", instance("orders", "orders-1")).await;
    settle(&mut world).await;
    world.host.write("a row");
    call(&mut world, "RebootDBInstance", json!({"DBInstanceIdentifier": "orders-1"})).await;
    settle(&mut world).await;
    call(&mut world, "StopDBCluster", json!({"DBClusterIdentifier": "orders"})).await;
    settle(&mut world).await;
    call(&mut world, "StartDBCluster", json!({"DBClusterIdentifier": "orders"})).await;
    settle(&mut world).await;
    let taken = json!({"DBClusterIdentifier": "orders", "DBClusterSnapshotIdentifier": "s"});
    call(&mut world, "CreateDBClusterSnapshot", taken).await;
    settle(&mut world).await;
    let restore =
        json!({"SnapshotIdentifier": "s", "DBClusterIdentifier": "copy", "Engine": "aurora-postgresql"});
    call(&mut world, "RestoreDBClusterFromSnapshot", restore).await;
    call(&mut world, "CreateDBInstance", instance("copy", "copy-1")).await;
    settle(&mut world).await;
    for name in ["orders", "copy"] {
        assert_eq!(world.status(name).await, "available", "moment {moment}");
        assert_eq!(world.instance_status(&format!("{name}-1")).await, "available", "moment {moment}");
    }
    assert_eq!(world.host.rows(), [["a row"], ["a row"]], "moment {moment}");
    world.keys.enable(&key, false);
    let death = world.death.clone();
    if death.or(world.rds.key_changed(&key)).await.is_none() {
        world.restart().await;
        // What a new server does as soon as it runs: a loss may be recorded already, and not acted on.
        world.rds.check_all_keys().await;
        world.step().await;
    }
    assert_eq!(world.host.open(), 0, "moment {moment}");
    settle(&mut world).await;
    world.keys.enable(&key, true);
    for name in ["orders", "copy"] {
        call(&mut world, "StartDBCluster", json!({"DBClusterIdentifier": name})).await;
    }
    settle(&mut world).await;
    assert_eq!(world.host.open(), 2, "moment {moment}");
    for name in ["orders", "copy"] {
        call(&mut world, "DeleteDBInstance", json!({"DBInstanceIdentifier": format!("{name}-1")})).await;
        let delete = json!({"DBClusterIdentifier": name, "SkipFinalSnapshot": true});
        call(&mut world, "DeleteDBCluster", delete).await;
    }
    call(&mut world, "DeleteDBClusterSnapshot", json!({"DBClusterSnapshotIdentifier": "s"})).await;
    settle(&mut world).await;
    assert!(world.known().await.is_empty(), "moment {moment}");
    assert_eq!(
        (world.host.volumes(), world.host.snapshots(), world.host.ruins()),
        (0, 0, 0),
        "moment {moment}"
    );
    assert!(world.host.processes().is_empty(), "moment {moment}");
    world.death.cancel()
}

#[tokio::test]
async fn a_server_that_dies_at_any_moment_leaves_nothing_undone() {
    // Of several hundred moments: all while the cluster is made, every eleventh of the rest.
    let moments = (0..40).chain((40..).step_by(11));
    for moment in moments {
        if !live(moment).await {
            assert!(moment > 400, "the life of a cluster is longer than {moment} moments");
            return;
        }
    }
}

#[tokio::test]
async fn a_new_server_adopts_what_runs_and_ends_what_nobody_knows() {
    let mut world = World::new().await;
    world.running("orders", None).await;
    let opens = world.host.processes();
    world.host.stray("db-STRAY");
    world.restart().await;
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(world.rds.clone().run(stopping));
    while world.host.processes() != opens {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.status("orders").await, "available");
    stop.send_replace(true);
    running.await.unwrap();
    assert_eq!(world.host.open(), 1, "it goes on running when the server ends");
}
