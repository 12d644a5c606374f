//! One row for each operation that is served: a new operation without a row fails here.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wire::ServiceId;

use crate::{
    key_stores,
    states::{self, prepared},
    world::{OTHER, OWNER, World, allow, code, key_policy, refusal, root, user_of},
};

/// What an operation acts on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum On {
    /// Nothing or everything: identity policies alone decide.
    Star,
    /// A key of the caller's account.
    OwnKey,
    /// A key of any account.
    AnyKey,
    /// A grant, whoever owns its key.
    Grant,
}

use On::{AnyKey, Grant, OwnKey, Star};

/// Operation, what it acts on, whether it only reads.
const ROWS: [(&str, On, bool); 56] = [
    ("CancelKeyDeletion", OwnKey, false),
    ("ConnectCustomKeyStore", Star, false),
    ("CreateAlias", OwnKey, false),
    ("CreateCustomKeyStore", Star, false),
    ("CreateGrant", AnyKey, false),
    ("CreateKey", Star, false),
    ("Decapsulate", AnyKey, true),
    ("Decrypt", AnyKey, true),
    ("DeleteAlias", OwnKey, false),
    ("DeleteCustomKeyStore", Star, false),
    ("DeleteImportedKeyMaterial", OwnKey, false),
    ("DeriveSharedSecret", AnyKey, true),
    ("DescribeCustomKeyStores", Star, true),
    ("DescribeKey", AnyKey, true),
    ("DisableKey", OwnKey, false),
    ("DisableKeyRotation", OwnKey, false),
    ("DisconnectCustomKeyStore", Star, false),
    ("EnableKey", OwnKey, false),
    ("EnableKeyRotation", OwnKey, false),
    ("Encapsulate", AnyKey, true),
    ("Encrypt", AnyKey, true),
    ("GenerateDataKey", AnyKey, true),
    ("GenerateDataKeyPair", AnyKey, true),
    ("GenerateDataKeyPairWithoutPlaintext", AnyKey, true),
    ("GenerateDataKeyWithoutPlaintext", AnyKey, true),
    ("GenerateMac", AnyKey, true),
    ("GenerateRandom", Star, true),
    ("GetKeyLastUsage", OwnKey, true),
    ("GetKeyPolicy", OwnKey, true),
    ("GetKeyRotationStatus", AnyKey, true),
    ("GetParametersForImport", OwnKey, true),
    ("GetPublicKey", AnyKey, true),
    ("ImportKeyMaterial", OwnKey, false),
    ("ListAliases", Star, true),
    ("ListGrants", AnyKey, true),
    ("ListKeyPolicies", OwnKey, true),
    ("ListKeyRotations", OwnKey, true),
    ("ListKeys", Star, true),
    ("ListResourceTags", OwnKey, true),
    ("ListRetirableGrants", Star, true),
    ("PutKeyPolicy", OwnKey, false),
    ("ReEncrypt", AnyKey, true),
    ("ReplicateKey", OwnKey, false),
    ("RetireGrant", Grant, false),
    ("RevokeGrant", AnyKey, false),
    ("RotateKeyOnDemand", OwnKey, false),
    ("ScheduleKeyDeletion", OwnKey, false),
    ("Sign", AnyKey, true),
    ("TagResource", OwnKey, false),
    ("UntagResource", OwnKey, false),
    ("UpdateAlias", OwnKey, false),
    ("UpdateCustomKeyStore", Star, false),
    ("UpdateKeyDescription", OwnKey, false),
    ("UpdatePrimaryRegion", OwnKey, false),
    ("Verify", AnyKey, true),
    ("VerifyMac", AnyKey, true),
];

/// Input that would work for an operation, and the key that it concerns.
async fn input(world: &World, operation: &str) -> (String, Value) {
    let state = if operation == "CancelKeyDeletion" { "PendingDeletion" } else { "Enabled" };
    let (key, input) = prepared(world, operation, state).await;
    let input = match operation {
        _ if operation.contains("CustomKeyStore") => key_stores::input(world, operation).await,
        "CreateKey" | "ListKeys" | "ListAliases" => json!({}),
        "GenerateRandom" => json!({"NumberOfBytes": 16}),
        "ListRetirableGrants" => json!({"RetiringPrincipal": root(OWNER).arn()}),
        "UpdateAlias" => {
            json!({"AliasName": format!("alias/{}", key.rsplit('/').next().unwrap()), "TargetKeyId": key})
        }
        _ => input,
    };
    (key, input)
}

#[tokio::test]
async fn every_operation_that_is_served_has_a_row() {
    let world = World::new().await;
    let served: BTreeSet<_> = world.router.served().into_iter().map(|(_, name)| name).collect();
    assert_eq!(served, ROWS.iter().map(|(name, ..)| *name).collect());
    let stateful: BTreeSet<_> = states::ROWS.iter().map(|(name, _)| *name).collect();
    for (name, on, _) in ROWS {
        // The state of a key matters to whatever acts on one; UpdateAlias has tests of its own.
        let expected = on != Star && name != "UpdateAlias" || name == "ListAliases";
        assert_eq!(stateful.contains(name), expected, "{name} in the table of states");
    }
}

