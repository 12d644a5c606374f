//! Groups, permissions boundaries and versions of managed policies through the real pipeline: what they let through.

mod world;

use serde_json::{Value, json};
use wire::{Fault, ServiceId};
use world::{ROOT_KEY, World, text, texts};

const POLICY: &str = "arn:aws:iam::111122223333:policy/limit";

fn document(statement: &Value) -> String {
    json!({"Version": "2012-10-17", "Statement": statement}).to_string()
}

fn allow(action: &str) -> String {
    document(&json!({"Effect": "Allow", "Action": action, "Resource": "*"}))
}

fn refused(outcome: Result<String, Fault>) -> (String, String) {
    let fault = outcome.expect_err("a refusal");
    (fault.code.to_string(), fault.message.unwrap_or_default())
}

async fn root(world: &World, operation: &str, input: Value) -> String {
    world.iam(ROOT_KEY, operation, input).await.unwrap_or_else(|fault| panic!("{operation}: {fault:?}"))
}

#[tokio::test]
async fn a_boundary_limits_what_identity_policies_allow() {
    let world = World::new().await;
    let (key, _) = world.user("dba").await;
    world.allow("dba", json!({"Effect": "Allow", "Action": "iam:*", "Resource": "*"})).await;
    let made = json!({"PolicyName": "limit", "PolicyDocument": allow("iam:List*")});
    root(&world, "CreatePolicy", made).await;
    world.iam(&key, "GetUser", json!({})).await.unwrap();
    let put = json!({"UserName": "dba", "PermissionsBoundary": POLICY});
    root(&world, "PutUserPermissionsBoundary", put.clone()).await;
    let world = world.reopen().await;
    world.iam(&key, "ListUsers", json!({})).await.unwrap();
    let (code, message) = refused(world.iam(&key, "GetUser", json!({})).await);
    assert_eq!(code, "AccessDenied");
    assert!(message.ends_with("because no permissions boundary allows the iam:GetUser action"), "{message}");
    let shown = root(&world, "GetUser", json!({"UserName": "dba"})).await;
    assert_eq!(text(&shown, "PermissionsBoundaryArn"), POLICY);
    assert_eq!(
        text(&root(&world, "GetPolicy", json!({"PolicyArn": POLICY})).await, "PermissionsBoundaryUsageCount"),
        "1"
    );
    assert_eq!(
        refused(world.iam(ROOT_KEY, "DeletePolicy", json!({"PolicyArn": POLICY})).await).0,
        "DeleteConflict"
    );
    let input = json!({"PolicyArn": POLICY, "PolicyDocument": document(&json!([
        {"Effect": "Allow", "Action": "*", "Resource": "*"}, {"Effect": "Deny", "Action": "iam:GetUser", "Resource": "*"},
    ])), "SetAsDefault": true});
    root(&world, "CreatePolicyVersion", input).await;
    let (_, message) = refused(world.iam(&key, "GetUser", json!({})).await);
    assert!(message.ends_with("with an explicit deny in a permissions boundary"), "{message}");
    root(&world, "DeleteUserPermissionsBoundary", json!({"UserName": "dba"})).await;
    world.iam(&key, "GetUser", json!({})).await.unwrap();
    let again = world.iam(ROOT_KEY, "DeleteUserPermissionsBoundary", json!({"UserName": "dba"})).await;
    assert_eq!(refused(again).0, "NoSuchEntity");
    let nowhere =
        json!({"UserName": "dba", "PermissionsBoundary": "arn:aws:iam::111122223333:policy/nothing"});
    let (code, message) = refused(world.iam(ROOT_KEY, "PutUserPermissionsBoundary", nowhere).await);
    assert_eq!(
        (code.as_str(), message.ends_with("does not exist or is not attachable.")),
        ("NoSuchEntity", true)
    );
}

