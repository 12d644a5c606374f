//! What the trail keeps of each call, and what it never does (spec/trail.md §3, §4).

use std::{fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use trail::Record;

use crate::world::{OTHER, OWNER, RDS, World, allow, key_policy, rds, root, text, user, user_of};

async fn record(world: &World, name: &str) -> Record {
    world.records(OWNER).await.into_iter().rfind(|record| record.event_name == name).unwrap()
}

#[tokio::test]
async fn uses_are_recorded_with_their_context_their_algorithm_and_their_material() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = world.key().await;
    let context = json!({"aws:rds:db-id": "db-1", "Case": "Kept"});
    let input = json!({"KeyId": key, "Plaintext": "eA==", "EncryptionContext": context});
    let made = world.call(&root, "Encrypt", input).await.unwrap();
    let told = world.call(&root, "DescribeKey", json!({"KeyId": key})).await.unwrap();
    let material = &told["KeyMetadata"]["CurrentKeyMaterialId"];
    let encrypted = record(&world, "Encrypt").await;
    let expected =
        json!({"keyId": key, "encryptionAlgorithm": "SYMMETRIC_DEFAULT", "encryptionContext": context});
    assert_eq!(json!(encrypted.request_parameters), expected);
    assert_eq!(json!(encrypted.additional_event_data), json!({"keyMaterialId": material}));
    assert_eq!((encrypted.response_elements, encrypted.read_only), (None, true));
    assert_eq!(encrypted.resources[0].arn, key);
    assert_eq!(encrypted.resources[0].kind, "AWS::KMS::Key");

    let input = json!({"CiphertextBlob": made["CiphertextBlob"], "EncryptionContext": context});
    world.call(&root, "Decrypt", input).await.unwrap();
    let decrypted = record(&world, "Decrypt").await;
    let expected = json!({"encryptionAlgorithm": "SYMMETRIC_DEFAULT", "encryptionContext": context});
    assert_eq!(json!(decrypted.request_parameters), expected);
    assert_eq!(json!(decrypted.additional_event_data), json!({"keyMaterialId": material}));

    let input = json!({"KeyId": key, "KeySpec": "AES_256", "EncryptionContext": context});
    world.call(&root, "GenerateDataKey", input).await.unwrap();
    let generated = record(&world, "GenerateDataKey").await;
    assert_eq!(
        json!(generated.request_parameters),
        json!({"keyId": key, "keySpec": "AES_256", "encryptionContext": context})
    );

    let other = world.key().await;
    let input = json!({
        "CiphertextBlob": made["CiphertextBlob"], "SourceEncryptionContext": context,
        "DestinationKeyId": other, "DestinationEncryptionContext": {"B": "2"},
    });
    world.call(&root, "ReEncrypt", input).await.unwrap();
    let moved = record(&world, "ReEncrypt").await;
    assert_eq!(
        json!(moved.request_parameters),
        json!({
            "sourceEncryptionContext": context, "destinationEncryptionContext": {"B": "2"},
            "destinationKeyId": other, "sourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "destinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        })
    );
    let both: Vec<_> = moved.resources.iter().map(|resource| resource.arn.as_str()).collect();
    assert_eq!(both, [key.as_str(), other.as_str()]);
    assert_eq!(moved.additional_event_data.unwrap()["sourceKeyMaterialId"], *material);
}

#[tokio::test]
async fn changes_are_recorded_with_the_key_that_they_concern() {
    let world = World::new().await;
    let root = root(OWNER);
    let input = json!({"Description": "orders", "Tags": [{"TagKey": "Team", "TagValue": "A"}]});
    let key = world.key_with(input).await;
    let made = record(&world, "CreateKey").await;
    assert_eq!(
        json!(made.request_parameters),
        json!({"description": "orders", "tags": [{"tagKey": "Team", "tagValue": "A"}]})
    );
    assert_eq!(made.response_elements.unwrap()["keyMetadata"]["arn"], json!(key));
    assert_eq!(made.resources[0].arn, key);
    for (operation, input, request) in [
        ("DisableKey", json!({"KeyId": key}), json!({"keyId": key})),
        ("EnableKey", json!({"KeyId": key}), json!({"keyId": key})),
        (
            "CreateAlias",
            json!({"AliasName": "alias/a", "TargetKeyId": key}),
            json!({"aliasName": "alias/a", "targetKeyId": key}),
        ),
        ("DeleteAlias", json!({"AliasName": "alias/a"}), json!({"aliasName": "alias/a"})),
        (
            "PutKeyPolicy",
            json!({"KeyId": key, "Policy": key_policy(json!([]))}),
            json!({"keyId": key, "policy": key_policy(json!([]))}),
        ),
    ] {
        world.call(&root, operation, input).await.unwrap();
        let record = record(&world, operation).await;
        assert_eq!(json!(record.request_parameters), request, "{operation}");
        assert_eq!(record.response_elements, Some(json!({"keyId": key})), "{operation}");
        assert_eq!(record.resources[0].arn, key, "{operation}");
    }
    let input = json!({"KeyId": key, "PendingWindowInDays": 7});
    world.call(&root, "ScheduleKeyDeletion", input).await.unwrap();
    let scheduled = record(&world, "ScheduleKeyDeletion").await.response_elements.unwrap();
    assert_eq!((&scheduled["keyId"], &scheduled["keyState"]), (&json!(key), &json!("PendingDeletion")));
    assert!(scheduled["deletionDate"].is_number());
    world.call(&root, "Encrypt", json!({"KeyId": key, "Plaintext": "eA=="})).await.unwrap_err();
    let failed = record(&world, "Encrypt").await;
    assert_eq!(failed.error_code.as_deref(), Some("KMSInvalidStateException"));
    assert_eq!(
        (failed.request_parameters.unwrap()["keyId"].clone(), failed.resources.len()),
        (json!(key), 1)
    );
}

