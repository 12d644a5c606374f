//! Grants: who gets to use a key, within which constraints, and who ends them (spec/kms.md §11).

use front::{Caller, Service};
use serde_json::{Value, json};

use crate::world::{
    OTHER, OWNER, RDS, REGION, World, account, allow, code, expect, key_policy, rds, refusal, root, session,
    text, user, user_of,
};

async fn grant(world: &World, by: &Caller, input: Value) -> Value {
    world.call(by, "CreateGrant", input).await.unwrap()
}

async fn encrypt(world: &World, by: &Caller, key: &str, context: Value) -> Result<Value, wire::Fault> {
    world.call(by, "Encrypt", json!({"KeyId": key, "Plaintext": "eA==", "EncryptionContext": context})).await
}

#[tokio::test]
async fn a_grant_lets_its_grantee_do_what_it_names_and_is_listed() {
    let world = World::new().await;
    let dba = world.stranger();
    let key = world.key().await;
    assert_eq!(code(encrypt(&world, &dba, &key, json!({})).await), "AccessDeniedException");
    let input =
        json!({"KeyId": key, "GranteePrincipal": dba.arn(), "Operations": ["Encrypt", "DescribeKey"]});
    let made = grant(&world, &root(OWNER), input).await;
    assert_eq!(text(&made, "GrantId").len(), 64);
    encrypt(&world, &dba, &key, json!({})).await.unwrap();
    world.call(&dba, "DescribeKey", json!({"KeyId": key})).await.unwrap();
    let decrypt = json!({"KeyId": key, "KeySpec": "AES_256"});
    assert_eq!(
        code(world.call(&dba, "GenerateDataKey", decrypt).await),
        "AccessDeniedException",
        "not granted"
    );
    assert_eq!(code(encrypt(&world, &user("other"), &key, json!({})).await), "AccessDeniedException");
    let listed = world.call(&root(OWNER), "ListGrants", json!({"KeyId": key})).await.unwrap();
    assert_eq!(
        listed,
        json!({"Grants": [{
            "KeyId": key, "GrantId": made["GrantId"], "Name": "", "CreationDate": 1_767_607_872.191,
            "GranteePrincipal": dba.arn(), "IssuingAccount": format!("arn:aws:iam::{OWNER}:root"),
            "Operations": ["DescribeKey", "Encrypt"],
        }], "Truncated": false})
    );
    let world = world.restarted().await;
    assert_eq!(world.call(&root(OWNER), "ListGrants", json!({"KeyId": key})).await.unwrap(), listed);
    encrypt(&world, &dba, &key, json!({})).await.unwrap();
}

#[tokio::test]
async fn an_explicit_deny_beats_a_grant() {
    let world = World::new().await;
    let dba = world.stranger();
    let key = world.key().await;
    let input = json!({"KeyId": key, "GranteePrincipal": dba.arn(), "Operations": ["Encrypt"]});
    grant(&world, &root(OWNER), input).await;
    let deny = json!([{"Effect": "Deny", "Principal": {"AWS": dba.arn()}, "Action": "kms:Encrypt", "Resource": "*"}]);
    let put = json!({"KeyId": key, "Policy": key_policy(deny)});
    world.call(&root(OWNER), "PutKeyPolicy", put).await.unwrap();
    let told = refusal(encrypt(&world, &dba, &key, json!({})).await);
    assert!(told.1.ends_with("with an explicit deny in a resource-based policy"), "{told:?}");
}

