//! Quotas that a configuration has changed: each is refused past what it names, and nothing is made.

use api_kms::Quotas;
use serde_json::{Value, json};

use crate::world::{OWNER, World, key_policy, root, text};

async fn refused(world: &World, operation: &str, input: Value) -> String {
    let fault = world.call(&root(OWNER), operation, input).await.unwrap_err();
    assert_eq!(fault.code, "LimitExceededException", "{operation}");
    fault.message.unwrap_or_default()
}

#[tokio::test]
async fn each_quota_is_the_configured_one() {
    let policy = key_policy(json!([]));
    let quotas = Quotas {
        keys: 2,
        aliases_per_key: 1,
        grants_per_key: 1,
        policy_bytes: policy.len(),
        on_demand_rotations: 1,
        custom_key_stores: 1,
    };
    let world = World::with_quotas(quotas).await;
    let root = root(OWNER);
    let make = json!({"Policy": policy});
    let made = world.call(&root, "CreateKey", make.clone()).await.unwrap();
    let key = text(&made["KeyMetadata"], "KeyId").to_owned();
    let long = json!({"KeyId": key, "PolicyName": "default", "Policy": format!("{policy} ")});
    refused(&world, "PutKeyPolicy", long).await;
    world.call(&root, "CreateKey", make.clone()).await.unwrap();
    assert_eq!(refused(&world, "CreateKey", make).await, "An account can have 2 keys in a region.");

    let alias = |name: &str| json!({"AliasName": name, "TargetKeyId": key});
    world.call(&root, "CreateAlias", alias("alias/a")).await.unwrap();
    refused(&world, "CreateAlias", alias("alias/b")).await;

    let grant = json!({"KeyId": key, "GranteePrincipal": root.arn(), "Operations": ["Encrypt"]});
    world.call(&root, "CreateGrant", grant.clone()).await.unwrap();
    refused(&world, "CreateGrant", grant).await;

    world.call(&root, "RotateKeyOnDemand", json!({"KeyId": key})).await.unwrap();
    refused(&world, "RotateKeyOnDemand", json!({"KeyId": key})).await;

    crate::key_stores::create(&world, json!({})).await.unwrap();
    let another =
        crate::key_stores::request(json!({"CustomKeyStoreName": "b", "XksProxyUriPath": "/b/kms/xks/v1"}));
    let told = refused(&world, "CreateCustomKeyStore", another).await;
    assert_eq!(told, "An account can have 1 custom key stores in a region.");

    for (operation, list, entries) in
        [("ListKeys", json!({}), "Keys"), ("ListGrants", json!({"KeyId": key}), "Grants")]
    {
        let listed = world.call(&root, operation, list).await.unwrap();
        assert_eq!(listed[entries].as_array().unwrap().len(), if entries == "Keys" { 2 } else { 1 });
    }
}