#[tokio::test]
async fn grants_made_through_rds_and_used_by_it_read_as_aws_writes_them() {
    let world = World::new().await;
    let dba = user("dba");
    world.give(&dba, &[allow(json!("kms:CreateGrant"), "*")]);
    let key = world.key().await;
    let constraints = json!({"EncryptionContextSubset": {"aws:rds:db-id": "db-1"}});
    let input = json!({
        "KeyId": key, "GranteePrincipal": RDS, "RetiringPrincipal": RDS, "Constraints": constraints,
        "Operations": ["Decrypt", "RetireGrant", "Encrypt"],
    });
    let made = world.via_rds(&dba, "CreateGrant", input).await.unwrap();
    let granted = record(&world, "CreateGrant").await;
    assert_eq!(
        json!(granted.request_parameters),
        json!({
            "keyId": key, "granteePrincipal": RDS, "retiringPrincipal": RDS,
            "operations": ["Decrypt", "RetireGrant", "Encrypt"],
            "constraints": {"encryptionContextSubset": {"aws:rds:db-id": "db-1"}},
        })
    );
    assert_eq!(granted.response_elements, Some(json!({"grantId": made["GrantId"], "keyId": key})));
    let who = &granted.user_identity;
    assert_eq!(
        (who.kind.as_deref(), who.invoked_by.as_deref()),
        (Some("IAMUser"), Some("rds.amazonaws.com"))
    );
    assert_eq!(granted.source_ip_address, "rds.amazonaws.com");
    let context = json!({"aws:rds:db-id": "db-1"});
    let input = json!({"KeyId": key, "Plaintext": "eA==", "EncryptionContext": context});
    world.call(&rds(), "Encrypt", input).await.unwrap();
    let used = record(&world, "Encrypt").await;
    assert_eq!(json!(used.user_identity), json!({"type": "AWSService", "invokedBy": "rds.amazonaws.com"}));
    world.call(&rds(), "RetireGrant", json!({"KeyId": key, "GrantId": made["GrantId"]})).await.unwrap();
    let retired = record(&world, "RetireGrant").await;
    assert_eq!(retired.response_elements, Some(json!({"keyId": key})));
    assert_eq!(json!(retired.additional_event_data), json!({"grantId": made["GrantId"]}));
}

#[tokio::test]
async fn both_accounts_read_of_a_use_across_them() {
    let world = World::new().await;
    let dba = user_of(OTHER, "dba");
    world.give(&dba, &[allow(json!("kms:*"), "*")]);
    let share =
        json!([{"Effect": "Allow", "Principal": {"AWS": dba.arn()}, "Action": "kms:*", "Resource": "*"}]);
    let key = world.key_with(json!({"Policy": key_policy(share)})).await;
    for (operation, input) in [
        ("Encrypt", json!({"KeyId": key, "Plaintext": "eA=="})),
        ("CreateGrant", json!({"KeyId": key, "GranteePrincipal": dba.arn(), "Operations": ["Encrypt"]})),
    ] {
        world.call(&dba, operation, input).await.unwrap();
        let (callers, owners) = (world.last_record(OTHER).await, world.last_record(OWNER).await);
        for record in [&callers, &owners] {
            assert_eq!(record.event_name, operation);
            assert_eq!(record.resources[0].account_id.as_str(), OWNER);
            assert!(record.shared_event_id.is_some());
        }
        assert_eq!(callers.shared_event_id, owners.shared_event_id);
        assert_eq!(callers.request_id, owners.request_id);
        assert_ne!(callers.event_id, owners.event_id);
        assert_eq!(callers.user_identity.arn.as_deref(), Some(dba.arn().as_str()));
        assert_eq!(
            json!(owners.user_identity),
            json!({"type": "AWSAccount", "principalId": dba.unique_id(), "accountId": OTHER})
        );
        assert_eq!(
            (callers.recipient_account_id.as_str(), owners.recipient_account_id.as_str()),
            (OTHER, OWNER)
        );
    }
    let before = world.records(OWNER).await.len();
    world.call(&dba, "DisableKey", json!({"KeyId": key})).await.unwrap_err();
    assert_eq!(world.last_record(OTHER).await.error_code.as_deref(), Some("AccessDenied"));
    assert_eq!(world.last_record(OTHER).await.shared_event_id, None);
    assert_eq!(world.records(OWNER).await.len(), before, "a denial stays with the caller");
}

