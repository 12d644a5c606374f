//! Condition keys: which operation supplies which, and with what value (spec/policy.md §7).

use serde_json::{Value, json};

use crate::world::{OWNER, RDS, World, allow, code, key_policy, refusal, root, user};

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

/// Every condition key of KMS that can occur (spec/policy.md §7), but for those of encryption contexts, which have names of
/// their own, and of what is not there: multi-Region keys. Custom key stores have none but `kms:CallerAccount` and
/// `kms:ViaService`.
const KEYS: [&str; 29] = [
    "kms:BypassPolicyLockoutSafetyCheck",
    "kms:CallerAccount",
    "kms:CustomerMasterKeySpec",
    "kms:CustomerMasterKeyUsage",
    "kms:DataKeyPairSpec",
    "kms:EncryptionAlgorithm",
    "kms:EncryptionContextKeys",
    "kms:ExpirationModel",
    "kms:GrantConstraintType",
    "kms:GrantIsForAWSResource",
    "kms:GrantOperations",
    "kms:GranteePrincipal",
    "kms:KeyAgreementAlgorithm",
    "kms:KeyOrigin",
    "kms:KeySpec",
    "kms:KeyUsage",
    "kms:MacAlgorithm",
    "kms:MessageType",
    "kms:MultiRegion",
    "kms:PolicyName",
    "kms:ReEncryptOnSameKey",
    "kms:RequestAlias",
    "kms:ResourceAliases",
    "kms:RetiringPrincipal",
    "kms:SigningAlgorithm",
    "kms:ValidTo",
    "kms:ViaService",
    "kms:WrappingAlgorithm",
    "kms:WrappingKeySpec",
];
/// Numbers, which the table above compares as such.
const NUMBERS: [&str; 2] = ["kms:RotationPeriodInDays", "kms:ScheduleKeyDeletionPendingWindowInDays"];

