//! Keys: made, told of, listed, described, tagged, deleted.

use serde_json::{Value, json};

use crate::world::{OTHER, OWNER, World, account, code, expect, refusal, region, root, text, user};

#[tokio::test]
async fn a_new_key_is_symmetric_enabled_and_told_in_full() {
    let world = World::new().await;
    let made = world.call(&root(OWNER), "CreateKey", json!({"Description": "orders"})).await.unwrap();
    let key = &made["KeyMetadata"];
    let id = text(key, "KeyId");
    assert_eq!(text(key, "Arn"), format!("arn:aws:kms:us-west-2:{OWNER}:key/{id}"));
    let material = text(key, "CurrentKeyMaterialId");
    assert_eq!(material.len(), 64);
    let expected = json!({
        "AWSAccountId": OWNER, "KeyId": id, "Arn": key["Arn"], "CreationDate": 1_767_607_872.191, "Enabled": true,
        "Description": "orders", "KeyUsage": "ENCRYPT_DECRYPT", "KeyState": "Enabled", "Origin": "AWS_KMS",
        "KeyManager": "CUSTOMER", "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT", "KeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"], "MultiRegion": false, "CurrentKeyMaterialId": material,
    });
    assert_eq!(*key, expected);
    for name in [id, text(key, "Arn")] {
        let told = world.call(&root(OWNER), "DescribeKey", json!({"KeyId": name})).await.unwrap();
        assert_eq!(told["KeyMetadata"], expected, "{name}");
    }
    assert_eq!(world.key_with(json!({"KeySpec": "SYMMETRIC_DEFAULT", "Origin": "AWS_KMS"})).await.len(), 75);
}

#[tokio::test]
async fn kinds_of_keys_that_are_not_served_are_refused_in_words() {
    let world = World::new().await;
    let unsupported = |text: &str| expect("UnsupportedOperationException", text);
    for (input, refused) in [
        (
            json!({"KeySpec": "RSA_2048"}),
            expect(
                "ValidationException",
                "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.",
            ),
        ),
        (
            json!({"KeySpec": "RSA_2048", "KeyUsage": "KEY_AGREEMENT"}),
            expect("ValidationException", "KeyUsage KEY_AGREEMENT is not compatible with KeySpec RSA_2048"),
        ),
        (
            json!({"KeyUsage": "SIGN_VERIFY"}),
            expect(
                "ValidationException",
                "KeyUsage SIGN_VERIFY is not compatible with KeySpec SYMMETRIC_DEFAULT",
            ),
        ),
        (
            json!({"KeySpec": "SM2", "KeyUsage": "SIGN_VERIFY"}),
            unsupported("KeySpec SM2 is not supported in this Region."),
        ),
        (json!({"Origin": "AWS_CLOUDHSM"}), unsupported("Origin AWS_CLOUDHSM is not supported.")),
        (
            json!({"CustomKeyStoreId": "cks-1"}),
            expect(
                "ValidationException",
                "CustomKeyStoreId is valid only with an Origin of AWS_CLOUDHSM or EXTERNAL_KEY_STORE.",
            ),
        ),
        (
            json!({"XksKeyId": "x"}),
            expect("ValidationException", "XksKeyId is valid only with an Origin of EXTERNAL_KEY_STORE."),
        ),
    ] {
        assert_eq!(refusal(world.call(&root(OWNER), "CreateKey", input.clone()).await), refused, "{input}");
    }
    let both = json!({"KeySpec": "SYMMETRIC_DEFAULT", "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT"});
    assert_eq!(code(world.call(&root(OWNER), "CreateKey", both).await), "ValidationException");
    let listed = world.call(&root(OWNER), "ListKeys", json!({})).await.unwrap();
    assert_eq!(listed, json!({"Keys": [], "Truncated": false}), "nothing was made");
}

#[tokio::test]
async fn names_that_name_nothing_are_told_apart() {
    let world = World::new().await;
    let missing = "1234abcd-12ab-34cd-56ef-1234567890ab";
    let arn = |region: &str, account: &str| format!("arn:aws:kms:{region}:{account}:key/{missing}");
    let own = arn("us-west-2", OWNER);
    let not_found = |text: String| expect("NotFoundException", text);
    for (name, refused) in [
        (missing.to_owned(), not_found(format!("Key '{own}' does not exist"))),
        (own.clone(), not_found(format!("Key '{own}' does not exist"))),
        ("orders".into(), not_found("Invalid keyId 'orders'".into())),
        (arn("eu-west-1", OWNER), not_found("Invalid arn eu-west-1".into())),
        (
            "alias/none".into(),
            not_found(format!("Alias arn:aws:kms:us-west-2:{OWNER}:alias/none is not found.")),
        ),
    ] {
        let told = world.call(&root(OWNER), "DescribeKey", json!({"KeyId": name})).await;
        assert_eq!(refusal(told), refused, "{name}");
    }
    let rds = json!({"KeyId": format!("arn:aws:rds:us-west-2:{OWNER}:cluster:x")});
    assert_eq!(code(world.call(&root(OWNER), "DescribeKey", rds).await), "InvalidArnException");
    let key = world.key().await;
    world
        .call(&root(OWNER), "CreateAlias", json!({"AliasName": "alias/a", "TargetKeyId": key}))
        .await
        .unwrap();
    let by_alias = world.call(&root(OWNER), "DisableKey", json!({"KeyId": "alias/a"})).await;
    assert_eq!(refusal(by_alias), not_found("Invalid keyId 'alias/a'".into()), "management takes no aliases");
}

