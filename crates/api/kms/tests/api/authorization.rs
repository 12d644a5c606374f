//! Who may use which key: key policies, identity policies, services, accounts, conditions (spec/policy.md §2,
//! §7).

use front::Caller;
use serde_json::{Value, json};

use crate::world::{
    OTHER, OWNER, RDS, World, allow, code, expect, key_policy, refusal, root, session, text, user, user_of,
};

fn when(mut policy: Value, condition: Value) -> Value {
    policy["Statement"][0]["Condition"] = condition;
    policy
}

async fn put(world: &World, key: &str, statements: Value) {
    let input = json!({"KeyId": key, "Policy": key_policy(statements)});
    world.call(&root(OWNER), "PutKeyPolicy", input).await.unwrap();
}

async fn encrypt(world: &World, by: &Caller, key: &str) -> Result<Value, wire::Fault> {
    world.call(by, "Encrypt", json!({"KeyId": key, "Plaintext": "eA=="})).await
}

#[tokio::test]
async fn a_refusal_says_which_side_lacks_what() {
    let world = World::new().await;
    let key = world.key().await;
    let dba = world.stranger();
    let who = dba.arn();
    let denied = |rest: String| {
        expect(
            "AccessDeniedException",
            format!("User: {who} is not authorized to perform: kms:Encrypt on {rest}"),
        )
    };
    let no_identity =
        denied(format!("resource: {key} because no identity-based policy allows the kms:Encrypt action"));
    assert_eq!(refusal(encrypt(&world, &dba, &key).await), no_identity);
    let deny = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "kms:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "kms:Encrypt", "Resource": key},
    ]});
    world.give(&dba, &[deny]);
    let explicit = denied(format!("resource: {key} with an explicit deny in an identity-based policy"));
    assert_eq!(refusal(encrypt(&world, &dba, &key).await), explicit);
    world.give(&dba, &[allow(json!("kms:*"), "*")]);
    encrypt(&world, &dba, &key).await.unwrap();
    let only_boss = json!({"KeyId": key, "BypassPolicyLockoutSafetyCheck": true, "Policy": json!({
        "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": user("boss").arn()},
        "Action": "kms:*", "Resource": "*"}]}).to_string()});
    world.give(&user("boss"), &[]);
    world.call(&root(OWNER), "PutKeyPolicy", only_boss).await.unwrap();
    let no_resource =
        denied(format!("resource: {key} because no resource-based policy allows the kms:Encrypt action"));
    assert_eq!(refusal(encrypt(&world, &dba, &key).await), no_resource, "IAM alone never suffices");
    assert_eq!(code(encrypt(&world, &root(OWNER), &key).await), "AccessDeniedException", "not even root");
    let lists = refusal(world.call(&world.stranger(), "ListKeys", json!({})).await);
    let text = format!(
        "User: {who} is not authorized to perform: kms:ListKeys because no identity-based policy allows the \
         kms:ListKeys action"
    );
    assert_eq!(lists, expect("AccessDeniedException", text));
}