#[tokio::test]
async fn every_condition_key_lets_through_its_value_and_no_other() {
    let world = World::new().await;
    let dba = user("dba");
    world.give(&user("other"), &[]);
    let spec = |spec: &str, usage: &str| json!({"KeySpec": spec, "KeyUsage": usage});
    let key = world.key().await;
    let signer = world.key_with(spec("ECC_NIST_P256", "SIGN_VERIFY")).await;
    let agreeing = world.key_with(spec("ECC_NIST_P256", "KEY_AGREEMENT")).await;
    let mac = world.key_with(spec("HMAC_256", "GENERATE_VERIFY_MAC")).await;
    let imported = world.key_with(json!({"Origin": "EXTERNAL"})).await;
    let owner = root(OWNER);
    world.call(&owner, "CreateAlias", json!({"AliasName": "alias/a", "TargetKeyId": key})).await.unwrap();
    let public = world.call(&owner, "GetPublicKey", json!({"KeyId": agreeing})).await.unwrap();
    let sealed = world.call(&owner, "Encrypt", json!({"KeyId": key, "Plaintext": "eA=="})).await.unwrap();
    let material = crate::imports::material_for("SYMMETRIC_DEFAULT");
    let expires = 1_767_700_000;
    let expiring = json!({"ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": expires});
    let import = crate::imports::import_input(&world, &imported, &material, expiring).await;

    let encrypt = json!({"KeyId": key, "Plaintext": "eA==", "EncryptionContext": {"Dept": "it"}});
    let grant = json!({
        "KeyId": key, "GranteePrincipal": user("other").arn(), "RetiringPrincipal": user("other").arn(),
        "Operations": ["Encrypt"], "Constraints": {"EncryptionContextSubset": {"Dept": "it"}},
    });
    let sign = json!({"KeyId": signer, "Message": "eA==", "SigningAlgorithm": "ECDSA_SHA_256"});
    let describe = json!({"KeyId": key});
    let parameters =
        json!({"KeyId": imported, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"});
    let agree = json!({"KeyId": agreeing, "KeyAgreementAlgorithm": "ECDH", "PublicKey": public["PublicKey"]});
    let bypass =
        json!({"KeyId": key, "Policy": key_policy(json!([])), "BypassPolicyLockoutSafetyCheck": true});
    let again = json!({"CiphertextBlob": sealed["CiphertextBlob"], "DestinationKeyId": key});
    let pair = json!({"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"});
    let policy = json!({"KeyId": key});
    let other = user("other").arn();

    // Key, operation, input, and a value that it has and one that it has not.
    let rows: Vec<(&str, &str, &Value, &str, &str)> = vec![
        ("kms:BypassPolicyLockoutSafetyCheck", "PutKeyPolicy", &bypass, "true", "false"),
        ("kms:CallerAccount", "DescribeKey", &describe, OWNER, "444455556666"),
        ("kms:CustomerMasterKeySpec", "DescribeKey", &describe, "SYMMETRIC_DEFAULT", "RSA_2048"),
        ("kms:CustomerMasterKeyUsage", "DescribeKey", &describe, "ENCRYPT_DECRYPT", "SIGN_VERIFY"),
        ("kms:DataKeyPairSpec", "GenerateDataKeyPair", &pair, "ECC_NIST_P256", "ECC_NIST_P384"),
        ("kms:EncryptionAlgorithm", "Encrypt", &encrypt, "SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_256"),
        ("kms:EncryptionContextKeys", "Encrypt", &encrypt, "Dept", "dept"),
        (
            "kms:GrantConstraintType",
            "CreateGrant",
            &grant,
            "EncryptionContextSubset",
            "EncryptionContextEquals",
        ),
        ("kms:GrantOperations", "CreateGrant", &grant, "Encrypt", "Decrypt"),
        ("kms:GranteePrincipal", "CreateGrant", &grant, &other, RDS),
        ("kms:RetiringPrincipal", "CreateGrant", &grant, &other, RDS),
        ("kms:KeyAgreementAlgorithm", "DeriveSharedSecret", &agree, "ECDH", "ECDHE"),
        ("kms:KeyOrigin", "DescribeKey", &describe, "AWS_KMS", "EXTERNAL"),
        ("kms:KeySpec", "DescribeKey", &describe, "SYMMETRIC_DEFAULT", "HMAC_256"),
        ("kms:KeyUsage", "DescribeKey", &describe, "ENCRYPT_DECRYPT", "KEY_AGREEMENT"),
        ("kms:MessageType", "Sign", &sign, "RAW", "DIGEST"),
        ("kms:MultiRegion", "DescribeKey", &describe, "false", "true"),
        ("kms:PolicyName", "GetKeyPolicy", &policy, "default", "other"),
        ("kms:ReEncryptOnSameKey", "ReEncrypt", &again, "true", "false"),
        ("kms:ResourceAliases", "DescribeKey", &describe, "alias/a", "alias/b"),
        ("kms:SigningAlgorithm", "Sign", &sign, "ECDSA_SHA_256", "ECDSA_SHA_384"),
        (
            "kms:WrappingAlgorithm",
            "GetParametersForImport",
            &parameters,
            "RSAES_OAEP_SHA_256",
            "RSAES_OAEP_SHA_1",
        ),
        ("kms:WrappingKeySpec", "GetParametersForImport", &parameters, "RSA_2048", "RSA_4096"),
        (
            "kms:ExpirationModel",
            "ImportKeyMaterial",
            &import,
            "KEY_MATERIAL_EXPIRES",
            "KEY_MATERIAL_DOES_NOT_EXPIRE",
        ),
    ];
    let of_mac = json!({"KeyId": mac, "MacAlgorithm": "HMAC_SHA_256", "Message": "eA=="});
    let by_alias = json!({"KeyId": "alias/a"});
    let mut rows: Vec<_> = rows.into_iter().map(|row| (row, "StringEquals", false)).collect();
    rows.push((
        ("kms:MacAlgorithm", "GenerateMac", &of_mac, "HMAC_SHA_256", "HMAC_SHA_384"),
        "StringEquals",
        false,
    ));
    rows.push((("kms:RequestAlias", "DescribeKey", &by_alias, "alias/a", "alias/b"), "StringEquals", false));
    let (before, after) = ("2026-01-06T00:00:00Z", "2026-12-01T00:00:00Z");
    rows.push((("kms:ValidTo", "ImportKeyMaterial", &import, after, before), "DateLessThan", false));
    rows.push((
        ("kms:ViaService", "DescribeKey", &describe, RDS, "s3.us-west-2.amazonaws.com"),
        "StringEquals",
        true,
    ));
    rows.push((("kms:GrantIsForAWSResource", "CreateGrant", &grant, "true", "false"), "Bool", true));

    let mut seen: Vec<_> = rows.iter().map(|((key, ..), ..)| *key).chain(NUMBERS).collect();
    let mut all: Vec<_> = KEYS.into_iter().chain(NUMBERS).collect();
    seen.sort_unstable();
    all.sort_unstable();
    assert_eq!(seen, all, "a row for every key, and a key for every row");
    for ((name, operation, input, has, has_not), operator, via) in rows {
        for (value, holds) in [(has_not, false), (has, true)] {
            let operator = match name {
                "kms:EncryptionContextKeys" | "kms:GrantOperations" | "kms:ResourceAliases" => {
                    format!("ForAnyValue:{operator}")
                }
                _ => operator.to_owned(),
            };
            let condition = json!({operator: {name: value}});
            let actions = match operation {
                "ReEncrypt" => json!(["kms:ReEncryptFrom", "kms:ReEncryptTo"]),
                _ => json!(format!("kms:{operation}")),
            };
            world.give(&dba, &[when(allow(actions, "*"), condition.clone())]);
            let answer = match via {
                true => world.via_rds(&dba, operation, input.clone()).await,
                false => world.call(&dba, operation, input.clone()).await,
            };
            match holds {
                true => assert!(answer.is_ok(), "{operation} {condition}: {answer:?}"),
                false => assert_eq!(code(answer), "AccessDeniedException", "{operation} {condition}"),
            }
        }
    }
}
