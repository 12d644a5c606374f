//! Primary keys and their replicas over time: who leads, what follows, who goes when, and what the trail says.

use api_kms::Quotas;
use serde_json::{Value, json};

use crate::{
    imports::{import, material_for},
    world::{OWNER, REGION, World, allow, code, expect, key_policy, refusal, region_of, root, text, user},
};

const THERE: &str = "eu-west-1";

async fn described(world: &World, key: &str) -> Value {
    world.done_in(region_of(key), "DescribeKey", json!({"KeyId": key})).await["KeyMetadata"].clone()
}

async fn state(world: &World, key: &str) -> String {
    text(&described(world, key).await, "KeyState").to_owned()
}

/// A primary key here and its replica there.
async fn both(world: &World, input: Value) -> (String, String) {
    let mut input = input;
    input["MultiRegion"] = json!(true);
    let primary = world.key_with(input).await;
    let replica = world.replica(&primary, THERE).await;
    (primary, replica)
}

async fn names(world: &World, region: &str) -> Vec<String> {
    world.records_in(OWNER, region).await.into_iter().map(|record| record.event_name).collect()
}

#[tokio::test]
async fn rotation_happens_on_the_primary_and_for_all() {
    let world = World::new().await;
    let (primary, replica) = both(&world, json!({})).await;
    let not =
        expect("UnsupportedOperationException", format!("{replica} is not a multi-region primary key."));
    for operation in ["EnableKeyRotation", "DisableKeyRotation", "RotateKeyOnDemand"] {
        let refused = world.call_in(THERE, &root(OWNER), operation, json!({"KeyId": replica})).await;
        assert_eq!(refusal(refused), not, "{operation}");
    }
    let status = async |key: &str| {
        let mut told = world.done_in(region_of(key), "GetKeyRotationStatus", json!({"KeyId": key})).await;
        assert_eq!(told["KeyId"], key);
        told.as_object_mut().unwrap().remove("KeyId");
        told
    };
    let on = json!({"KeyId": primary, "RotationPeriodInDays": 100});
    world.done_in(REGION, "EnableKeyRotation", on).await;
    assert_eq!(status(&primary).await, status(&replica).await);
    assert_eq!(status(&replica).await["RotationPeriodInDays"], 100);
    let seal = async |key: &str| {
        world.done_in(region_of(key), "Encrypt", json!({"KeyId": key, "Plaintext": "eA=="})).await
    };
    let before = seal(&replica).await;
    world.done_in(REGION, "RotateKeyOnDemand", json!({"KeyId": primary})).await;
    world.pass(100);
    world.due().await;
    let history = async |key: &str| {
        let input = json!({"KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"});
        world.done_in(region_of(key), "ListKeyRotations", input).await
    };
    let told = history(&primary).await;
    assert_eq!(told["Rotations"].as_array().unwrap().len(), 3);
    assert_eq!(told, history(&replica).await);
    let world = world.restarted().await;
    assert_eq!(
        described(&world, &primary).await["CurrentKeyMaterialId"],
        described(&world, &replica).await["CurrentKeyMaterialId"]
    );
    let after = world.done_in(THERE, "Encrypt", json!({"KeyId": replica, "Plaintext": "eA=="})).await;
    for sealed in [before, after] {
        let opened =
            world.done_in(REGION, "Decrypt", json!({"CiphertextBlob": sealed["CiphertextBlob"]})).await;
        assert_eq!(opened["Plaintext"], "eA==");
    }
    // A replica made afterwards has every material.
    let third = world.replica(&primary, "ap-south-1").await;
    let input = json!({"KeyId": third, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"});
    assert_eq!(told, world.done_in("ap-south-1", "ListKeyRotations", input).await);
}

#[tokio::test]
async fn primary_and_replica_change_places_while_both_are_used() {
    let world = World::new().await;
    let (old, new) = both(&world, json!({})).await;
    world.done_in(REGION, "EnableKeyRotation", json!({"KeyId": old})).await;
    world.done_in(REGION, "UpdatePrimaryRegion", json!({"KeyId": old, "PrimaryRegion": THERE})).await;
    for key in [&old, &new] {
        let told = described(&world, key).await;
        assert_eq!((text(&told, "KeyState"), &told["Enabled"]), ("Updating", &json!(false)));
        assert_eq!(told["MultiRegionConfiguration"]["PrimaryKey"]["Arn"], *new);
        world.done_in(region_of(key), "Encrypt", json!({"KeyId": key, "Plaintext": "eA=="})).await;
        let refused = world.call_in(region_of(key), &root(OWNER), "DisableKey", json!({"KeyId": key})).await;
        assert_eq!(refusal(refused), expect("KMSInvalidStateException", format!("{key} is updating.")));
    }
    let again = json!({"KeyId": new, "ReplicaRegion": "ap-south-1"});
    let refused = world.call_in(THERE, &root(OWNER), "ReplicateKey", again.clone()).await;
    assert_eq!(refusal(refused), expect("KMSInvalidStateException", format!("{new} is updating.")));
    // A crash here, and the next start ends it.
    let world = world.restarted().await;
    world.due().await;
    assert_eq!((state(&world, &old).await, state(&world, &new).await), ("Enabled".into(), "Enabled".into()));
    world.done_in(THERE, "ReplicateKey", again).await;
    world.due().await;
    world.pass(365);
    world.due().await;
    let listed = world.done_in(REGION, "ListKeyRotations", json!({"KeyId": old})).await;
    assert_eq!(listed["Rotations"].as_array().unwrap().len(), 1, "by the new primary");
    let refused = world.call(&root(OWNER), "EnableKeyRotation", json!({"KeyId": old})).await;
    assert_eq!(code(refused), "UnsupportedOperationException");
    world.done_in(THERE, "UpdatePrimaryRegion", json!({"KeyId": new, "PrimaryRegion": REGION})).await;
    world.due().await;
    world.done_in(REGION, "DisableKeyRotation", json!({"KeyId": old})).await;
    world.done_in(THERE, "DisableKey", json!({"KeyId": new})).await;
    let refused = json!({"KeyId": old, "PrimaryRegion": THERE});
    let refused = world.call(&root(OWNER), "UpdatePrimaryRegion", refused).await;
    assert_eq!(refusal(refused), expect("DisabledException", format!("{new} is disabled.")));
    assert_eq!(state(&world, &old).await, "Enabled", "all or nothing");
}

#[tokio::test]
async fn a_primary_is_deleted_after_the_last_of_its_replicas() {
    let world = World::new().await;
    let (primary, replica) = both(&world, json!({})).await;
    let schedule = json!({"KeyId": primary, "PendingWindowInDays": 7});
    let told = world.done_in(REGION, "ScheduleKeyDeletion", schedule.clone()).await;
    let pending = json!({"KeyId": primary, "KeyState": "PendingReplicaDeletion", "PendingWindowInDays": 7});
    assert_eq!(told, pending, "no date yet");
    let told = described(&world, &primary).await;
    assert_eq!(told["PendingDeletionWindowInDays"], 7);
    assert!(told.get("DeletionDate").is_none());
    let refused = world.call(&root(OWNER), "Encrypt", json!({"KeyId": primary, "Plaintext": "eA=="})).await;
    let text = format!("{primary} is pending replica deletion.");
    assert_eq!(refusal(refused), expect("KMSInvalidStateException", text));
    world.done_in(THERE, "Encrypt", json!({"KeyId": replica, "Plaintext": "eA=="})).await;
    world.done_in(REGION, "CancelKeyDeletion", json!({"KeyId": primary})).await;
    let told = described(&world, &primary).await;
    assert_eq!((&told["KeyState"], told.get("PendingDeletionWindowInDays")), (&json!("Disabled"), None));

    world.done_in(REGION, "ScheduleKeyDeletion", schedule).await;
    world.done_in(THERE, "ScheduleKeyDeletion", json!({"KeyId": replica})).await;
    world.pass(29);
    world.due().await;
    assert_eq!(state(&world, &primary).await, "PendingReplicaDeletion");
    world.pass(1);
    world.due().await;
    let refused = world.call_in(THERE, &root(OWNER), "DescribeKey", json!({"KeyId": replica})).await;
    assert_eq!(code(refused), "NotFoundException");
    let told = described(&world, &primary).await;
    assert_eq!(
        (&told["KeyState"], told.get("PendingDeletionWindowInDays")),
        (&json!("PendingDeletion"), None)
    );
    assert!(told["DeletionDate"].is_number());
    assert_eq!(told["MultiRegionConfiguration"]["ReplicaKeys"], json!([]));
    let world = world.restarted().await;
    world.pass(7);
    world.due().await;
    assert_eq!(
        code(world.call(&root(OWNER), "DescribeKey", json!({"KeyId": primary})).await),
        "NotFoundException"
    );
}

#[tokio::test]
async fn imported_material_comes_to_each_key_by_itself() {
    let world = World::new().await;
    let primary = world.key_with(json!({"MultiRegion": true, "Origin": "EXTERNAL"})).await;
    let to = json!({"KeyId": primary, "ReplicaRegion": THERE});
    let refused = refusal(world.call(&root(OWNER), "ReplicateKey", to).await);
    assert_eq!(refused, expect("KMSInvalidStateException", format!("{primary} is pending import.")));
    let (first, second) = (material_for("SYMMETRIC_DEFAULT"), material_for("SYMMETRIC_DEFAULT"));
    let made = import(&world, &primary, &first, json!({})).await.unwrap();
    let replica = world.replica(&primary, THERE).await;
    assert_eq!(state(&world, &replica).await, "PendingImport");
    assert_eq!(code(import(&world, &replica, &second, json!({})).await), "IncorrectKeyMaterialException");
    let new = json!({"ImportType": "NEW_KEY_MATERIAL"});
    let not =
        expect("UnsupportedOperationException", format!("{replica} is not a multi-region primary key."));
    assert_eq!(refusal(import(&world, &replica, &second, new.clone()).await), not);
    let same = import(&world, &replica, &first, json!({})).await.unwrap();
    assert_eq!(same["KeyMaterialId"], made["KeyMaterialId"]);
    let sealed = world.done_in(REGION, "Encrypt", json!({"KeyId": primary, "Plaintext": "eA=="})).await;
    let open = json!({"CiphertextBlob": sealed["CiphertextBlob"]});
    world.done_in(THERE, "Decrypt", open.clone()).await;

    let waiting = async |key: &str| {
        let input = json!({"KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"});
        let told = world.done_in(region_of(key), "ListKeyRotations", input).await;
        let last = told["Rotations"].as_array().unwrap().last().unwrap().clone();
        (text(&last, "KeyMaterialState").to_owned(), text(&last, "ImportState").to_owned())
    };
    let pair = |state: &str, import: &str| (state.to_owned(), import.to_owned());
    import(&world, &primary, &second, new).await.unwrap();
    let state_before = "PENDING_MULTI_REGION_IMPORT_AND_ROTATION";
    assert_eq!(waiting(&primary).await, pair(state_before, "IMPORTED"));
    assert_eq!(waiting(&replica).await, pair(state_before, "PENDING_IMPORT"));
    let none = format!("No available key material pending rotation for the key: {primary}.");
    let refused = world.call(&root(OWNER), "RotateKeyOnDemand", json!({"KeyId": primary})).await;
    assert_eq!(refusal(refused), expect("KMSInvalidStateException", none));
    import(&world, &replica, &second, json!({})).await.unwrap();
    assert_eq!(waiting(&replica).await, pair("PENDING_ROTATION", "IMPORTED"));
    let world = world.restarted().await;
    world.done_in(REGION, "RotateKeyOnDemand", json!({"KeyId": primary})).await;
    let now = world.done_in(THERE, "Encrypt", json!({"KeyId": replica, "Plaintext": "eA=="})).await;
    world.done_in(REGION, "Decrypt", json!({"CiphertextBlob": now["CiphertextBlob"]})).await;
    world.done_in(THERE, "Decrypt", open).await;

    world.done_in(THERE, "DeleteImportedKeyMaterial", json!({"KeyId": replica})).await;
    assert_eq!(
        (state(&world, &primary).await, state(&world, &replica).await),
        ("Enabled".into(), "PendingImport".into())
    );
    import(&world, &replica, &second, json!({})).await.unwrap();
    assert_eq!(state(&world, &replica).await, "Enabled");
    // What waits and goes from the primary goes from its replicas.
    let third = material_for("SYMMETRIC_DEFAULT");
    let waits = import(&world, &primary, &third, json!({"ImportType": "NEW_KEY_MATERIAL"})).await.unwrap();
    import(&world, &replica, &third, json!({})).await.unwrap();
    let gone = json!({"KeyId": primary, "KeyMaterialId": waits["KeyMaterialId"]});
    world.done_in(REGION, "DeleteImportedKeyMaterial", gone).await;
    let world = world.restarted().await;
    let input = json!({"KeyId": replica, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"});
    let told = world.done_in(THERE, "ListKeyRotations", input).await;
    assert_eq!(told["Rotations"].as_array().unwrap().len(), 2);
    assert_eq!(code(import(&world, &replica, &third, json!({})).await), "IncorrectKeyMaterialException");
}

#[tokio::test]
async fn who_may_replicate_and_move_is_decided_in_both_regions() {
    let world = World::new().await;
    let dba = user("dba");
    let primary = world.key_with(json!({"MultiRegion": true})).await;
    let input = |region: &str| json!({"KeyId": primary, "ReplicaRegion": region, "Tags": [{"TagKey": "a", "TagValue": "b"}]});
    let when = |actions: Value, condition: Value| {
        let mut policy = allow(actions, "*");
        policy["Statement"][0]["Condition"] = condition;
        policy
    };
    let replicate =
        when(json!("kms:ReplicateKey"), json!({"StringEquals": {"kms:ReplicaRegion": [THERE, "sa-east-1"]}}));
    let there = json!({"StringEquals": {
        "aws:RequestedRegion": THERE, "kms:MultiRegion": "true", "kms:MultiRegionKeyType": "REPLICA",
    }});
    let create = when(json!("kms:CreateKey"), there);
    let tag = when(json!("kms:TagResource"), json!({"StringEquals": {"aws:RequestTag/a": "b"}}));
    for (policies, missing) in [
        (vec![create.clone(), tag.clone()], "kms:ReplicateKey"),
        (vec![replicate.clone(), tag.clone()], "kms:CreateKey"),
        (vec![replicate.clone(), create.clone()], "kms:TagResource"),
    ] {
        world.give(&dba, &policies);
        let refused = refusal(world.call(&dba, "ReplicateKey", input(THERE)).await);
        assert_eq!(refused.0, "AccessDeniedException");
        assert!(refused.1.contains(&format!("perform: {missing} ")), "{}", refused.1);
    }
    world.give(&dba, &[replicate, create, tag]);
    for region in ["sa-east-1", "ap-south-1"] {
        assert_eq!(code(world.call(&dba, "ReplicateKey", input(region)).await), "AccessDeniedException");
    }
    let made = world.call(&dba, "ReplicateKey", input(THERE)).await.unwrap();
    assert_eq!(made["ReplicaTags"], json!([{"TagKey": "a", "TagValue": "b"}]));
    world.due().await;

    let replica = primary.replace(REGION, THERE);
    let move_there = json!({"KeyId": primary, "PrimaryRegion": THERE});
    let moves =
        |kind: &str| json!({"StringEquals": {"kms:PrimaryRegion": THERE, "kms:MultiRegionKeyType": kind}});
    for kind in ["PRIMARY", "REPLICA"] {
        world.give(&dba, &[when(json!("kms:UpdatePrimaryRegion"), moves(kind))]);
        let refused = refusal(world.call(&dba, "UpdatePrimaryRegion", move_there.clone()).await);
        let other = if kind == "PRIMARY" { &replica } else { &primary };
        assert!(refused.0 == "AccessDeniedException" && refused.1.contains(other), "{refused:?}");
    }
    let both = ["PRIMARY", "REPLICA"].map(|kind| when(json!("kms:UpdatePrimaryRegion"), moves(kind)));
    world.give(&dba, &both);
    world.call(&dba, "UpdatePrimaryRegion", move_there).await.unwrap();
    let only_single = when(json!("kms:CreateKey"), json!({"Bool": {"kms:MultiRegion": "false"}}));
    world.give(&dba, &[only_single]);
    world.call(&dba, "CreateKey", json!({})).await.unwrap();
    assert_eq!(
        code(world.call(&dba, "CreateKey", json!({"MultiRegion": true})).await),
        "AccessDeniedException"
    );
}

#[tokio::test]
async fn a_replica_has_a_policy_that_its_maker_can_change_unless_he_says_otherwise() {
    let world = World::new().await;
    let primary = world.key_with(json!({"MultiRegion": true})).await;
    let locked = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": root(OWNER).arn()}, "Action": "kms:Describe*", "Resource": "*",
    }]});
    let mut input = json!({"KeyId": primary, "ReplicaRegion": THERE, "Policy": locked.to_string()});
    let refused = refusal(world.call(&root(OWNER), "ReplicateKey", input.clone()).await);
    assert_eq!(refused.0, "MalformedPolicyDocumentException");
    assert!(refused.1.starts_with("The new key policy will not allow you"), "{}", refused.1);
    let gone = world
        .call_in(THERE, &root(OWNER), "DescribeKey", json!({"KeyId": primary.replace(REGION, THERE)}))
        .await;
    assert_eq!(code(gone), "NotFoundException");
    input["BypassPolicyLockoutSafetyCheck"] = json!(true);
    let made = world.done_in(REGION, "ReplicateKey", input).await;
    assert_eq!(text(&made, "ReplicaPolicy"), locked.to_string());
    // The policy may speak of the region of the replica.
    let there = json!([{
        "Effect": "Deny", "Principal": "*", "Action": "kms:PutKeyPolicy", "Resource": "*",
        "Condition": {"StringNotEquals": {"aws:RequestedRegion": "ap-south-1"}},
    }]);
    let input = json!({"KeyId": primary, "ReplicaRegion": "ap-south-1", "Policy": key_policy(there)});
    world.done_in(REGION, "ReplicateKey", input).await;
}

