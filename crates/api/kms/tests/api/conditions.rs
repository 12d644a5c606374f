//! Condition keys: which operation supplies which, and with what value (spec/policy.md §7).

use serde_json::{Value, json};

use crate::world::{OWNER, World, allow, code, key_policy, refusal, root, user};

fn when(mut policy: Value, condition: Value) -> Value {
    policy["Statement"][0]["Condition"] = condition;
    policy
}

#[tokio::test]
async fn every_condition_key_of_an_operation_has_its_value() {
    let world = World::new().await;
    let dba = user("dba");
    let key = world.key_with(json!({"Tags": [{"TagKey": "team", "TagValue": "a"}]})).await;
    world
        .call(&root(OWNER), "CreateAlias", json!({"AliasName": "alias/a", "TargetKeyId": key}))
        .await
        .unwrap();
    world.give(&user("other"), &[]);
    let grant = json!({
        "KeyId": key, "GranteePrincipal": user("other").arn(), "RetiringPrincipal": dba.arn(),
        "Operations": ["Encrypt", "Decrypt"], "Constraints": {"EncryptionContextEquals": {"Dept": "it"}},
    });
    let encrypt = json!({"KeyId": key, "Plaintext": "eA==", "EncryptionContext": {"Dept": "it"}});
    let policy = || key_policy(json!([]));
    for (operation, input, condition, holds) in [
        ("Encrypt", encrypt.clone(), json!({"StringEquals": {"kms:EncryptionContext:dept": "it"}}), true),
        ("Encrypt", encrypt.clone(), json!({"StringEquals": {"kms:EncryptionContext:Dept": "IT"}}), false),
        (
            "Encrypt",
            encrypt.clone(),
            json!({"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": "Dept"}}),
            true,
        ),
        (
            "Encrypt",
            encrypt.clone(),
            json!({"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": "dept"}}),
            false,
        ),
        (
            "Encrypt",
            encrypt.clone(),
            json!({"StringEquals": {"kms:EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}}),
            true,
        ),
        ("Encrypt", encrypt.clone(), json!({"StringEquals": {"kms:CallerAccount": OWNER}}), true),
        ("Encrypt", encrypt.clone(), json!({"StringEquals": {"aws:ResourceAccount": OWNER}}), true),
        ("Encrypt", encrypt.clone(), json!({"StringEquals": {"aws:ResourceTag/team": "a"}}), true),
        ("Encrypt", encrypt.clone(), json!({"StringEquals": {"aws:ResourceTag/team": "b"}}), false),
        ("Encrypt", encrypt, json!({"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/a"}}), true),
        (
            "DescribeKey",
            json!({"KeyId": key}),
            json!({"StringEquals": {"kms:EncryptionContext:Dept": "it"}}),
            false,
        ),
        (
            "DescribeKey",
            json!({"KeyId": "alias/a"}),
            json!({"StringEquals": {"kms:RequestAlias": "alias/a"}}),
            true,
        ),
        ("DescribeKey", json!({"KeyId": key}), json!({"Null": {"kms:RequestAlias": true}}), true),
        ("DescribeKey", json!({"KeyId": key}), json!({"Null": {"kms:ViaService": true}}), true),
        (
            "DescribeKey",
            json!({"KeyId": key}),
            json!({"StringEquals": {
            "kms:KeySpec": "SYMMETRIC_DEFAULT", "kms:KeyUsage": "ENCRYPT_DECRYPT", "kms:KeyOrigin": "AWS_KMS",
            "kms:CustomerMasterKeySpec": "SYMMETRIC_DEFAULT", "kms:CustomerMasterKeyUsage": "ENCRYPT_DECRYPT",
            "kms:MultiRegion": "false"}}),
            true,
        ),
        (
            "CreateGrant",
            grant.clone(),
            json!({"StringEquals": {"kms:GrantConstraintType": "EncryptionContextEquals"}}),
            true,
        ),
        (
            "CreateGrant",
            grant.clone(),
            json!({"StringEquals": {"kms:GrantConstraintType": "EncryptionContextSubset"}}),
            false,
        ),
        (
            "CreateGrant",
            grant.clone(),
            json!({"ForAllValues:StringEquals": {"kms:GrantOperations": ["Encrypt", "Decrypt"]}}),
            true,
        ),
        (
            "CreateGrant",
            grant.clone(),
            json!({"ForAllValues:StringEquals": {"kms:GrantOperations": "Encrypt"}}),
            false,
        ),
        (
            "CreateGrant",
            grant.clone(),
            json!({"ArnEquals": {"kms:GranteePrincipal": user("other").arn()}}),
            true,
        ),
        (
            "CreateGrant",
            grant.clone(),
            json!({"ArnEquals": {"kms:RetiringPrincipal": user("other").arn()}}),
            false,
        ),
        ("CreateGrant", grant.clone(), json!({"Bool": {"kms:GrantIsForAWSResource": "true"}}), false),
        ("CreateGrant", grant, json!({"StringEquals": {"kms:EncryptionContext:Dept": "it"}}), true),
        ("GetKeyPolicy", json!({"KeyId": key}), json!({"StringEquals": {"kms:PolicyName": "default"}}), true),
        (
            "PutKeyPolicy",
            json!({"KeyId": key, "Policy": policy()}),
            json!({"Bool": {"kms:BypassPolicyLockoutSafetyCheck": "false"}}),
            true,
        ),
        (
            "PutKeyPolicy",
            json!({"KeyId": key, "Policy": policy(), "BypassPolicyLockoutSafetyCheck": true}),
            json!({"Bool": {"kms:BypassPolicyLockoutSafetyCheck": "false"}}),
            false,
        ),
        (
            "EnableKeyRotation",
            json!({"KeyId": key, "RotationPeriodInDays": 180}),
            json!({"NumericLessThanEquals": {"kms:RotationPeriodInDays": 180}}),
            true,
        ),
        (
            "EnableKeyRotation",
            json!({"KeyId": key, "RotationPeriodInDays": 181}),
            json!({"NumericLessThanEquals": {"kms:RotationPeriodInDays": 180}}),
            false,
        ),
        (
            "TagResource",
            json!({"KeyId": key, "Tags": [{"TagKey": "cost", "TagValue": "1"}]}),
            json!({"StringEquals": {"aws:RequestTag/cost": "1"}, "ForAllValues:StringEquals": {"aws:TagKeys": ["cost"]}}),
            true,
        ),
        (
            "TagResource",
            json!({"KeyId": key, "Tags": [{"TagKey": "team", "TagValue": "b"}]}),
            json!({"ForAllValues:StringEquals": {"aws:TagKeys": ["cost"]}}),
            false,
        ),
        (
            "UntagResource",
            json!({"KeyId": key, "TagKeys": ["cost"]}),
            json!({"ForAllValues:StringEquals": {"aws:TagKeys": ["cost"]}}),
            true,
        ),
        ("CreateKey", json!({}), json!({"StringEquals": {"kms:KeySpec": "SYMMETRIC_DEFAULT"}}), true),
        ("CreateKey", json!({}), json!({"Bool": {"kms:BypassPolicyLockoutSafetyCheck": "true"}}), false),
        (
            "ScheduleKeyDeletion",
            json!({"KeyId": key}),
            json!({"NumericLessThan": {"kms:ScheduleKeyDeletionPendingWindowInDays": 30}}),
            false,
        ),
        (
            "ScheduleKeyDeletion",
            json!({"KeyId": key, "PendingWindowInDays": 7}),
            json!({"NumericLessThan": {"kms:ScheduleKeyDeletionPendingWindowInDays": 30}}),
            true,
        ),
    ] {
        // The lockout check must not decide this.
        world.give(&dba, &[when(allow(json!(format!("kms:{operation}")), "*"), condition.clone())]);
        let answer = world.call(&dba, operation, input.clone()).await;
        match holds {
            true => assert!(answer.is_ok(), "{operation} {input} {condition}: {answer:?}"),
            false => assert_eq!(code(answer), "AccessDeniedException", "{operation} {input} {condition}"),
        }
    }
}

#[tokio::test]
async fn tags_of_a_new_key_need_their_own_permission() {
    let world = World::new().await;
    let maker = user("maker");
    let tagged = json!({"Tags": [{"TagKey": "team", "TagValue": "a"}]});
    world.give(&maker, &[allow(json!("kms:CreateKey"), "*")]);
    world.call(&maker, "CreateKey", json!({})).await.unwrap();
    let told = refusal(world.call(&maker, "CreateKey", tagged.clone()).await);
    assert!(told.1.contains("perform: kms:TagResource"), "{told:?}");
    let keys = format!("arn:aws:kms:*:{OWNER}:key/*");
    world.give(&maker, &[allow(json!("kms:CreateKey"), "*"), allow(json!("kms:TagResource"), &keys)]);
    world.call(&maker, "CreateKey", tagged).await.unwrap();
}
