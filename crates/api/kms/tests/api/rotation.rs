//! Rotation: on a schedule and on demand, with every old material kept.

use std::time::Duration;

use ids::Clock as _;
use serde_json::{Value, json};

use crate::world::{OWNER, World, account, code, expect, refusal, region, root, text};

const DAY: f64 = 86_400.0;
const START: f64 = 1_767_607_872.191;

async fn status(world: &World, key: &str) -> Value {
    world.call(&root(OWNER), "GetKeyRotationStatus", json!({"KeyId": key})).await.unwrap()
}

async fn work(world: &World) {
    api_kms::run_due(&world.kms, world.clock.now()).await.unwrap();
}

#[tokio::test]
async fn the_schedule_is_told_and_its_bounds_are_held() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = world.key().await;
    assert_eq!(status(&world, &key).await, json!({"KeyId": key, "KeyRotationEnabled": false}));
    for days in [89, 2561] {
        let input = json!({"KeyId": key, "RotationPeriodInDays": days});
        assert_eq!(
            code(world.call(&root, "EnableKeyRotation", input).await),
            "ValidationException",
            "{days}"
        );
    }
    world.call(&root, "EnableKeyRotation", json!({"KeyId": key})).await.unwrap();
    let on = |period: u32| {
        json!({"KeyId": key, "KeyRotationEnabled": true, "RotationPeriodInDays": period,
               "NextRotationDate": START + f64::from(period) * DAY})
    };
    assert_eq!(status(&world, &key).await, on(365));
    let input = json!({"KeyId": key, "RotationPeriodInDays": 90});
    world.call(&root, "EnableKeyRotation", input).await.unwrap();
    assert_eq!(status(&world, &key).await, on(90));
    world.call(&root, "ScheduleKeyDeletion", json!({"KeyId": key})).await.unwrap();
    assert_eq!(status(&world, &key).await["KeyRotationEnabled"], false, "not while deletion is pending");
    world.call(&root, "CancelKeyDeletion", json!({"KeyId": key})).await.unwrap();
    assert_eq!(status(&world, &key).await, on(90), "restored");
    world.call(&root, "EnableKey", json!({"KeyId": key})).await.unwrap();
    world.call(&root, "DisableKeyRotation", json!({"KeyId": key})).await.unwrap();
    assert_eq!(status(&world, &key).await, json!({"KeyId": key, "KeyRotationEnabled": false}));
}

#[tokio::test]
async fn a_due_rotation_happens_once_and_old_ciphertexts_still_open() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = world.key().await;
    let encrypt = || world.call(&root, "GenerateDataKey", json!({"KeyId": key, "KeySpec": "AES_256"}));
    let before = encrypt().await.unwrap();
    let input = json!({"KeyId": key, "RotationPeriodInDays": 90});
    world.call(&root, "EnableKeyRotation", input).await.unwrap();
    world.pass(89);
    work(&world).await;
    assert_eq!(encrypt().await.unwrap()["KeyMaterialId"], before["KeyMaterialId"], "not due");
    world.pass(1);
    work(&world).await;
    work(&world).await;
    let after = encrypt().await.unwrap();
    assert_ne!(after["KeyMaterialId"], before["KeyMaterialId"]);
    let world = world.restarted().await;
    for made in [&before, &after] {
        let opened =
            world.call(&root, "Decrypt", json!({"CiphertextBlob": made["CiphertextBlob"]})).await.unwrap();
        assert_eq!(
            (&opened["Plaintext"], &opened["KeyMaterialId"]),
            (&made["Plaintext"], &made["KeyMaterialId"])
        );
    }
    let rotation = json!({
        "KeyId": key.rsplit('/').next().unwrap(), "KeyMaterialId": after["KeyMaterialId"],
        "KeyMaterialState": "CURRENT", "RotationDate": START + 90.0 * DAY, "RotationType": "AUTOMATIC",
    });
    let listed = world.call(&root, "ListKeyRotations", json!({"KeyId": key})).await.unwrap();
    assert_eq!(listed, json!({"Rotations": [rotation], "Truncated": false}));
    let all = json!({"KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"});
    let all = world.call(&root, "ListKeyRotations", all).await.unwrap();
    assert_eq!(all["Rotations"][0]["KeyMaterialState"], "NON_CURRENT");
    assert!(all["Rotations"][0].get("RotationDate").is_none(), "no rotation made the first material");
    assert_eq!(all["Rotations"][1], rotation);
    assert_eq!(status(&world, &key).await["NextRotationDate"], START + 180.0 * DAY);
    let record =
        world.records(OWNER).await.into_iter().find(|record| record.event_name == "RotateKey").unwrap();
    let details = record.service_event_details.unwrap();
    assert_eq!(details["rotationType"], "AUTOMATIC");
    assert_eq!(details["previousKeyMaterialId"], before["KeyMaterialId"]);
    assert_eq!(details["currentKeyMaterialId"], after["KeyMaterialId"]);
}

