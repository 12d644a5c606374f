//! The end of a grant: revoked by the key's side, or retired by those whom it serves (spec/kms.md §11).

use serde_json::{Value, json};

use crate::world::{OTHER, OWNER, World, allow, code, key_policy, root, user};

async fn grant(world: &World, input: Value) -> Value {
    world.call(&root(OWNER), "CreateGrant", input).await.unwrap()
}

async fn encrypt(world: &World, by: &front::Caller, key: &str) -> Result<Value, wire::Fault> {
    world.call(by, "Encrypt", json!({"KeyId": key, "Plaintext": "eA=="})).await
}

#[tokio::test]
async fn a_grant_is_retired_by_everybody_who_may_and_nobody_else() {
    let world = World::new().await;
    let (dba, boss, clerk) = (world.stranger(), user("boss"), user("clerk"));
    world.give(&boss, &[]);
    world.give(&clerk, &[]);
    let key = world.key().await;
    let make = |operations: Value| {
        let input = json!({
            "KeyId": key, "GranteePrincipal": dba.arn(), "RetiringPrincipal": boss.arn(), "Operations": operations,
        });
        grant(&world, input)
    };
    let by_id = |made: &Value| json!({"KeyId": key, "GrantId": made["GrantId"]});
    let plain = make(json!(["Encrypt"])).await;
    for caller in [&dba, &clerk, &root(OTHER)] {
        assert_eq!(code(world.call(caller, "RetireGrant", by_id(&plain)).await), "AccessDeniedException");
    }
    let dry = json!({"GrantToken": plain["GrantToken"], "DryRun": true});
    assert_eq!(code(world.call(&boss, "RetireGrant", dry).await), "DryRunOperationException");
    world.call(&boss, "RetireGrant", json!({"GrantToken": plain["GrantToken"]})).await.unwrap();
    world.call(&dba, "RetireGrant", by_id(&make(json!(["Encrypt", "RetireGrant"])).await)).await.unwrap();
    world.call(&root(OWNER), "RetireGrant", by_id(&make(json!(["Encrypt"])).await)).await.unwrap();
    world.give(&clerk, &[allow(json!("kms:RetireGrant"), "*")]);
    world.call(&clerk, "RetireGrant", by_id(&make(json!(["Encrypt"])).await)).await.unwrap();
    let listed = world.call(&root(OWNER), "ListGrants", json!({"KeyId": key})).await.unwrap();
    assert_eq!(listed["Grants"], json!([]));

    let key_allows =
        json!([{"Effect": "Allow", "Principal": {"AWS": dba.arn()}, "Action": "kms:*", "Resource": "*"}]);
    let put = json!({"KeyId": key, "Policy": key_policy(key_allows)});
    world.call(&root(OWNER), "PutKeyPolicy", put).await.unwrap();
    let made = make(json!(["Encrypt"])).await;
    let told = world.call(&dba, "RetireGrant", by_id(&made)).await;
    assert_eq!(code(told), "AccessDeniedException", "a key policy does not let retire");
    let denied = json!([{"Effect": "Deny", "Principal": "*", "Action": "kms:RetireGrant", "Resource": "*"}]);
    let put = json!({"KeyId": key, "Policy": key_policy(denied)});
    world.call(&root(OWNER), "PutKeyPolicy", put).await.unwrap();
    let told = world.call(&boss, "RetireGrant", by_id(&made)).await;
    assert_eq!(code(told), "AccessDeniedException", "it can forbid it");
}

#[tokio::test]
async fn what_names_no_grant_cannot_be_retired() {
    let world = World::new().await;
    let key = world.key().await;
    let none = "0".repeat(64);
    for (input, refused) in [
        (json!({}), "ValidationException"),
        (json!({"KeyId": key}), "ValidationException"),
        (json!({"GrantId": none}), "ValidationException"),
        (json!({"GrantToken": "AAAA", "KeyId": key, "GrantId": none}), "ValidationException"),
        (json!({"GrantToken": "AAAA"}), "InvalidGrantTokenException"),
        (json!({"KeyId": key, "GrantId": none}), "NotFoundException"),
        (json!({"KeyId": key.rsplit('/').next().unwrap(), "GrantId": none}), "InvalidArnException"),
    ] {
        assert_eq!(code(world.call(&root(OWNER), "RetireGrant", input.clone()).await), refused, "{input}");
    }
}

#[tokio::test]
async fn a_revoked_grant_is_gone_at_once() {
    let world = World::new().await;
    let dba = world.stranger();
    let (key, other) = (world.key().await, world.key().await);
    let input = json!({"KeyId": key, "GranteePrincipal": dba.arn(), "Operations": ["Encrypt"]});
    let made = grant(&world, input).await;
    let revoke = |key: &str, id: &Value| json!({"KeyId": key, "GrantId": id});
    let dry = json!({"KeyId": key, "GrantId": made["GrantId"], "DryRun": true});
    assert_eq!(code(world.call(&root(OWNER), "RevokeGrant", dry).await), "DryRunOperationException");
    let elsewhere = world.call(&root(OWNER), "RevokeGrant", revoke(&other, &made["GrantId"])).await;
    assert_eq!(code(elsewhere), "InvalidGrantIdException", "a grant of another key");
    let by_grantee = world.call(&dba, "RevokeGrant", revoke(&key, &made["GrantId"])).await;
    assert_eq!(code(by_grantee), "AccessDeniedException");
    encrypt(&world, &dba, &key).await.unwrap();
    let mut changes = world.kms.changes();
    world.call(&root(OWNER), "RevokeGrant", revoke(&key, &made["GrantId"])).await.unwrap();
    assert_eq!(changes.try_recv().unwrap().key_arn, key);
    assert_eq!(code(encrypt(&world, &dba, &key).await), "AccessDeniedException");
    let again = world.call(&root(OWNER), "RevokeGrant", revoke(&key, &made["GrantId"])).await;
    assert_eq!(code(again), "InvalidGrantIdException");
}