#[tokio::test]
async fn a_policy_has_five_versions_and_one_decides() {
    let world = World::new().await;
    let (key, _) = world.user("dba").await;
    root(&world, "CreatePolicy", json!({"PolicyName": "limit", "PolicyDocument": allow("iam:GetUser")}))
        .await;
    root(&world, "AttachUserPolicy", json!({"UserName": "dba", "PolicyArn": POLICY})).await;
    world.iam(&key, "GetUser", json!({})).await.unwrap();
    let version = |action: &str, default: bool| json!({"PolicyArn": POLICY, "PolicyDocument": allow(action), "SetAsDefault": default});
    let made = root(&world, "CreatePolicyVersion", version("iam:ListUsers", false)).await;
    assert_eq!(
        (text(&made, "VersionId"), text(&made, "IsDefaultVersion")),
        ("v2".to_owned(), "false".to_owned())
    );
    world.iam(&key, "GetUser", json!({})).await.unwrap();
    root(&world, "SetDefaultPolicyVersion", json!({"PolicyArn": POLICY, "VersionId": "v2"})).await;
    world.iam(&key, "ListUsers", json!({})).await.unwrap();
    assert_eq!(refused(world.iam(&key, "GetUser", json!({})).await).0, "AccessDenied");
    for _ in 0..3 {
        root(&world, "CreatePolicyVersion", version("iam:GetRole", false)).await;
    }
    assert_eq!(
        refused(world.iam(ROOT_KEY, "CreatePolicyVersion", version("iam:*", true)).await).0,
        "LimitExceeded"
    );
    let one = |id: &str| json!({"PolicyArn": POLICY, "VersionId": id});
    assert_eq!(refused(world.iam(ROOT_KEY, "DeletePolicyVersion", one("v2")).await).0, "DeleteConflict");
    root(&world, "DeletePolicyVersion", one("v1")).await;
    assert_eq!(refused(world.iam(ROOT_KEY, "DeletePolicyVersion", one("v1")).await).0, "NoSuchEntity");
    root(&world, "CreatePolicyVersion", version("iam:*", true)).await;
    let world = world.reopen().await;
    let listed = root(&world, "ListPolicyVersions", json!({"PolicyArn": POLICY})).await;
    assert_eq!(texts(&listed, "VersionId"), ["v6", "v5", "v4", "v3", "v2"]);
    let first = root(&world, "ListPolicyVersions", json!({"PolicyArn": POLICY, "MaxItems": 2})).await;
    assert_eq!(texts(&first, "VersionId"), ["v6", "v5"]);
    let next = json!({"PolicyArn": POLICY, "Marker": text(&first, "Marker")});
    assert_eq!(texts(&root(&world, "ListPolicyVersions", next).await, "VersionId"), ["v4", "v3", "v2"]);
    root(&world, "DetachUserPolicy", json!({"UserName": "dba", "PolicyArn": POLICY})).await;
    assert_eq!(
        refused(world.iam(ROOT_KEY, "DeletePolicy", json!({"PolicyArn": POLICY})).await).0,
        "DeleteConflict"
    );
    for id in ["v2", "v3", "v4", "v5"] {
        root(&world, "DeletePolicyVersion", one(id)).await;
    }
    root(&world, "DeletePolicy", json!({"PolicyArn": POLICY})).await;
}

