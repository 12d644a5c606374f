//! Key policies: read, replaced, checked (spec/policy.md §9).

use serde_json::{Value, json};

use crate::world::{OTHER, OWNER, World, allow, code, expect, key_policy, refusal, root, text, user};

const LOCKOUT: &str = "The new key policy will not allow you to update the key policy in the future.";

async fn put(world: &World, by: &front::Caller, key: &str, policy: &str) -> Result<Value, wire::Fault> {
    world.call(by, "PutKeyPolicy", json!({"KeyId": key, "Policy": policy})).await
}

#[tokio::test]
async fn every_key_has_one_policy_kept_as_it_was_given() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = world.key().await;
    let told = world.call(&root, "GetKeyPolicy", json!({"KeyId": key})).await.unwrap();
    assert_eq!(text(&told, "PolicyName"), "default");
    let policy: Value = serde_json::from_str(text(&told, "Policy")).unwrap();
    assert_eq!(
        policy,
        json!({"Version": "2012-10-17", "Id": "key-default-1", "Statement": [{
            "Sid": "Enable IAM User Permissions", "Effect": "Allow",
            "Principal": {"AWS": format!("arn:aws:iam::{OWNER}:root")}, "Action": "kms:*", "Resource": "*",
        }]})
    );
    let names = world.call(&root, "ListKeyPolicies", json!({"KeyId": key})).await.unwrap();
    assert_eq!(names, json!({"PolicyNames": ["default"], "Truncated": false}));
    let spaced = format!("\n {}\t", key_policy(json!([])));
    put(&world, &root, &key, &spaced).await.unwrap();
    let world = world.restarted().await;
    let told =
        world.call(&root, "GetKeyPolicy", json!({"KeyId": key, "PolicyName": "default"})).await.unwrap();
    assert_eq!(text(&told, "Policy"), spaced, "after a restart");
    let other = json!({"KeyId": key, "PolicyName": "other"});
    let none = expect("NotFoundException", "No such policy exists");
    assert_eq!(refusal(world.call(&root, "GetKeyPolicy", other).await), none);
    let other = json!({"KeyId": key, "PolicyName": "other", "Policy": spaced});
    assert_eq!(code(world.call(&root, "PutKeyPolicy", other).await), "UnsupportedOperationException");
}

#[tokio::test]
async fn policies_that_are_none_or_name_nobody_are_refused_and_change_nothing() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = world.key().await;
    let principal = |arn: &str| {
        key_policy(
            json!([{"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "kms:*", "Resource": "*"}]),
        )
    };
    let malformed = |text: &str| expect("MalformedPolicyDocumentException", text);
    let nobody = "Policy contains a statement with one or more invalid principals.";
    for (policy, refused) in [
        ("{".to_owned(), malformed("This policy contains invalid Json")),
        ("{}".to_owned(), malformed("Syntax errors in policy.")),
        (principal(&user("nobody").arn()), malformed(nobody)),
        (principal(&format!("arn:aws:iam::{OWNER}:group/g")), malformed(nobody)),
        (principal(&format!("arn:aws:iam::{OWNER}:user/*")), malformed(nobody)),
        (principal("arn:aws:iam::999999999999:user/x"), malformed(nobody)),
        (principal(&format!("arn:aws:sts::{OWNER}:assumed-role/none/s")), malformed(nobody)),
    ] {
        assert_eq!(refusal(put(&world, &root, &key, &policy).await), refused, "{policy}");
        let made = world.call(&root, "CreateKey", json!({"Policy": policy})).await;
        assert_eq!(refusal(made), refused, "{policy}");
    }
    let no_version = key_policy(json!([])).replace("2012", " 2012");
    let padded = format!("{}{}", key_policy(json!([])), " ".repeat(32_768));
    assert_eq!(code(put(&world, &root, &key, &padded).await), "LimitExceededException");
    assert_eq!(code(put(&world, &root, &key, &no_version).await), "MalformedPolicyDocumentException");
    assert_eq!(code(put(&world, &root, &key, "").await), "ValidationException");
    assert_eq!(
        code(put(&world, &root, &key, "{\"Id\":\"\u{3b1}\"}").await),
        "ValidationException",
        "characters"
    );
    let fits = format!("{:<32768}", key_policy(json!([])));
    put(&world, &root, &key, &fits).await.unwrap();
    let listed = world.call(&root, "ListKeys", json!({})).await.unwrap();
    assert_eq!(listed["Keys"].as_array().unwrap().len(), 1, "no key was made");
}

#[tokio::test]
async fn nobody_locks_himself_out_unless_he_says_so() {
    let world = World::new().await;
    let (root, dba) = (root(OWNER), user("dba"));
    world.give(&dba, &[]);
    let only_dba = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": dba.arn()}, "Action": "kms:*", "Resource": "*"}
    ]})
    .to_string();
    let key = world.key().await;
    let locked = expect("MalformedPolicyDocumentException", LOCKOUT);
    assert_eq!(refusal(put(&world, &root, &key, &only_dba).await), locked);
    assert_eq!(refusal(world.call(&root, "CreateKey", json!({"Policy": only_dba})).await), locked);
    let bypass = json!({"KeyId": key, "Policy": only_dba, "BypassPolicyLockoutSafetyCheck": true});
    world.call(&root, "PutKeyPolicy", bypass).await.unwrap();
    let denied = refusal(world.call(&root, "DescribeKey", json!({"KeyId": key})).await);
    assert!(
        denied.1.ends_with("because no resource-based policy allows the kms:DescribeKey action"),
        "{denied:?}"
    );
    put(&world, &dba, &key, &only_dba).await.unwrap();
    let delegated = key_policy(json!([]));
    assert_eq!(refusal(put(&world, &dba, &key, &delegated).await), locked, "IAM does not let him");
    world.give(&dba, &[allow(json!("kms:PutKeyPolicy"), "*")]);
    put(&world, &dba, &key, &delegated).await.unwrap();
    let maker = user("maker");
    world.give(&maker, &[allow(json!("kms:CreateKey"), "*")]);
    world.call(&maker, "CreateKey", json!({})).await.unwrap();
    let own = json!({"Policy": key_policy(json!([]))});
    assert_eq!(refusal(world.call(&maker, "CreateKey", own).await), locked, "only the default is exempt");
}