#[tokio::test]
async fn lists_come_in_pages_and_hold_the_account_s_own() {
    let world = World::new().await;
    let mut keys = Vec::new();
    for _ in 0..5 {
        keys.push(world.key().await);
    }
    keys.sort();
    world.call(&root(OTHER), "CreateKey", json!({})).await.unwrap();
    let (mut seen, mut marker) = (Vec::new(), Value::Null);
    loop {
        let mut input = json!({"Limit": 2});
        if !marker.is_null() {
            input["Marker"] = marker.take();
        }
        let page = world.call(&root(OWNER), "ListKeys", input).await.unwrap();
        seen.extend(page["Keys"].as_array().unwrap().iter().map(|key| text(key, "KeyArn").to_owned()));
        assert_eq!(page["Truncated"], page.get("NextMarker").is_some());
        match page.get("NextMarker") {
            Some(next) => marker = next.clone(),
            None => break,
        }
    }
    assert_eq!(seen, keys);
    let bad = world.call(&root(OWNER), "ListKeys", json!({"Marker": "nonsense"})).await;
    assert_eq!(code(bad), "InvalidMarkerException");
    let shared = json!({"ResourceOwners": ["OTHER_ACCOUNTS_VIA_RAM"]});
    assert_eq!(world.call(&root(OWNER), "ListKeys", shared).await.unwrap()["Keys"], json!([]));
}

#[tokio::test]
async fn a_deletion_waits_can_be_cancelled_and_takes_everything_with_it() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = world.key().await;
    world.call(&root, "CreateAlias", json!({"AliasName": "alias/a", "TargetKeyId": key})).await.unwrap();
    for days in [6, 31, 365] {
        let input = json!({"KeyId": key, "PendingWindowInDays": days});
        let refused = expect("ValidationException", "PendingWindowInDays must be between 7 and 30.");
        assert_eq!(refusal(world.call(&root, "ScheduleKeyDeletion", input).await), refused, "{days}");
    }
    let default = world.call(&root, "ScheduleKeyDeletion", json!({"KeyId": key})).await.unwrap();
    assert_eq!(default["PendingWindowInDays"], 30);
    let cancelled = world.call(&root, "CancelKeyDeletion", json!({"KeyId": key})).await.unwrap();
    assert_eq!(cancelled, json!({"KeyId": key}));
    let told = world.call(&root, "DescribeKey", json!({"KeyId": key})).await.unwrap();
    assert_eq!(
        (&told["KeyMetadata"]["KeyState"], &told["KeyMetadata"]["Enabled"]),
        (&json!("Disabled"), &json!(false))
    );

    let scheduled = json!({"KeyId": key, "PendingWindowInDays": 7});
    let scheduled = world.call(&root, "ScheduleKeyDeletion", scheduled).await.unwrap();
    let end = 1_767_607_872.191 + 7.0 * 86_400.0;
    assert_eq!(
        scheduled,
        json!({"KeyId": key, "DeletionDate": end, "KeyState": "PendingDeletion", "PendingWindowInDays": 7})
    );
    let told = world.call(&root, "DescribeKey", json!({"KeyId": key})).await.unwrap();
    assert_eq!(told["KeyMetadata"]["DeletionDate"], json!(end));
    let mut changes = world.kms.changes();
    world.pass(6);
    api_kms::run_due(&world.kms, ids::Clock::now(&*world.clock)).await.unwrap();
    assert!(world.call(&root, "DescribeKey", json!({"KeyId": key})).await.is_ok(), "the period is not over");
    world.pass(1);
    api_kms::run_due(&world.kms, ids::Clock::now(&*world.clock)).await.unwrap();
    assert_eq!(changes.try_recv().unwrap().key_arn, key);
    let gone = expect("NotFoundException", format!("Key '{key}' does not exist"));
    assert_eq!(refusal(world.call(&root, "DescribeKey", json!({"KeyId": key})).await), gone);
    let aliases = world.call(&root, "ListAliases", json!({})).await.unwrap();
    assert_eq!(aliases["Aliases"], json!([]));
    let record =
        world.records(OWNER).await.into_iter().find(|record| record.event_name == "DeleteKey").unwrap();
    assert_eq!((record.resources[0].arn.as_str(), record.error_code.as_deref()), (key.as_str(), None));
    assert!(world.trail.unfinished().await.unwrap().is_empty());
    let world = world.restarted().await;
    assert_eq!(
        refusal(world.call(&root, "DescribeKey", json!({"KeyId": key})).await),
        gone,
        "after a restart"
    );
}

