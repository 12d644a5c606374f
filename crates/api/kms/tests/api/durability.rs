//! Nothing is visible before it is durable, and nothing is durable without its record (`design.md` §3).

use std::{fs, path::Path, sync::Arc};

use serde_json::json;

use crate::world::{OWNER, REGION, World, region_of, root, text};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(path, target).unwrap();
        }
    }
}

async fn state(world: &World, key: &str) -> String {
    let told = world.call(&root(OWNER), "DescribeKey", json!({"KeyId": key})).await.unwrap();
    text(&told["KeyMetadata"], "KeyState").to_owned()
}

#[tokio::test]
async fn what_was_answered_is_on_disk() {
    let world = World::new().await;
    let key = world.key().await;
    let input = json!({"KeyId": key, "Plaintext": "eA=="});
    let made = world.call(&root(OWNER), "Encrypt", input).await.unwrap();
    world.call(&root(OWNER), "RotateKeyOnDemand", json!({"KeyId": key})).await.unwrap();
    world.call(&root(OWNER), "DisableKey", json!({"KeyId": key})).await.unwrap();
    // The disk as a crash of the process would leave it: nothing was closed.
    let dir = tempfile::tempdir().unwrap();
    copy(world.dir.path(), dir.path());
    let again = World::at(dir).await;
    assert_eq!(state(&again, &key).await, "Disabled");
    assert!(again.trail.unfinished().await.unwrap().is_empty());
    again.call(&root(OWNER), "EnableKey", json!({"KeyId": key})).await.unwrap();
    let open = json!({"CiphertextBlob": made["CiphertextBlob"]});
    again.call(&root(OWNER), "Decrypt", open).await.unwrap();
}

#[tokio::test]
async fn a_crash_between_the_steps_of_related_keys_leaves_them_whole() {
    let world = World::new().await;
    let there = "eu-west-1";
    let primary = world.key_with(json!({"MultiRegion": true})).await;
    let replica = primary.replace(REGION, there);
    let sealed =
        world.call(&root(OWNER), "Encrypt", json!({"KeyId": primary, "Plaintext": "eA=="})).await.unwrap();
    for (operation, input, between, lead) in [
        (
            "ReplicateKey",
            json!({"KeyId": primary, "ReplicaRegion": there}),
            ["Enabled", "Creating"],
            &primary,
        ),
        ("UpdatePrimaryRegion", json!({"KeyId": primary, "PrimaryRegion": there}), ["Updating"; 2], &replica),
    ] {
        world.call(&root(OWNER), operation, input).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        copy(world.dir.path(), dir.path());
        let again = World::at(dir).await;
        let told = async |key: &str| {
            let told = again.done_in(region_of(key), "DescribeKey", json!({"KeyId": key})).await;
            assert_eq!(text(&told["KeyMetadata"]["MultiRegionConfiguration"]["PrimaryKey"], "Arn"), *lead);
            text(&told["KeyMetadata"], "KeyState").to_owned()
        };
        assert_eq!([told(&primary).await, told(&replica).await], between, "{operation}");
        again.due().await;
        assert_eq!([told(&primary).await, told(&replica).await], ["Enabled"; 2], "{operation}");
        let open = json!({"CiphertextBlob": sealed["CiphertextBlob"]});
        assert_eq!(again.done_in(there, "Decrypt", open).await["Plaintext"], "eA==");
        assert!(again.trail.unfinished().await.unwrap().is_empty());
        world.due().await;
    }
}

#[tokio::test]
async fn without_a_trail_nothing_is_changed_and_nothing_is_answered() {
    let world = World::new().await;
    let key = world.key().await;
    let mut changes = world.kms.changes();
    world.trail.close().await;
    let told = world.call(&root(OWNER), "DisableKey", json!({"KeyId": key})).await.unwrap_err();
    assert_eq!(told.status, 500);
    let told =
        world.call(&root(OWNER), "Encrypt", json!({"KeyId": key, "Plaintext": "eA=="})).await.unwrap_err();
    assert_eq!(told.status, 500, "no use without a record");
    assert_eq!(told.code, "KMSInternalException");
    assert!(changes.try_recv().is_err());
    world.pass(1000);
    let world = world.restarted().await;
    assert_eq!(state(&world, &key).await, "Enabled");
}

#[tokio::test]
async fn without_a_store_nothing_becomes_visible_and_the_record_says_so() {
    let world = World::new().await;
    let key = world.key().await;
    let mut changes = world.kms.changes();
    world.store.close().await;
    let told = world.call(&root(OWNER), "DisableKey", json!({"KeyId": key})).await.unwrap_err();
    assert_eq!(told.status, 500);
    assert_eq!(world.last_record(OWNER).await.error_code.as_deref(), Some("KMSInternalException"));
    assert_eq!(state(&world, &key).await, "Enabled");
    assert!(changes.try_recv().is_err());
}

#[tokio::test]
async fn calls_at_once_leave_one_grant_for_one_name_and_one_key_for_rds() {
    let world = Arc::new(World::new().await);
    let key = world.key().await;
    let calls: Vec<_> = (0..16)
        .map(|_| {
            let (world, key) = (Arc::clone(&world), key.clone());
            tokio::spawn(async move {
                let root = root(OWNER);
                let input = json!({
                    "KeyId": key, "GranteePrincipal": root.arn(), "Operations": ["Encrypt"], "Name": "once",
                });
                let made = world.call(&root, "CreateGrant", input).await.unwrap();
                let rds = world.call(&root, "DescribeKey", json!({"KeyId": "alias/aws/rds"})).await.unwrap();
                (text(&made, "GrantId").to_owned(), text(&rds["KeyMetadata"], "Arn").to_owned())
            })
        })
        .collect();
    let mut seen = std::collections::BTreeSet::new();
    for call in calls {
        seen.insert(call.await.unwrap());
    }
    assert_eq!(seen.len(), 1);
    let listed = world.call(&root(OWNER), "ListGrants", json!({"KeyId": key})).await.unwrap();
    assert_eq!(listed["Grants"].as_array().unwrap().len(), 1);
}