#[tokio::test]
async fn grants_reach_roles_sessions_and_accounts_by_their_names() {
    let world = World::new().await;
    let (app, dba) = (session("app"), world.stranger());
    world.give(&app, &[]);
    let role = format!("arn:aws:iam::{OWNER}:role/app");
    for (grantee, reached, missed) in [
        (role, vec![&app], vec![&dba]),
        (app.arn(), vec![&app], vec![&dba]),
        (format!("arn:aws:iam::{OWNER}:root"), vec![&app, &dba], vec![]),
    ] {
        let key = world.key().await;
        let input = json!({"KeyId": key, "GranteePrincipal": grantee, "Operations": ["Encrypt"]});
        grant(&world, &root(OWNER), input).await;
        for caller in reached {
            encrypt(&world, caller, &key, json!({})).await.unwrap();
        }
        for caller in missed {
            assert_eq!(code(encrypt(&world, caller, &key, json!({})).await), "AccessDeniedException");
        }
    }
}

#[tokio::test]
async fn constraints_bind_the_context_of_every_use() {
    let world = World::new().await;
    let dba = world.stranger();
    for (constraint, allowed, refused) in [
        (
            "EncryptionContextSubset",
            vec![json!({"a": "1"}), json!({"A": "1"}), json!({"a": "1", "b": "2"})],
            vec![json!({}), json!({"a": "2"}), json!({"a": "1 "})],
        ),
        ("EncryptionContextEquals", vec![json!({"a": "1"})], vec![json!({}), json!({"a": "1", "b": "2"})]),
    ] {
        let key = world.key().await;
        let input = json!({
            "KeyId": key, "GranteePrincipal": dba.arn(), "Operations": ["Encrypt", "DescribeKey"],
            "Constraints": {constraint: {"a": "1"}},
        });
        grant(&world, &root(OWNER), input).await;
        for context in allowed {
            assert!(encrypt(&world, &dba, &key, context.clone()).await.is_ok(), "{constraint} {context}");
        }
        for context in refused {
            let answer = encrypt(&world, &dba, &key, context.clone()).await;
            assert_eq!(code(answer), "AccessDeniedException", "{constraint} {context}");
        }
        world.call(&dba, "DescribeKey", json!({"KeyId": key})).await.unwrap();
        let listed = world.call(&root(OWNER), "ListGrants", json!({"KeyId": key})).await.unwrap();
        assert_eq!(listed["Grants"][0]["Constraints"], json!({constraint: {"a": "1"}}));
    }
}

#[tokio::test]
async fn re_encryption_is_constrained_on_each_side_by_its_own_context() {
    let world = World::new().await;
    let dba = world.stranger();
    let key = world.key().await;
    for (operation, context) in [("ReEncryptFrom", json!({"from": "1"})), ("ReEncryptTo", json!({"to": "2"}))]
    {
        let input = json!({
            "KeyId": key, "GranteePrincipal": dba.arn(), "Operations": [operation],
            "Constraints": {"EncryptionContextSubset": context},
        });
        grant(&world, &root(OWNER), input).await;
    }
    let made = encrypt(&world, &root(OWNER), &key, json!({"from": "1"})).await.unwrap();
    let move_to = |context: Value| {
        let input = json!({
            "CiphertextBlob": made["CiphertextBlob"], "SourceEncryptionContext": {"from": "1"},
            "DestinationKeyId": key, "DestinationEncryptionContext": context,
        });
        world.call(&dba, "ReEncrypt", input)
    };
    move_to(json!({"to": "2"})).await.unwrap();
    assert_eq!(code(move_to(json!({"from": "1"})).await), "AccessDeniedException");
}