#[tokio::test]
async fn the_members_of_a_group_have_its_permissions() {
    let world = World::new().await;
    let (key, _) = world.user("dba").await;
    let group = json!({"GroupName": "ops"});
    root(&world, "CreateGroup", json!({"GroupName": "ops", "Path": "/teams/"})).await;
    assert_eq!(
        refused(world.iam(ROOT_KEY, "CreateGroup", json!({"GroupName": "OPS"})).await).0,
        "EntityAlreadyExists"
    );
    let put = json!({"GroupName": "ops", "PolicyName": "p", "PolicyDocument": allow("iam:GetUser")});
    root(&world, "PutGroupPolicy", put).await;
    root(&world, "CreatePolicy", json!({"PolicyName": "limit", "PolicyDocument": allow("iam:ListUsers")}))
        .await;
    root(&world, "AttachGroupPolicy", json!({"GroupName": "ops", "PolicyArn": POLICY})).await;
    assert_eq!(refused(world.iam(&key, "GetUser", json!({})).await).0, "AccessDenied");
    let member = json!({"GroupName": "ops", "UserName": "dba"});
    root(&world, "AddUserToGroup", member.clone()).await;
    let world = world.reopen().await;
    world.iam(&key, "GetUser", json!({})).await.unwrap();
    world.iam(&key, "ListUsers", json!({})).await.unwrap();
    assert_eq!(texts(&root(&world, "GetGroup", group.clone()).await, "UserName"), ["dba"]);
    assert_eq!(
        texts(&root(&world, "ListGroupsForUser", json!({"UserName": "dba"})).await, "GroupName"),
        ["ops"]
    );
    let entities = root(&world, "ListEntitiesForPolicy", json!({"PolicyArn": POLICY})).await;
    assert_eq!(
        (texts(&entities, "GroupName"), texts(&entities, "UserName").len()),
        (vec!["ops".to_owned()], 0)
    );
    assert_eq!(refused(world.iam(ROOT_KEY, "DeleteGroup", group.clone()).await).0, "DeleteConflict");
    root(&world, "RemoveUserFromGroup", member).await;
    assert_eq!(refused(world.iam(&key, "GetUser", json!({})).await).0, "AccessDenied");
    assert_eq!(refused(world.iam(ROOT_KEY, "DeleteGroup", group.clone()).await).0, "DeleteConflict");
    root(&world, "DeleteGroupPolicy", json!({"GroupName": "ops", "PolicyName": "p"})).await;
    root(&world, "DetachGroupPolicy", json!({"GroupName": "ops", "PolicyArn": POLICY})).await;
    root(&world, "DeleteGroup", group.clone()).await;
    let (_, message) = refused(world.iam(ROOT_KEY, "GetGroup", group).await);
    assert_eq!(message, "The group with name ops cannot be found.");
    for number in 0..11 {
        let name = format!("g{number}");
        root(&world, "CreateGroup", json!({"GroupName": name})).await;
        let added =
            world.iam(ROOT_KEY, "AddUserToGroup", json!({"GroupName": name, "UserName": "dba"})).await;
        if number == 10 {
            assert_eq!(refused(added).1, "Cannot exceed quota for GroupsPerUser: 10");
        } else {
            added.unwrap();
        }
    }
}

#[tokio::test]
async fn credentials_of_users_are_narrower_than_the_users() {
    let world = World::new().await;
    let (key, _) = world.user("dba").await;
    world.allow("dba", json!({"Effect": "Allow", "Action": "*", "Resource": "*"})).await;
    let sts = |key: String, operation: &'static str, input: Value| {
        let world = &world;
        async move { world.call(&key, ServiceId::Sts, operation, input).await }
    };
    let own = sts(key.clone(), "GetSessionToken", json!({"DurationSeconds": 900})).await.unwrap();
    let own = text(&own, "AccessKeyId");
    let who = sts(own.clone(), "GetCallerIdentity", json!({})).await.unwrap();
    assert_eq!(text(&who, "Arn"), "arn:aws:iam::111122223333:user/dba");
    for operation in ["GetSessionToken", "GetFederationToken"] {
        let (_, message) = refused(sts(own.clone(), operation, json!({"Name": "ci"})).await);
        assert_eq!(message, format!("Cannot call {operation} with session credentials"));
    }
    let allowed = document(&json!({"Effect": "Allow", "Action": "sts:GetAccessKeyInfo", "Resource": "*"}));
    let lent =
        sts(key.clone(), "GetFederationToken", json!({"Name": "ci", "Policy": allowed})).await.unwrap();
    assert_eq!(text(&lent, "FederatedUserId"), "111122223333:ci");
    let lent = text(&lent, "AccessKeyId");
    let who = sts(lent.clone(), "GetCallerIdentity", json!({})).await.unwrap();
    assert_eq!(text(&who, "Arn"), "arn:aws:sts::111122223333:federated-user/ci");
    let info = sts(lent.clone(), "GetAccessKeyInfo", json!({"AccessKeyId": key})).await.unwrap();
    assert_eq!(text(&info, "Account"), "111122223333");
    let decode = json!({"EncodedMessage": "x"});
    let (_, message) = refused(sts(lent.clone(), "DecodeAuthorizationMessage", decode).await);
    assert!(message.contains("because no session policy allows"), "{message}");
    let nothing = sts(key.clone(), "GetFederationToken", json!({"Name": "ci"})).await.unwrap();
    let nothing = text(&nothing, "AccessKeyId");
    assert_eq!(
        refused(sts(nothing, "GetAccessKeyInfo", json!({"AccessKeyId": key})).await).0,
        "AccessDenied"
    );
    // What the user may not do he cannot lend.
    world.allow("dba", json!({"Effect": "Allow", "Action": "iam:*", "Resource": "*"})).await;
    let (_, message) = refused(sts(lent, "GetAccessKeyInfo", json!({"AccessKeyId": key})).await);
    assert!(message.contains("because no identity-based policy allows"), "{message}");
    let records = world.records().await;
    let federated = records.iter().find(|record| record["userIdentity"]["type"] == "FederatedUser").unwrap();
    assert_eq!(federated["userIdentity"]["sessionContext"]["sessionIssuer"]["userName"], "dba");
}