/// Everything that the trail and the state have on disk.
fn everything(dir: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            bytes.extend(everything(&path));
        } else {
            bytes.extend(fs::read(path).unwrap());
        }
    }
    bytes
}

fn assert_absent(bytes: &[u8], secret: &[u8], what: &str) {
    let forms = [secret.to_vec(), STANDARD.encode(secret).into_bytes(), hex::encode(secret).into_bytes()];
    for form in forms {
        assert!(!bytes.windows(form.len()).any(|window| window == form), "{what} is on disk");
    }
}

#[tokio::test]
async fn no_plaintext_ciphertext_or_token_is_ever_written() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = world.key().await;
    let decode = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let secret = b"a recognisable plaintext";
    let input = json!({"KeyId": key, "Plaintext": STANDARD.encode(secret)});
    let made = world.call(&root, "Encrypt", input).await.unwrap();
    let blob = json!({"CiphertextBlob": made["CiphertextBlob"]});
    world.call(&root, "Decrypt", blob).await.unwrap();
    let moved = json!({"CiphertextBlob": made["CiphertextBlob"], "DestinationKeyId": key});
    let moved = world.call(&root, "ReEncrypt", moved).await.unwrap();
    let input = json!({"KeyId": key, "KeySpec": "AES_256"});
    let data_key = world.call(&root, "GenerateDataKey", input).await.unwrap();
    let random = world.call(&root, "GenerateRandom", json!({"NumberOfBytes": 32})).await.unwrap();
    let long = json!({"KeyId": key, "Plaintext": STANDARD.encode(secret.repeat(200))});
    world.call(&root, "Encrypt", long).await.unwrap_err();
    let input = json!({"KeyId": key, "GranteePrincipal": root.arn(), "Operations": ["Encrypt"]});
    let granted = world.call(&root, "CreateGrant", input).await.unwrap();
    let token = text(&granted, "GrantToken").to_owned();
    let used = json!({"KeyId": key, "Plaintext": "eA==", "GrantTokens": [token]});
    world.call(&root, "Encrypt", used).await.unwrap();
    world.call(&root, "RetireGrant", json!({"GrantToken": token})).await.unwrap();
    let bytes = everything(world.dir.path());
    assert_absent(&bytes, secret, "the plaintext");
    assert_absent(&bytes, &decode(&made["CiphertextBlob"]), "the ciphertext");
    assert_absent(&bytes, &decode(&moved["CiphertextBlob"]), "the ciphertext made anew");
    assert_absent(&bytes, &decode(&data_key["Plaintext"]), "the data key");
    assert_absent(&bytes, &decode(&data_key["CiphertextBlob"]), "the wrapped data key");
    assert_absent(&bytes, &decode(&random["Plaintext"]), "the random bytes");
    assert_absent(&bytes, token.as_bytes(), "the token");
}

#[tokio::test]
async fn the_last_use_of_a_key_is_what_the_trail_has() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = world.key().await;
    let last = || world.call(&root, "GetKeyLastUsage", json!({"KeyId": key}));
    let unused = last().await.unwrap();
    assert_eq!((&unused["KeyLastUsage"], &unused["KeyId"]), (&json!({}), &json!(key)));
    world.call(&root, "Encrypt", json!({"KeyId": key, "Plaintext": "eA=="})).await.unwrap();
    let used = world.last_record(OWNER).await;
    world.call(&root, "DisableKey", json!({"KeyId": key})).await.unwrap();
    world.call(&root, "Encrypt", json!({"KeyId": key, "Plaintext": "eA=="})).await.unwrap_err();
    let told = last().await.unwrap();
    assert_eq!(
        told["KeyLastUsage"],
        json!({"Operation": "Encrypt", "Timestamp": used.event_time, "CloudTrailEventId": used.event_id,
               "KmsRequestId": used.request_id})
    );
}