#[tokio::test]
async fn a_child_of_a_grant_is_never_wider_than_its_parent() {
    let world = World::new().await;
    let dba = world.stranger();
    world.give(&user("child"), &[]);
    let key = world.key().await;
    let input = json!({
        "KeyId": key, "GranteePrincipal": dba.arn(), "Operations": ["Encrypt", "CreateGrant"],
        "Constraints": {"EncryptionContextSubset": {"a": "1"}},
    });
    grant(&world, &root(OWNER), input).await;
    let child = |operations: Value, constraints: Value| {
        let input = json!({
            "KeyId": key, "GranteePrincipal": user("child").arn(), "Operations": operations,
            "Constraints": constraints,
        });
        world.call(&dba, "CreateGrant", input)
    };
    let subset = |pairs: Value| json!({"EncryptionContextSubset": pairs});
    child(json!(["Encrypt"]), subset(json!({"a": "1"}))).await.unwrap();
    child(json!(["Encrypt"]), subset(json!({"a": "1", "b": "2"}))).await.unwrap();
    child(json!(["Encrypt"]), json!({"EncryptionContextEquals": {"a": "1"}})).await.unwrap();
    for (operations, constraints) in [
        (json!(["Decrypt"]), subset(json!({"a": "1"}))),
        (json!(["Encrypt"]), json!({})),
        (json!(["Encrypt"]), subset(json!({"b": "2"}))),
    ] {
        let told = child(operations.clone(), constraints.clone()).await;
        assert_eq!(code(told), "AccessDeniedException", "{operations} {constraints}");
    }
    encrypt(&world, &user("child"), &key, json!({"a": "1"})).await.unwrap();
}

#[tokio::test]
async fn a_name_makes_a_second_request_mean_the_same_grant() {
    let world = World::new().await;
    let dba = world.stranger();
    let key = world.key().await;
    let input = |name: Option<&str>, operation: &str| {
        let mut input = json!({"KeyId": key, "GranteePrincipal": dba.arn(), "Operations": [operation]});
        if let Some(name) = name {
            input["Name"] = json!(name);
        }
        input
    };
    let root = root(OWNER);
    let first = grant(&world, &root, input(Some("n"), "Encrypt")).await;
    let again = grant(&world, &root, input(Some("n"), "Encrypt")).await;
    assert_eq!(first["GrantId"], again["GrantId"]);
    assert_ne!(first["GrantToken"], again["GrantToken"]);
    assert_ne!(grant(&world, &root, input(Some("n"), "Decrypt")).await["GrantId"], first["GrantId"]);
    let nameless = grant(&world, &root, input(None, "Encrypt")).await;
    assert_ne!(grant(&world, &root, input(None, "Encrypt")).await["GrantId"], nameless["GrantId"]);
}

#[tokio::test]
async fn requests_that_make_no_grant_are_refused_in_words() {
    let world = World::new().await;
    let dba = world.stranger();
    let key = world.key().await;
    let base = || json!({"KeyId": key, "GranteePrincipal": dba.arn(), "Operations": ["Encrypt"]});
    let with = |member: &str, value: Value| {
        let mut input = base();
        input[member] = value;
        input
    };
    let invalid =
        |arn: &str| expect("InvalidArnException", format!("ARN does not refer to a valid principal: {arn}"));
    let nobody = format!("arn:aws:iam::{OWNER}:user/nobody");
    let group = format!("arn:aws:iam::{OWNER}:group/admins");
    let many: serde_json::Map<_, _> = (0..9).map(|n| (n.to_string(), json!(""))).collect();
    for (input, refused) in [
        (with("GranteePrincipal", json!(nobody)), invalid(&nobody)),
        (with("GranteePrincipal", json!(group)), invalid(&group)),
        (with("GranteePrincipal", json!(RDS)), invalid(RDS)),
        (with("GranteePrincipal", json!("dba")), invalid("dba")),
        (with("RetiringPrincipal", json!(nobody)), invalid(&nobody)),
    ] {
        assert_eq!(refusal(world.call(&root(OWNER), "CreateGrant", input.clone()).await), refused, "{input}");
    }
    for (input, refused) in [
        (with("Operations", json!(["Sign"])), "ValidationException"),
        (with("Operations", json!([])), "ValidationException"),
        (with("Operations", json!(["DisableKey"])), "ValidationException"),
        (with("Constraints", json!({"EncryptionContextSubset": many})), "ValidationException"),
        (
            with("Constraints", json!({"EncryptionContextEquals": {"a": "v".repeat(385)}})),
            "ValidationException",
        ),
        (json!({"KeyId": key, "Operations": ["Encrypt"]}), "ValidationException"),
        (with("GranteeServicePrincipal", json!("rds.amazonaws.com")), "ValidationException"),
        (with("Constraints", json!({"SourceArn": "cluster"})), "ValidationException"),
        (with("GrantTokens", json!(["nonsense"])), "InvalidGrantTokenException"),
        (with("KeyId", json!("alias/none")), "NotFoundException"),
        (with("DryRun", json!(true)), "DryRunOperationException"),
    ] {
        assert_eq!(code(world.call(&root(OWNER), "CreateGrant", input.clone()).await), refused, "{input}");
    }
    let listed = world.call(&root(OWNER), "ListGrants", json!({"KeyId": key})).await.unwrap();
    assert_eq!(listed["Grants"], json!([]), "nothing was made");
}

