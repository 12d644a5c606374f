//! Aliases: independent names for keys.

use serde_json::{Value, json};

use crate::world::{OTHER, OWNER, World, allow, code, expect, refusal, root, text, user};

fn arn(name: &str) -> String {
    format!("arn:aws:kms:us-west-2:{OWNER}:{name}")
}

#[tokio::test]
async fn an_alias_is_made_moved_listed_and_removed() {
    let world = World::new().await;
    let root = root(OWNER);
    let (first, second) = (world.key().await, world.key().await);
    let make = json!({"AliasName": "alias/orders", "TargetKeyId": first});
    world.call(&root, "CreateAlias", make.clone()).await.unwrap();
    let exists = format!("An alias with the name {} already exists", arn("alias/orders"));
    assert_eq!(
        refusal(world.call(&root, "CreateAlias", make).await),
        expect("AlreadyExistsException", exists)
    );
    let described = world.call(&root, "DescribeKey", json!({"KeyId": "alias/orders"})).await.unwrap();
    assert_eq!(described["KeyMetadata"]["Arn"], json!(first));
    world.pass(1);
    let moved = json!({"AliasName": "alias/orders", "TargetKeyId": second});
    world.call(&root, "UpdateAlias", moved).await.unwrap();
    let described = world.call(&root, "DescribeKey", json!({"KeyId": arn("alias/orders")})).await.unwrap();
    assert_eq!(described["KeyMetadata"]["Arn"], json!(second));
    let listed = world.call(&root, "ListAliases", json!({"KeyId": second})).await.unwrap();
    let created = 1_767_607_872.191;
    assert_eq!(
        listed,
        json!({"Aliases": [{
            "AliasName": "alias/orders", "AliasArn": arn("alias/orders"),
            "TargetKeyId": second.rsplit('/').next().unwrap(),
            "CreationDate": created, "LastUpdatedDate": created + 86_400.0,
        }], "Truncated": false})
    );
    let none = world.call(&root, "ListAliases", json!({"KeyId": first})).await.unwrap();
    assert_eq!(none["Aliases"], json!([]));
    let world = world.restarted().await;
    let again = world.call(&root, "ListAliases", json!({})).await.unwrap();
    assert_eq!(again, listed, "after a restart");
    world.call(&root, "DeleteAlias", json!({"AliasName": "alias/orders"})).await.unwrap();
    for (name, input) in [
        ("DeleteAlias", json!({"AliasName": "alias/orders"})),
        ("UpdateAlias", json!({"AliasName": "alias/orders", "TargetKeyId": first})),
    ] {
        let missing = format!("Alias {} is not found.", arn("alias/orders"));
        assert_eq!(
            refusal(world.call(&root, name, input).await),
            expect("NotFoundException", missing),
            "{name}"
        );
    }
}

#[tokio::test]
async fn names_that_are_none_and_targets_that_are_no_keys_are_refused() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = world.key().await;
    for (name, refused) in [
        (
            "orders",
            expect(
                "ValidationException",
                "Alias must start with the prefix \"alias/\". Please see \
                 https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html",
            ),
        ),
        (
            "alias/a:b",
            expect("InvalidAliasNameException", "alias/a:b contains invalid characters for an alias"),
        ),
        ("alias/aws/x", expect("NotAuthorizedException", "")),
    ] {
        let make = json!({"AliasName": name, "TargetKeyId": key});
        assert_eq!(refusal(world.call(&root, "CreateAlias", make.clone()).await), refused, "{name}");
        assert_eq!(refusal(world.call(&root, "UpdateAlias", make).await), refused, "{name}");
        assert_eq!(refusal(world.call(&root, "DeleteAlias", json!({"AliasName": name})).await), refused);
    }
    world.call(&root, "CreateAlias", json!({"AliasName": "alias/a", "TargetKeyId": key})).await.unwrap();
    for target in ["alias/a".to_owned(), arn("alias/a")] {
        let refused = expect("ValidationException", "Aliases must refer to keys. Not aliases");
        for operation in ["CreateAlias", "UpdateAlias"] {
            let input = json!({"AliasName": "alias/a", "TargetKeyId": target});
            assert_eq!(refusal(world.call(&root, operation, input).await), refused);
        }
    }
    let foreign = world.call(&root_of(OTHER), "CreateKey", json!({})).await.unwrap();
    let foreign = json!({"AliasName": "alias/b", "TargetKeyId": foreign["KeyMetadata"]["Arn"]});
    assert_eq!(code(world.call(&root, "CreateAlias", foreign).await), "AccessDeniedException");
    let beyond = json!({"Limit": 101});
    let told = refusal(world.call(&root, "ListAliases", beyond).await);
    assert!(told.1.contains("Value '101' at 'limit'"), "{told:?}");
}