#[tokio::test]
async fn tags_and_descriptions_are_set_listed_and_removed() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = world.key_with(json!({"Tags": [{"TagKey": "team", "TagValue": "a"}]})).await;
    let tag = |key: &str, value: &str| json!({"TagKey": key, "TagValue": value});
    let list = || world.call(&root, "ListResourceTags", json!({"KeyId": key}));
    assert_eq!(list().await.unwrap(), json!({"Tags": [tag("team", "a")], "Truncated": false}));
    let more = json!({"KeyId": key, "Tags": [tag("team", "b"), tag("stage", "")]});
    world.call(&root, "TagResource", more).await.unwrap();
    assert_eq!(list().await.unwrap()["Tags"], json!([tag("stage", ""), tag("team", "b")]));
    world.call(&root, "UntagResource", json!({"KeyId": key, "TagKeys": ["stage", "none"]})).await.unwrap();
    for (tags, refused) in [
        (json!([tag("a", ""), tag("a", "")]), "Duplicate tag keys"),
        (json!([tag("Aws:x", "")]), "Tags beginning with aws: are reserved"),
        (json!((0..50).map(|n| tag(&n.to_string(), "")).collect::<Vec<_>>()), "Too many tags"),
    ] {
        let answer = world.call(&root, "TagResource", json!({"KeyId": key, "Tags": tags})).await;
        assert_eq!(refusal(answer), expect("TagException", refused));
        let made = json!({"Tags": tags});
        if refused != "Too many tags" {
            assert_eq!(refusal(world.call(&root, "CreateKey", made).await), expect("TagException", refused));
        }
    }
    assert_eq!(list().await.unwrap()["Tags"], json!([tag("team", "b")]), "nothing changed");
    let described = json!({"KeyId": key, "Description": ""});
    world.call(&root, "UpdateKeyDescription", described).await.unwrap();
    let told = world.call(&root, "DescribeKey", json!({"KeyId": key})).await.unwrap();
    assert_eq!(told["KeyMetadata"]["Description"], "");
}

#[tokio::test]
async fn the_managed_key_of_rds_is_made_once_and_is_its_own_manager() {
    let world = World::new().await;
    let admin = world.admin();
    let asked = world.call(&world.stranger(), "DescribeKey", json!({"KeyId": "alias/aws/rds"})).await;
    assert_eq!(code(asked), "NotFoundException", "who may not see it does not make it");
    let told = world.call(&admin, "DescribeKey", json!({"KeyId": "alias/aws/rds"})).await.unwrap();
    let key = &told["KeyMetadata"];
    assert_eq!(text(key, "KeyManager"), "AWS");
    assert_eq!(
        text(key, "Description"),
        "Default key that protects my RDS database volumes when no other key is defined"
    );
    let arn = text(key, "Arn");
    let again = world.kms.ensure_managed(&account(OWNER), &region()).await.unwrap();
    assert_eq!(again.to_string(), arn, "one in each account and region");
    let other = world.kms.ensure_managed(&account(OTHER), &region()).await.unwrap();
    assert_ne!(other.to_string(), arn);
    let aliases = world.call(&admin, "ListAliases", json!({})).await.unwrap();
    assert_eq!(aliases["Aliases"][0]["TargetKeyId"], key["KeyId"]);
    let listed = world.call(&admin, "ListKeys", json!({})).await.unwrap();
    assert_eq!(listed["Keys"][0]["KeyArn"], key["Arn"]);
    let rotation = world.call(&admin, "GetKeyRotationStatus", json!({"KeyId": arn})).await.unwrap();
    assert_eq!(rotation["KeyRotationEnabled"], true);
    let policy = world.call(&admin, "GetKeyPolicy", json!({"KeyId": arn})).await.unwrap();
    let policy: Value = serde_json::from_str(text(&policy, "Policy")).unwrap();
    assert_eq!(policy["Id"], "auto-rds-2");
    assert_eq!(
        policy["Statement"][0]["Condition"]["StringEquals"]["kms:ViaService"],
        "rds.us-west-2.amazonaws.com"
    );
    let foreign = json!({"KeyId": format!("arn:aws:kms:us-west-2:{OWNER}:alias/aws/rds")});
    let stranger = world.call(&root(OTHER), "DescribeKey", foreign).await;
    assert_eq!(code(stranger), "AccessDeniedException", "never across accounts");
    assert_eq!(
        code(world.call(&user("nobody"), "DescribeKey", json!({"KeyId": arn})).await),
        "AccessDeniedException"
    );
}