#[tokio::test]
async fn a_grant_to_a_service_serves_one_resource_of_the_account() {
    let world = World::new().await;
    let key = world.key().await;
    let arn = |name: &str| format!("arn:aws:rds:us-west-2:{OWNER}:cluster:{name}");
    let input = json!({
        "KeyId": key, "GranteeServicePrincipal": "rds.amazonaws.com", "RetiringServicePrincipal": RDS,
        "Operations": ["Encrypt"], "Constraints": {"SourceArn": arn("orders")}, "Name": "orders",
    });
    let without = |member: &str| {
        let mut input = input.clone();
        input.as_object_mut().unwrap().remove(member);
        input
    };
    let mut of_another = input.clone();
    of_another["GranteeServicePrincipal"] = json!("dynamodb.amazonaws.com");
    let mut twice = input.clone();
    twice["GranteePrincipal"] = json!(root(OWNER).arn());
    for (input, refused) in [
        (without("Constraints"), "ValidationException"),
        (without("RetiringServicePrincipal"), "ValidationException"),
        (twice, "ValidationException"),
        (of_another, "InvalidArnException"),
    ] {
        assert_eq!(code(world.call(&root(OWNER), "CreateGrant", input.clone()).await), refused, "{input}");
    }
    let made = grant(&world, &root(OWNER), input.clone()).await;
    assert_eq!(grant(&world, &root(OWNER), input).await["GrantId"], made["GrantId"], "the same name");

    let world = world.restarted().await;
    let acting_for =
        |name: &str| Caller::Service(Service::rds(&REGION.parse().unwrap(), account(OWNER), Some(arn(name))));
    encrypt(&world, &acting_for("orders"), &key, json!({})).await.unwrap();
    for other in [acting_for("other"), rds(), user("rds.amazonaws.com")] {
        assert_eq!(
            code(encrypt(&world, &other, &key, json!({})).await),
            "AccessDeniedException",
            "{other:?}"
        );
    }
    let list = json!({"KeyId": key, "GranteeServicePrincipal": "rds.amazonaws.com"});
    let listed = world.call(&root(OWNER), "ListGrants", list).await.unwrap();
    let told = &listed["Grants"][0];
    assert_eq!(told["GranteePrincipal"], "rds.amazonaws.com");
    assert_eq!(told["GranteeServicePrincipal"], "rds.amazonaws.com");
    assert_eq!(told["RetiringServicePrincipal"], RDS);
    assert_eq!(told["Constraints"], json!({"SourceArn": arn("orders")}));
    let none = json!({"KeyId": key, "GranteeServicePrincipal": RDS});
    assert_eq!(world.call(&root(OWNER), "ListGrants", none).await.unwrap()["Grants"], json!([]));
    let retirable = json!({"RetiringServicePrincipal": RDS});
    let listed = world.call(&root(OWNER), "ListRetirableGrants", retirable.clone()).await.unwrap();
    assert_eq!(listed["Grants"][0]["GrantId"], made["GrantId"]);
    let listed = world.call(&root(OTHER), "ListRetirableGrants", retirable).await.unwrap();
    assert_eq!(listed["Grants"], json!([]), "of another account");
    let retire = json!({"KeyId": key, "GrantId": made["GrantId"]});
    world.call(&rds(), "RetireGrant", retire).await.unwrap();
}