#[tokio::test]
async fn a_user_a_role_or_a_session_named_by_the_key_needs_nothing_else() {
    let world = World::new().await;
    let (dba, app) = (world.stranger(), session("app"));
    world.give(&app, &[]);
    for (principal, caller) in
        [(dba.arn(), &dba), (format!("arn:aws:iam::{OWNER}:role/app"), &app), (app.arn(), &app)]
    {
        let key = world.key().await;
        let use_it = json!({"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "kms:Encrypt", "Resource": "*"});
        put(&world, &key, json!([use_it])).await;
        encrypt(&world, caller, &key).await.unwrap();
    }
}

#[tokio::test]
async fn the_managed_key_is_read_by_those_who_may_and_managed_by_nobody() {
    let world = World::new().await;
    let (root, admin) = (root(OWNER), world.admin());
    let told = world.call(&admin, "DescribeKey", json!({"KeyId": "alias/aws/rds"})).await.unwrap();
    let key = text(&told["KeyMetadata"], "Arn").to_owned();
    for (operation, input) in [
        ("DisableKey", json!({"KeyId": key})),
        ("EnableKey", json!({"KeyId": key})),
        ("ScheduleKeyDeletion", json!({"KeyId": key})),
        ("CancelKeyDeletion", json!({"KeyId": key})),
        ("PutKeyPolicy", json!({"KeyId": key, "Policy": key_policy(json!([]))})),
        ("EnableKeyRotation", json!({"KeyId": key})),
        ("DisableKeyRotation", json!({"KeyId": key})),
        ("RotateKeyOnDemand", json!({"KeyId": key})),
        ("TagResource", json!({"KeyId": key, "Tags": [{"TagKey": "a", "TagValue": "b"}]})),
        ("UntagResource", json!({"KeyId": key, "TagKeys": ["a"]})),
        ("UpdateKeyDescription", json!({"KeyId": key, "Description": "mine"})),
        ("CreateAlias", json!({"AliasName": "alias/mine", "TargetKeyId": key})),
        ("Encrypt", json!({"KeyId": "alias/aws/rds", "Plaintext": "eA=="})),
        ("GenerateDataKey", json!({"KeyId": key, "KeySpec": "AES_256"})),
        ("CreateGrant", json!({"KeyId": key, "GranteePrincipal": admin.arn(), "Operations": ["Decrypt"]})),
    ] {
        for caller in [&root, &admin] {
            let text = format!(
                "User: {} is not authorized to perform: kms:{operation} on resource: {key} because no resource-based \
                 policy allows the kms:{operation} action",
                caller.arn()
            );
            let answer = world.call(caller, operation, input.clone()).await;
            assert_eq!(refusal(answer), expect("AccessDeniedException", text), "{operation}");
        }
    }
    for operation in ["DescribeKey", "GetKeyPolicy", "GetKeyRotationStatus", "ListGrants", "ListKeyPolicies"]
    {
        world.call(&admin, operation, json!({"KeyId": key})).await.unwrap();
        let stranger = world.stranger();
        let told = world.call(&stranger, operation, json!({"KeyId": key})).await;
        assert_eq!(code(told), "AccessDeniedException", "{operation} needs IAM");
    }
    let stranger = world.stranger();
    let grant = json!({
        "KeyId": key, "GranteePrincipal": RDS, "RetiringPrincipal": RDS, "Operations": ["Decrypt"],
        "Constraints": {"EncryptionContextSubset": {"aws:rds:db-id": "db-1"}},
    });
    world.via_rds(&stranger, "CreateGrant", grant).await.unwrap();
    let other = user_of(OTHER, "dba");
    world.give(&other, &[allow(json!("kms:*"), "*")]);
    let foreign = world.via_rds(&other, "DescribeKey", json!({"KeyId": key})).await;
    assert_eq!(code(foreign), "AccessDeniedException", "never across accounts");
}

#[tokio::test]
async fn a_permission_can_be_tied_to_the_service_that_calls() {
    let world = World::new().await;
    let dba = user("dba");
    let key = world.key().await;
    let describe = || json!({"KeyId": key});
    let through = |service: &str| {
        when(allow(json!("kms:DescribeKey"), "*"), json!({"StringEquals": {"kms:ViaService": service}}))
    };
    world.give(&dba, &[through(RDS)]);
    world.via_rds(&dba, "DescribeKey", describe()).await.unwrap();
    assert_eq!(code(world.call(&dba, "DescribeKey", describe()).await), "AccessDeniedException");
    for other in ["rds.eu-west-1.amazonaws.com", "ec2.us-west-2.amazonaws.com"] {
        world.give(&dba, &[through(other)]);
        assert_eq!(
            code(world.via_rds(&dba, "DescribeKey", describe()).await),
            "AccessDeniedException",
            "{other}"
        );
    }
}

#[tokio::test]
async fn grants_for_services_only_are_made_through_them_only() {
    let world = World::new().await;
    let dba = world.stranger();
    let key = world.key().await;
    let attach = json!([{
        "Effect": "Allow", "Principal": {"AWS": dba.arn()}, "Action": ["kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"],
        "Resource": "*", "Condition": {"Bool": {"kms:GrantIsForAWSResource": true}},
    }]);
    put(&world, &key, attach).await;
    let grant = |grantee: &str| json!({"KeyId": key, "GranteePrincipal": grantee, "Operations": ["Decrypt"]});
    assert_eq!(code(world.call(&dba, "CreateGrant", grant(&dba.arn())).await), "AccessDeniedException");
    let made = world.via_rds(&dba, "CreateGrant", grant(RDS)).await.unwrap();
    assert_eq!(code(world.call(&dba, "ListGrants", json!({"KeyId": key})).await), "AccessDeniedException");
    world.via_rds(&dba, "ListGrants", json!({"KeyId": key})).await.unwrap();
    let revoke = json!({"KeyId": key, "GrantId": made["GrantId"]});
    assert_eq!(code(world.call(&dba, "RevokeGrant", revoke.clone()).await), "AccessDeniedException");
    world.via_rds(&dba, "RevokeGrant", revoke).await.unwrap();
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

#[tokio::test]
async fn another_account_needs_both_sides_and_learns_nothing_otherwise() {
    let world = World::new().await;
    let dba = user_of(OTHER, "dba");
    let key = world.key().await;
    let hidden = expect(
        "AccessDeniedException",
        format!(
            "User: {} is not authorized to perform: kms:Encrypt on this resource because the resource does not exist in \
             this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access",
            dba.arn()
        ),
    );
    let missing = format!("arn:aws:kms:us-west-2:{OWNER}:key/1234abcd-12ab-34cd-56ef-1234567890ab");
    let everything = allow(json!("kms:*"), "*");
    let deny =
        json!({"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "kms:*", "Resource": "*"}});
    for policies in [vec![], vec![everything.clone()], vec![deny]] {
        world.give(&dba, &policies);
        assert_eq!(refusal(encrypt(&world, &dba, &missing).await), hidden, "no such key");
        assert_eq!(refusal(encrypt(&world, &dba, &key).await), hidden, "a key that says nothing");
    }
    for principal in [format!("arn:aws:iam::{OTHER}:root"), dba.arn()] {
        let share =
            json!([{"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "kms:*", "Resource": "*"}]);
        put(&world, &key, share).await;
        world.give(&dba, &[]);
        let told = refusal(encrypt(&world, &dba, &key).await);
        let own_side = "on this resource because no identity-based policy allows the kms:Encrypt action";
        assert!(told.1.ends_with(own_side), "{told:?}");
        world.give(&dba, std::slice::from_ref(&everything));
        encrypt(&world, &dba, &key).await.unwrap();
    }
    world
        .call(&root(OWNER), "CreateAlias", json!({"AliasName": "alias/a", "TargetKeyId": key}))
        .await
        .unwrap();
    let by_alias = format!("arn:aws:kms:us-west-2:{OWNER}:alias/a");
    encrypt(&world, &dba, &by_alias).await.unwrap();
    assert_eq!(code(encrypt(&world, &dba, "alias/a").await), "NotFoundException", "a bare name is one's own");
    let listed = world.call(&dba, "ListKeys", json!({})).await.unwrap();
    assert_eq!(listed["Keys"], json!([]), "foreign keys are not listed");
}

#[tokio::test]
async fn a_grant_to_a_foreign_user_suffices_and_one_to_his_account_leaves_it_to_iam() {
    let world = World::new().await;
    let dba = user_of(OTHER, "dba");
    world.give(&dba, &[]);
    let grant = |grantee: String, key: &str| json!({"KeyId": key, "GranteePrincipal": grantee, "Operations": ["Encrypt"]});
    let key = world.key().await;
    world.call(&root(OWNER), "CreateGrant", grant(dba.arn(), &key)).await.unwrap();
    encrypt(&world, &dba, &key).await.unwrap();
    let key = world.key().await;
    let to_account = grant(format!("arn:aws:iam::{OTHER}:root"), &key);
    world.call(&root(OWNER), "CreateGrant", to_account).await.unwrap();
    assert_eq!(code(encrypt(&world, &dba, &key).await), "AccessDeniedException");
    encrypt(&world, &root(OTHER), &key).await.unwrap();
    world.give(&dba, &[allow(json!("kms:Encrypt"), &key)]);
    encrypt(&world, &dba, &key).await.unwrap();
}

#[tokio::test]
async fn who_is_made_again_under_an_old_name_gets_nothing_of_it() {
    let world = World::new().await;
    let dba = world.stranger();
    let Caller::User(first) = &dba else { unreachable!("a user") };
    let again = Caller::User(front::User { id: "AIDAEXAMPLEEXAMPLE002".into(), ..first.clone() });
    let (named, granted) = (world.key().await, world.key().await);
    let use_it = json!([{"Effect": "Allow", "Principal": {"AWS": dba.arn()}, "Action": "kms:Encrypt", "Resource": "*"}]);
    put(&world, &named, use_it).await;
    let input = json!({"KeyId": granted, "GranteePrincipal": dba.arn(), "Operations": ["Encrypt"]});
    world.call(&root(OWNER), "CreateGrant", input).await.unwrap();
    let world = world.restarted().await;
    for key in [named, granted] {
        encrypt(&world, &dba, &key).await.unwrap();
        assert_eq!(code(encrypt(&world, &again, &key).await), "AccessDeniedException");
    }
}