#[tokio::test]
async fn statements_without_effect_are_accepted() {
    let world = World::new().await;
    let (dba, key) = (world.stranger(), world.key().await);
    let who = json!({"AWS": dba.arn()});
    let other = format!("arn:aws:kms:us-west-2:{OWNER}:key/1234abcd-12ab-34cd-56ef-1234567890ab");
    let idle = json!([
        {"Sid": "no action, no resource", "Effect": "Allow", "Principal": who},
        {"Sid": "no resource", "Effect": "Allow", "Principal": who, "Action": "kms:*"},
        {"Sid": "another key", "Effect": "Allow", "Principal": who, "Action": "kms:*", "Resource": other},
    ]);
    put(&world, &root(OWNER), &key, &key_policy(idle)).await.unwrap();
    assert_eq!(code(world.call(&dba, "DescribeKey", json!({"KeyId": key})).await), "AccessDeniedException");
}

#[tokio::test]
async fn a_new_policy_is_told_to_those_who_listen() {
    let world = World::new().await;
    let key = world.key().await;
    let mut changes = world.kms.changes();
    put(&world, &root(OWNER), &key, &key_policy(json!([]))).await.unwrap();
    assert_eq!(changes.try_recv().unwrap().key_arn, key);
    assert_eq!(code(put(&world, &root(OTHER), &key, "{}").await), "AccessDeniedException");
    assert!(changes.try_recv().is_err(), "what is refused changes nothing");
    world.call(&root(OWNER), "EnableKeyRotation", json!({"KeyId": key})).await.unwrap();
    world.call(&root(OWNER), "RotateKeyOnDemand", json!({"KeyId": key})).await.unwrap();
    assert!(changes.try_recv().is_err(), "what is of no concern to users of the key is not told");
    for (operation, input) in [
        ("DisableKey", json!({"KeyId": key})),
        ("EnableKey", json!({"KeyId": key})),
        ("TagResource", json!({"KeyId": key, "Tags": [{"TagKey": "a", "TagValue": "b"}]})),
        ("CreateAlias", json!({"AliasName": "alias/a", "TargetKeyId": key})),
        ("ScheduleKeyDeletion", json!({"KeyId": key})),
        ("CancelKeyDeletion", json!({"KeyId": key})),
    ] {
        world.call(&root(OWNER), operation, input).await.unwrap();
        assert_eq!(changes.try_recv().unwrap().key_arn, key, "{operation}");
    }
}