#[tokio::test]
async fn replicas_count_in_their_region() {
    let world = World::with_quotas(Quotas { keys: 2, ..Quotas::default() }).await;
    let primary = world.key_with(json!({"MultiRegion": true})).await;
    for _ in 0..2 {
        world.done_in(THERE, "CreateKey", json!({})).await;
    }
    let input = |region: &str| json!({"KeyId": primary, "ReplicaRegion": region});
    assert_eq!(code(world.call(&root(OWNER), "ReplicateKey", input(THERE)).await), "LimitExceededException");
    world.done_in(REGION, "ReplicateKey", input("ap-south-1")).await;
    world.done_in("ap-south-1", "CreateKey", json!({})).await;
    assert_eq!(
        code(world.call_in("ap-south-1", &root(OWNER), "CreateKey", json!({})).await),
        "LimitExceededException"
    );
}

#[tokio::test]
async fn the_trail_of_each_region_says_what_happened_there() {
    let world = World::new().await;
    let primary = world.key_with(json!({"MultiRegion": true})).await;
    let replica = primary.replace(REGION, THERE);
    let input = json!({"KeyId": primary, "ReplicaRegion": THERE, "Description": "d"});
    world.done_in(REGION, "ReplicateKey", input).await;
    let record = world.last_record(OWNER).await;
    assert_eq!((record.event_name.as_str(), record.aws_region.as_str()), ("ReplicateKey", REGION));
    assert_eq!(record.request_parameters.unwrap()["replicaRegion"], THERE);
    assert_eq!(record.response_elements.unwrap()["replicaKeyMetadata"]["keyState"], "Creating");
    assert_eq!(record.resources.iter().map(|r| r.arn.as_str()).collect::<Vec<_>>(), [&primary]);
    let mut there = world.records_in(OWNER, THERE).await;
    let made = there.pop().unwrap();
    assert_eq!((made.event_name.as_str(), made.aws_region.as_str(), there.len()), ("CreateKey", THERE, 0));
    assert_eq!(made.user_identity.kind.as_deref(), Some("Root"));
    assert_eq!(made.resources.iter().map(|r| r.arn.as_str()).collect::<Vec<_>>(), [&replica]);
    assert_eq!(made.request_parameters.unwrap()["description"], "d");
    assert_eq!(made.response_elements.unwrap()["keyMetadata"]["arn"], json!(replica));
    world.due().await;
    let last = world.last_record(OWNER).await;
    assert_eq!(last.event_name, "SynchronizeMultiRegionKey");
    assert_eq!(last.resources.iter().map(|r| r.arn.as_str()).collect::<Vec<_>>(), [&primary]);
    assert!(last.user_identity.invoked_by.is_some() && last.request_parameters.is_none());
    world.done_in(REGION, "RotateKeyOnDemand", json!({"KeyId": primary})).await;
    let told = names(&world, REGION).await;
    let mut last: Vec<_> = told[told.len() - 3..].to_vec();
    last.sort();
    assert_eq!(last, ["RotateKey", "RotateKeyOnDemand", "SynchronizeMultiRegionKey"]);
    world.done_in(REGION, "UpdatePrimaryRegion", json!({"KeyId": primary, "PrimaryRegion": THERE})).await;
    world.due().await;
    assert!(names(&world, REGION).await.contains(&"UpdatePrimaryRegion".to_owned()));
    assert_eq!(names(&world, THERE).await, ["CreateKey", "UpdatePrimaryRegion", "SynchronizeMultiRegionKey"]);
    // What is refused leaves a record where it was asked for alone.
    let refused = json!({"KeyId": primary, "ReplicaRegion": "ap-south-1"});
    assert_eq!(
        code(world.call(&root(OWNER), "ReplicateKey", refused).await),
        "UnsupportedOperationException"
    );
    assert_eq!(names(&world, "ap-south-1").await, [""; 0]);
    assert!(world.trail.unfinished().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_not_committed_is_in_no_region() {
    let world = World::new().await;
    let (primary, replica) = both(&world, json!({})).await;
    world.store.close().await;
    for (operation, member, region) in
        [("ReplicateKey", "ReplicaRegion", "ap-south-1"), ("UpdatePrimaryRegion", "PrimaryRegion", THERE)]
    {
        let mut input = json!({"KeyId": primary});
        input[member] = json!(region);
        assert_eq!(world.call(&root(OWNER), operation, input).await.unwrap_err().status, 500);
    }
    let told = described(&world, &primary).await;
    assert_eq!(text(&told, "KeyState"), "Enabled");
    assert_eq!(told["MultiRegionConfiguration"]["PrimaryKey"]["Arn"], primary);
    assert_eq!(told["MultiRegionConfiguration"]["ReplicaKeys"], json!([{"Arn": replica, "Region": THERE}]));
}