#[tokio::test]
async fn a_key_policy_can_ask_for_whom_a_service_acts() {
    let world = World::new().await;
    let arn = |name: &str| format!("arn:aws:rds:us-west-2:{OWNER}:cluster:{name}");
    let statement = json!([{
        "Effect": "Allow", "Principal": {"Service": RDS}, "Action": "kms:Encrypt", "Resource": "*",
        "Condition": {"ArnLike": {"aws:SourceArn": arn("orders-*")}, "StringEquals": {"aws:SourceAccount": OWNER}},
    }]);
    let made = world.call(&root(OWNER), "CreateKey", json!({"Policy": key_policy(statement)})).await.unwrap();
    let key = text(&made["KeyMetadata"], "KeyId").to_owned();
    let acting_for =
        |name: &str| Caller::Service(Service::rds(&REGION.parse().unwrap(), account(OWNER), Some(arn(name))));
    encrypt(&world, &acting_for("orders-1"), &key, json!({})).await.unwrap();
    for other in [acting_for("other"), rds()] {
        assert_eq!(code(encrypt(&world, &other, &key, json!({})).await), "AccessDeniedException");
    }
}

#[tokio::test]
async fn a_token_comes_along_with_uses_and_is_no_identity() {
    let world = World::new().await;
    let dba = world.stranger();
    let key = world.key().await;
    let input = json!({"KeyId": key, "GranteePrincipal": dba.arn(), "Operations": ["Encrypt"]});
    let made = grant(&world, &root(OWNER), input).await;
    let with = |token: &Value| json!({"KeyId": key, "Plaintext": "eA==", "GrantTokens": [token]});
    world.call(&dba, "Encrypt", with(&made["GrantToken"])).await.unwrap();
    let other = user("other");
    world.give(&other, &[]);
    assert_eq!(code(world.call(&other, "Encrypt", with(&made["GrantToken"])).await), "AccessDeniedException");
    assert_eq!(code(world.call(&dba, "Encrypt", with(&json!("AAAA"))).await), "InvalidGrantTokenException");
    let revoke = json!({"KeyId": key, "GrantId": made["GrantId"]});
    world.call(&root(OWNER), "RevokeGrant", revoke).await.unwrap();
    let gone = world.call(&root(OWNER), "Encrypt", with(&made["GrantToken"])).await;
    assert_eq!(code(gone), "InvalidGrantTokenException");
}

#[tokio::test]
async fn lists_of_grants_are_filtered_paged_and_by_who_may_retire() {
    let world = World::new().await;
    let (dba, boss) = (world.stranger(), user_of(OTHER, "boss"));
    world.give(&boss, &[allow(json!("kms:ListRetirableGrants"), "*")]);
    let key = world.key().await;
    let mut ids = Vec::new();
    for n in 0..3 {
        let grantee = if n == 0 { root(OWNER).arn() } else { dba.arn() };
        let input = json!({
            "KeyId": key, "GranteePrincipal": grantee, "RetiringPrincipal": boss.arn(), "Operations": ["Encrypt"],
        });
        ids.push(grant(&world, &root(OWNER), input).await["GrantId"].clone());
    }
    let owner = root(OWNER);
    let list = |more: Value| {
        let mut input = json!({"KeyId": key});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.call(&owner, "ListGrants", input)
    };
    let count = |answer: &Value| answer["Grants"].as_array().unwrap().len();
    assert_eq!(count(&list(json!({})).await.unwrap()), 3);
    assert_eq!(count(&list(json!({"GranteePrincipal": dba.arn()})).await.unwrap()), 2);
    let one = list(json!({"GrantId": ids[1]})).await.unwrap();
    assert_eq!((count(&one), &one["Grants"][0]["GrantId"]), (1, &ids[1]));
    let first = list(json!({"Limit": 2})).await.unwrap();
    let rest = list(json!({"Limit": 2, "Marker": first["NextMarker"]})).await.unwrap();
    assert_eq!((count(&first), count(&rest), &rest["Truncated"]), (2, 1, &json!(false)));
    let retirable = json!({"RetiringPrincipal": boss.arn()});
    let own = world.call(&boss, "ListRetirableGrants", retirable.clone()).await.unwrap();
    assert_eq!(count(&own), 3, "on keys of another account");
    let foreign = world.call(&root(OWNER), "ListRetirableGrants", retirable).await.unwrap();
    assert_eq!(count(&foreign), 0, "only for principals of the caller's account");
    assert_eq!(code(world.call(&boss, "ListRetirableGrants", json!({})).await), "ValidationException");
}