#[tokio::test]
async fn an_overdue_rotation_waits_for_the_key_to_be_enabled() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = world.key().await;
    world.call(&root, "EnableKeyRotation", json!({"KeyId": key})).await.unwrap();
    world.call(&root, "DisableKey", json!({"KeyId": key})).await.unwrap();
    world.pass(400);
    work(&world).await;
    let count = || async {
        let listed = world.call(&root, "ListKeyRotations", json!({"KeyId": key})).await.unwrap();
        listed["Rotations"].as_array().unwrap().len()
    };
    assert_eq!(count().await, 0);
    assert_eq!(status(&world, &key).await["KeyRotationEnabled"], true, "the status stays");
    world.call(&root, "EnableKey", json!({"KeyId": key})).await.unwrap();
    work(&world).await;
    assert_eq!(count().await, 1);
}

#[tokio::test]
async fn a_rotation_on_demand_changes_new_data_only_and_not_the_schedule() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = world.key().await;
    world.call(&root, "EnableKeyRotation", json!({"KeyId": key})).await.unwrap();
    let schedule = status(&world, &key).await;
    let before = world.call(&root, "Encrypt", json!({"KeyId": key, "Plaintext": "eA=="})).await.unwrap();
    let rotated = world.call(&root, "RotateKeyOnDemand", json!({"KeyId": key})).await.unwrap();
    assert_eq!(rotated, json!({"KeyId": key}));
    assert_eq!(status(&world, &key).await, schedule);
    let opened = json!({"CiphertextBlob": before["CiphertextBlob"]});
    let opened = world.call(&root, "Decrypt", opened).await.unwrap();
    let told = world.call(&root, "DescribeKey", json!({"KeyId": key})).await.unwrap();
    assert_ne!(opened["KeyMaterialId"], told["KeyMetadata"]["CurrentKeyMaterialId"]);
    let listed = world.call(&root, "ListKeyRotations", json!({"KeyId": key})).await.unwrap();
    assert_eq!(text(&listed["Rotations"][0], "RotationType"), "ON_DEMAND");
    let names: Vec<_> = world.records(OWNER).await.into_iter().map(|record| record.event_name).collect();
    assert!(names.contains(&"RotateKeyOnDemand".into()) && names.contains(&"RotateKey".into()), "{names:?}");
    assert!(world.trail.unfinished().await.unwrap().is_empty());
}

#[tokio::test]
async fn on_demand_ends_at_the_limit_and_not_beside_an_automatic_rotation() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = world.key().await;
    let rotate = || world.call(&root, "RotateKeyOnDemand", json!({"KeyId": key}));
    for _ in 0..25 {
        rotate().await.unwrap();
    }
    let text = format!(
        "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be \
         performed for this key: {key}"
    );
    assert_eq!(refusal(rotate().await), expect("LimitExceededException", text));
    let page = json!({"KeyId": key, "Limit": 20});
    let first = world.call(&root, "ListKeyRotations", page).await.unwrap();
    let rest = json!({"KeyId": key, "Limit": 20, "Marker": first["NextMarker"]});
    let rest = world.call(&root, "ListKeyRotations", rest).await.unwrap();
    assert_eq!((first["Truncated"].clone(), rest["Rotations"].as_array().unwrap().len()), (json!(true), 5));

    let other = world.key().await;
    world.call(&root, "EnableKeyRotation", json!({"KeyId": other})).await.unwrap();
    world.pass(365);
    world.clock_back(Duration::from_secs(19 * 60));
    let near = world.call(&root, "RotateKeyOnDemand", json!({"KeyId": other})).await;
    assert_eq!(code(near), "ConflictException");
    world.clock_back(Duration::from_secs(2 * 60));
    world.call(&root, "RotateKeyOnDemand", json!({"KeyId": other})).await.unwrap();
}

#[tokio::test]
async fn the_managed_key_is_rotated_every_year_by_itself() {
    let world = World::new().await;
    let key = world.kms.ensure_managed(&account(OWNER), &region()).await.unwrap().to_string();
    world.pass(364);
    work(&world).await;
    let rotations = || async {
        let names = world.records(OWNER).await.into_iter().map(|record| record.event_name);
        names.filter(|name| name == "RotateKey").count()
    };
    assert_eq!(rotations().await, 0);
    world.pass(1);
    work(&world).await;
    assert_eq!(rotations().await, 1);
    let schedule = status_of_managed(&world, &key).await;
    assert_eq!(
        (&schedule["KeyRotationEnabled"], &schedule["RotationPeriodInDays"]),
        (&json!(true), &json!(365))
    );
    assert_eq!(schedule["NextRotationDate"], START + 730.0 * DAY);
}

async fn status_of_managed(world: &World, key: &str) -> Value {
    let admin = world.admin();
    world.call(&admin, "GetKeyRotationStatus", json!({"KeyId": key})).await.unwrap()
}