#[tokio::test]
async fn a_record_tells_why_a_call_was_allowed_or_denied() {
    let world = World::new().await;
    let (key, _) = world.user("dba").await;
    let conditional = json!([
        {"Sid": "Look", "Effect": "Allow", "Action": "iam:ListUsers", "Resource": "*"},
        {"Effect": "Allow", "Action": "iam:GetUser", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
    ]);
    world.allow("dba", conditional).await;
    world.iam(&key, "ListUsers", json!({})).await.unwrap();
    world.iam(&key, "GetUser", json!({})).await.unwrap_err();
    let records = world.records().await;
    let of = |name: &str| records.iter().rev().find(|record| record["eventName"] == name).unwrap();
    let policy = "inline policy p of user dba";
    assert_eq!(
        of("ListUsers")["authorization"],
        json!([{
            "action": "iam:ListUsers", "resource": "arn:aws:iam::111122223333:user/", "allowed": true,
            "by": [{"kind": "identity-based policy", "policy": policy, "statement": "Look"}],
        }])
    );
    let denied = &of("GetUser")["authorization"][0];
    assert_eq!(denied["reason"], "because no identity-based policy allows the iam:GetUser action");
    assert_eq!(
        denied["nearMisses"],
        json!([{"kind": "identity-based policy", "policy": policy, "statement": "#2",
                "why": ["Bool aws:securetransport (the request has [\"true\"])"]}])
    );
    assert_eq!(denied["context"]["aws:username"], json!(["dba"]));
    assert_eq!(of("GetUser")["requestParameters"], Value::Null);
}

#[tokio::test]
async fn a_policy_stored_before_there_were_versions_is_its_first_version() {
    let dir = tempfile::tempdir().unwrap();
    let store = store::Store::open(&dir.path().join("state.db")).await.unwrap();
    let mut change = store.internal_change().await.unwrap();
    let old = json!({"id": "ANPA1", "account": "111122223333", "name": "p", "path": "/", "created": 1.5,
                     "description": null, "policy": allow("iam:GetUser")});
    let insert = "INSERT INTO iam_accounts VALUES ('111122223333', 0); \
                  INSERT INTO iam_entities VALUES ('ANPA1', 'policy', '111122223333', 'p', $1)";
    let [account, entity] = insert.split(';').collect::<Vec<_>>()[..] else { unreachable!("two statements") };
    sqlx::query(account).execute(change.tx()).await.unwrap();
    sqlx::query(entity).bind(old.to_string()).execute(change.tx()).await.unwrap();
    let migration = include_str!("../../../shell/store/migrations/0015_iam_policies.sql");
    let update = &migration[migration.find("UPDATE").unwrap()..];
    sqlx::query(update).execute(change.tx()).await.unwrap();
    change.commit().await.unwrap();
    custody::Custody::create(&custody::Source::File(dir.path().join("root.key"))).unwrap();
    let custody = custody::Custody::open(&custody::Source::File(dir.path().join("root.key"))).unwrap();
    let iam =
        api_iam::Iam::load(store.clone(), custody.into(), std::sync::Arc::new(world::still())).await.unwrap();
    assert_eq!(iam.accounts().len(), 1);
    store.close().await;
}