/// What the cluster service does with the key of a user (spec/rds.md §5).
#[tokio::test]
async fn a_service_uses_a_key_by_the_grants_that_its_user_made() {
    let world = World::new().await;
    let dba = user("dba");
    let mut through_rds = allow(json!(["kms:CreateGrant", "kms:DescribeKey"]), "*");
    through_rds["Statement"][0]["Condition"] = json!({"StringEquals": {"kms:ViaService": RDS}});
    world.give(&dba, &[through_rds]);
    let key = world.key().await;
    let operations = [
        "Decrypt",
        "Encrypt",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "ReEncryptFrom",
        "ReEncryptTo",
        "CreateGrant",
        "RetireGrant",
        "DescribeKey",
    ];
    let input = json!({
        "KeyId": key, "GranteePrincipal": RDS, "RetiringPrincipal": RDS, "Name": "cluster-1",
        "Operations": operations, "Constraints": {"EncryptionContextSubset": {"aws:rds:db-id": "cluster-1"}},
    });
    assert_eq!(code(world.call(&dba, "CreateGrant", input.clone()).await), "AccessDeniedException");
    let made = world.via_rds(&dba, "CreateGrant", input).await.unwrap();
    let rds = rds();
    let context = json!({"aws:rds:db-id": "cluster-1", "aws:ebs:id": "vol-1"});
    let wrapped = json!({"KeyId": key, "KeySpec": "AES_256", "EncryptionContext": context});
    let wrapped = world.call(&rds, "GenerateDataKeyWithoutPlaintext", wrapped).await.unwrap();
    let open = |context: &Value| json!({"KeyId": key, "CiphertextBlob": wrapped["CiphertextBlob"], "EncryptionContext": context});
    world.call(&rds, "Decrypt", open(&context)).await.unwrap();
    world.call(&rds, "DescribeKey", json!({"KeyId": key})).await.unwrap();
    let other = json!({"aws:rds:db-id": "cluster-2", "aws:ebs:id": "vol-1"});
    assert_eq!(code(world.call(&rds, "Decrypt", open(&other)).await), "AccessDeniedException");
    let child = json!({
        "KeyId": key, "GranteePrincipal": RDS, "RetiringPrincipal": RDS, "Operations": ["Decrypt", "RetireGrant"],
        "Constraints": {"EncryptionContextSubset": context},
    });
    world.call(&rds, "CreateGrant", child).await.unwrap();
    let elsewhere = Caller::Service(Service::rds(&"eu-west-1".parse().unwrap(), account(OWNER), None));
    assert_eq!(code(world.call(&elsewhere, "Decrypt", open(&context)).await), "AccessDeniedException");
    world.call(&root(OWNER), "DisableKey", json!({"KeyId": key})).await.unwrap();
    assert_eq!(code(world.call(&rds, "Decrypt", open(&context)).await), "DisabledException");
    let retire = json!({"KeyId": key, "GrantId": made["GrantId"]});
    world.call(&rds, "RetireGrant", retire.clone()).await.unwrap();
    assert_eq!(code(world.call(&rds, "RetireGrant", retire).await), "NotFoundException");
}