#[tokio::test]
async fn every_operation_works_for_who_may_and_is_denied_to_who_may_not() {
    let world = World::new().await;
    for (operation, _, read_only) in ROWS {
        let (key, input) = input(&world, operation).await;
        let stranger = world.stranger();
        let told = refusal(world.call(&stranger, operation, input.clone()).await);
        assert_eq!(told.0, "AccessDeniedException", "{operation}");
        let record = world.last_record(OWNER).await;
        assert_eq!((record.event_name.as_str(), record.read_only), (operation, read_only));
        assert_eq!(record.error_code.as_deref(), Some("AccessDenied"), "{operation}");
        assert_eq!((record.request_parameters, record.resources.len()), (None, 0), "{operation}");
        let done = world.call(&root(OWNER), operation, input).await;
        assert!(done.is_ok(), "{operation} on {key}: {done:?}");
        let record = world.records(OWNER).await.into_iter().rfind(|r| r.event_name == operation).unwrap();
        assert_eq!(record.error_code, None, "{operation}");
        // Of what has no answer, AWS records the key that it concerned, and of a key store nothing.
        let told = !read_only && (!operation.contains("CustomKeyStore") || operation.starts_with("Create"));
        assert_eq!(record.response_elements.is_some(), told, "{operation}");
    }
}

#[tokio::test]
async fn every_operation_on_a_foreign_key_works_or_is_refused_as_if_there_were_none() {
    let world = World::new().await;
    let dba = user_of(OTHER, "dba");
    world.give(&dba, &[allow(json!("kms:*"), "*")]);
    let share =
        json!([{"Effect": "Allow", "Principal": {"AWS": dba.arn()}, "Action": "kms:*", "Resource": "*"}]);
    for (operation, on, _) in ROWS.into_iter().filter(|(_, on, _)| *on != Star) {
        let (key, mut input) = input(&world, operation).await;
        let put = json!({"KeyId": key, "Policy": key_policy(share.clone())});
        world.call(&root(OWNER), "PutKeyPolicy", put).await.unwrap();
        if operation == "PutKeyPolicy" {
            input["Policy"] = json!(key_policy(share.clone()));
        }
        let answer = world.call(&dba, operation, input).await;
        match on {
            AnyKey => assert!(answer.is_ok(), "{operation}: {answer:?}"),
            // An alias is looked for in the caller's own account.
            _ if matches!(operation, "DeleteAlias" | "UpdateAlias") => {
                assert_eq!(code(answer), "NotFoundException")
            }
            _ => assert_eq!(code(answer), "AccessDeniedException", "{operation}"),
        }
    }
}

#[tokio::test]
async fn every_operation_with_a_dry_run_does_nothing_in_one() {
    let world = World::new().await;
    let model = ServiceId::Kms.model();
    for (operation, ..) in ROWS {
        let shape = model.shape(model.operations[operation].input.as_ref().unwrap());
        if !shape.members.contains_key("DryRun") {
            continue;
        }
        let (key, mut input) = input(&world, operation).await;
        let state = || async {
            let grants = world.call(&root(OWNER), "ListGrants", json!({"KeyId": key})).await.unwrap();
            (world.call(&root(OWNER), "DescribeKey", json!({"KeyId": key})).await.unwrap(), grants)
        };
        let before = state().await;
        input["DryRun"] = json!(true);
        let stranger = world.stranger();
        let denied = world.call(&stranger, operation, input.clone()).await;
        assert_eq!(code(denied), "AccessDeniedException", "{operation}");
        assert_eq!(
            code(world.call(&root(OWNER), operation, input).await),
            "DryRunOperationException",
            "{operation}"
        );
        let record = world.last_record(OWNER).await;
        assert_eq!(record.error_code.as_deref(), Some("DryRunOperationException"), "{operation}");
        assert_eq!(state().await, before, "{operation}");
    }
}

#[tokio::test]
async fn every_member_that_is_missing_or_of_a_wrong_kind_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let model = ServiceId::Kms.model();
    for (operation, ..) in ROWS {
        let shape = model.shape(model.operations[operation].input.as_ref().unwrap());
        let (_, whole) = input(&world, operation).await;
        for required in &shape.required {
            let mut lacking = whole.clone();
            lacking.as_object_mut().unwrap().remove(required);
            let told = refusal(world.call(&root(OWNER), operation, lacking).await);
            assert_eq!(told.0, "ValidationException", "{operation} without {required}");
            assert!(told.1.contains("Member must not be null"), "{told:?}");
        }
        for member in shape.members.keys() {
            let reference = &shape.members[member];
            let (min, max) = (model.shape(reference).min, model.shape(reference).max);
            let kind = model.shape(reference).kind;
            let mut wrong = whole.clone();
            match (kind, min, max) {
                (wire::ShapeKind::String, Some(min), _) if min > 0.0 => wrong[member] = json!(""),
                (wire::ShapeKind::Integer, _, Some(_)) => wrong[member] = json!(i32::MAX),
                _ => continue,
            }
            let told = world.call(&root(OWNER), operation, wrong).await;
            assert_eq!(code(told), "ValidationException", "{operation} with a bad {member}");
        }
    }
}
