//! Use of a key by another account than its owner's (spec/policy.md §2).

use front::Caller;
use serde_json::{Value, json};

use crate::world::{OTHER, OWNER, World, allow, code, expect, key_policy, refusal, root, user_of};

async fn encrypt(world: &World, by: &Caller, key: &str) -> Result<Value, wire::Fault> {
    world.call(by, "Encrypt", json!({"KeyId": key, "Plaintext": "eA=="})).await
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
        let put = json!({"KeyId": key, "Policy": key_policy(share)});
        world.call(&root(OWNER), "PutKeyPolicy", put).await.unwrap();
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
