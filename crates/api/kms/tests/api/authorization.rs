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