fn root_of(account: &str) -> front::Caller {
    root(account)
}

#[tokio::test]
async fn a_key_has_at_most_fifty_aliases() {
    let world = World::new().await;
    let key = world.key().await;
    let make = |n: usize| json!({"AliasName": format!("alias/{n}"), "TargetKeyId": key});
    for n in 0..50 {
        world.call(&root(OWNER), "CreateAlias", make(n)).await.unwrap();
    }
    assert_eq!(code(world.call(&root(OWNER), "CreateAlias", make(50)).await), "LimitExceededException");
    let other = world.key().await;
    let made = json!({"AliasName": "alias/other", "TargetKeyId": other});
    world.call(&root(OWNER), "CreateAlias", made).await.unwrap();
    let moved = json!({"AliasName": "alias/other", "TargetKeyId": key});
    assert_eq!(code(world.call(&root(OWNER), "UpdateAlias", moved).await), "LimitExceededException");
    let again = json!({"AliasName": "alias/0", "TargetKeyId": key});
    assert!(world.call(&root(OWNER), "UpdateAlias", again).await.is_ok(), "it stays where it is");
}

#[tokio::test]
async fn an_alias_needs_permission_on_itself_and_on_every_key_it_concerns() {
    let world = World::new().await;
    let (first, second) = (world.key().await, world.key().await);
    let make = json!({"AliasName": "alias/a", "TargetKeyId": first});
    let move_it = json!({"AliasName": "alias/a", "TargetKeyId": second});
    let dba = user("dba");
    let all = json!("kms:*");
    let denied = |answer: (String, String), resource: &str| {
        assert_eq!(answer.0, "AccessDeniedException");
        assert!(answer.1.contains(&format!("on resource: {resource} ")), "{}", answer.1);
    };
    world.give(&dba, &[allow(all.clone(), &first)]);
    denied(refusal(world.call(&dba, "CreateAlias", make.clone()).await), &arn("alias/a"));
    world.give(&dba, &[allow(all.clone(), &arn("alias/*"))]);
    denied(refusal(world.call(&dba, "CreateAlias", make.clone()).await), &first);
    world.give(&dba, &[allow(all.clone(), &arn("alias/*")), allow(all.clone(), &first)]);
    world.call(&dba, "CreateAlias", make).await.unwrap();
    denied(refusal(world.call(&dba, "UpdateAlias", move_it.clone()).await), &second);
    world.give(&dba, &[allow(all.clone(), &arn("alias/*")), allow(all.clone(), &second)]);
    denied(refusal(world.call(&dba, "UpdateAlias", move_it.clone()).await), &first);
    denied(refusal(world.call(&dba, "DeleteAlias", json!({"AliasName": "alias/a"})).await), &first);
    world.give(&dba, &[allow(all, "*")]);
    world.call(&dba, "UpdateAlias", move_it).await.unwrap();
    let listed: Value = world.call(&dba, "ListAliases", json!({"KeyId": second})).await.unwrap();
    assert_eq!(text(&listed["Aliases"][0], "AliasName"), "alias/a");
}
