//! The table of key states, operation by operation, through the API (spec/kms.md §9).

use serde_json::{Value, json};

use crate::{
    imports::{import_input, material_for},
    world::{OWNER, World, expect, refusal, root, user},
};

/// What each state does to an operation.
pub enum Cell {
    Works,
    Disabled,
    Pending,
    NotPending,
    Importing,
    /// Not for imported material.
    Origin,
}

use Cell::{Disabled, Importing, NotPending, Origin, Pending, Works};

/// Enabled, disabled, pending deletion, pending import.
pub const ROWS: [(&str, [Cell; 4]); 45] = [
    ("CancelKeyDeletion", [NotPending, NotPending, Works, NotPending]),
    ("CreateAlias", [Works, Works, Pending, Works]),
    ("CreateGrant", [Works, Disabled, Pending, Importing]),
    ("Decapsulate", [Works, Disabled, Pending, Importing]),
    ("Decrypt", [Works, Disabled, Pending, Importing]),
    ("DeleteAlias", [Works, Works, Works, Works]),
    ("DeleteImportedKeyMaterial", [Works, Works, Works, Works]),
    ("DeriveSharedSecret", [Works, Disabled, Pending, Importing]),
    ("DescribeKey", [Works, Works, Works, Works]),
    ("DisableKey", [Works, Works, Pending, Importing]),
    ("DisableKeyRotation", [Works, Disabled, Pending, Origin]),
    ("EnableKey", [Works, Works, Pending, Importing]),
    ("EnableKeyRotation", [Works, Disabled, Pending, Origin]),
    ("Encapsulate", [Works, Disabled, Pending, Importing]),
    ("Encrypt", [Works, Disabled, Pending, Importing]),
    ("GenerateDataKey", [Works, Disabled, Pending, Importing]),
    ("GenerateDataKeyPair", [Works, Disabled, Pending, Importing]),
    ("GenerateDataKeyPairWithoutPlaintext", [Works, Disabled, Pending, Importing]),
    ("GenerateDataKeyWithoutPlaintext", [Works, Disabled, Pending, Importing]),
    ("GenerateMac", [Works, Disabled, Pending, Importing]),
    ("GetKeyLastUsage", [Works, Works, Works, Works]),
    ("GetKeyPolicy", [Works, Works, Works, Works]),
    ("GetKeyRotationStatus", [Works, Works, Works, Origin]),
    ("GetParametersForImport", [Works, Works, Pending, Works]),
    ("GetPublicKey", [Works, Disabled, Pending, Importing]),
    ("ImportKeyMaterial", [Works, Works, Pending, Works]),
    ("ListAliases", [Works, Works, Works, Works]),
    ("ListGrants", [Works, Works, Works, Works]),
    ("ListKeyPolicies", [Works, Works, Works, Works]),
    ("ListKeyRotations", [Works, Works, Works, Works]),
    ("ListResourceTags", [Works, Works, Works, Works]),
    ("PutKeyPolicy", [Works, Works, Works, Works]),
    ("ReEncrypt", [Works, Disabled, Pending, Importing]),
    ("ReplicateKey", [Works, Disabled, Pending, Importing]),
    ("RetireGrant", [Works, Works, Works, Works]),
    ("RevokeGrant", [Works, Works, Works, Works]),
    ("RotateKeyOnDemand", [Works, Disabled, Pending, Importing]),
    ("ScheduleKeyDeletion", [Works, Works, Pending, Works]),
    ("Sign", [Works, Disabled, Pending, Importing]),
    ("TagResource", [Works, Works, Pending, Works]),
    ("UntagResource", [Works, Works, Pending, Works]),
    ("UpdateKeyDescription", [Works, Works, Pending, Works]),
    ("UpdatePrimaryRegion", [Works, Disabled, Pending, Importing]),
    ("Verify", [Works, Disabled, Pending, Importing]),
    ("VerifyMac", [Works, Disabled, Pending, Importing]),
];

#[tokio::test]
async fn every_operation_does_in_every_state_what_the_table_says() {
    let world = World::new().await;
    for (operation, cells) in ROWS {
        for (state, cell) in
            ["Enabled", "Disabled", "PendingDeletion", "PendingImport"].into_iter().zip(cells)
        {
            let (key, input) = prepared(&world, operation, state).await;
            let answer = world.call(&root(OWNER), operation, input).await;
            let refused = match cell {
                Works => {
                    assert!(answer.is_ok(), "{operation} {state}: {answer:?}");
                    continue;
                }
                Disabled => expect("DisabledException", format!("{key} is disabled.")),
                Pending => expect("KMSInvalidStateException", format!("{key} is pending deletion.")),
                Importing => expect("KMSInvalidStateException", format!("{key} is pending import.")),
                Origin => {
                    let text = format!("{key} origin is EXTERNAL which is not valid for this operation.");
                    expect("UnsupportedOperationException", text)
                }
                NotPending => expect("KMSInvalidStateException", format!("{key} is not pending deletion.")),
            };
            assert_eq!(refusal(answer), refused, "{operation} {state}");
        }
    }
}

/// What a key must be for an operation.
fn kind_for(operation: &str) -> Value {
    match operation {
        "GenerateMac" | "VerifyMac" => json!({"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}),
        "Sign" | "Verify" | "GetPublicKey" => json!({"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}),
        "DeriveSharedSecret" => json!({"KeySpec": "ECC_NIST_P256", "KeyUsage": "KEY_AGREEMENT"}),
        "Encapsulate" | "Decapsulate" => {
            json!({"KeySpec": "ML_KEM_768", "KeyUsage": "ENCAPSULATE_DECAPSULATE"})
        }
        "GetParametersForImport" | "ImportKeyMaterial" | "DeleteImportedKeyMaterial" => {
            json!({"Origin": "EXTERNAL"})
        }
        "ReplicateKey" | "UpdatePrimaryRegion" => json!({"MultiRegion": true}),
        _ => json!({}),
    }
}

/// What was made with the key before, for the operations that want it.
async fn used(world: &World, key: &str, operation: &str) -> Value {
    let (how, input) = match operation {
        "GenerateMac" | "VerifyMac" => {
            ("GenerateMac", json!({"KeyId": key, "Message": "eA==", "MacAlgorithm": "HMAC_SHA_256"}))
        }
        "Sign" | "Verify" | "GetPublicKey" => {
            ("Sign", json!({"KeyId": key, "Message": "eA==", "SigningAlgorithm": "ECDSA_SHA_256"}))
        }
        "DeriveSharedSecret" => ("GetPublicKey", json!({"KeyId": key})),
        "Encapsulate" | "Decapsulate" => {
            ("Encapsulate", json!({"KeyId": key, "EncapsulationAlgorithm": "ML_KEM"}))
        }
        _ => ("Encrypt", json!({"KeyId": key, "Plaintext": "eA=="})),
    };
    world.call(&root(OWNER), how, input).await.unwrap()
}

/// A key in a state with an alias, a grant and a ciphertext of its own, and the input of an operation on it.
pub async fn prepared(world: &World, operation: &str, state: &str) -> (String, Value) {
    let root = root(OWNER);
    let mut kind = kind_for(operation);
    if state == "PendingImport" {
        kind["Origin"] = json!("EXTERNAL");
    }
    let key = world.key_with(kind.clone()).await;
    let material = material_for(kind["KeySpec"].as_str().unwrap_or("SYMMETRIC_DEFAULT"));
    let mut import = json!({});
    if kind["Origin"] == "EXTERNAL" {
        import = import_input(world, &key, &material, json!({})).await;
        world.call(&root, "ImportKeyMaterial", import.clone()).await.unwrap();
    }
    let alias = format!("alias/{}", key.rsplit('/').next().unwrap());
    world.call(&root, "CreateAlias", json!({"AliasName": alias, "TargetKeyId": key})).await.unwrap();
    world.give(&user("dba"), &[]);
    let grant = json!({"KeyId": key, "GranteePrincipal": user("dba").arn(), "Operations": ["DescribeKey"]});
    let granted = world.call(&root, "CreateGrant", grant).await.unwrap();
    let made = used(world, &key, operation).await;
    let policy = world.call(&root, "GetKeyPolicy", json!({"KeyId": key})).await.unwrap();
    match state {
        "Disabled" => drop(world.call(&root, "DisableKey", json!({"KeyId": key})).await.unwrap()),
        "PendingImport" => {
            let input = json!({"KeyId": key});
            drop(world.call(&root, "DeleteImportedKeyMaterial", input).await.unwrap())
        }
        "PendingDeletion" => {
            drop(world.call(&root, "ScheduleKeyDeletion", json!({"KeyId": key})).await.unwrap())
        }
        _ => {}
    }
    if operation == "UpdatePrimaryRegion" && state == "Enabled" {
        world.replica(&key, "eu-west-1").await;
    }
    let input = match operation {
        "ReplicateKey" => json!({"KeyId": key, "ReplicaRegion": "eu-west-1"}),
        "UpdatePrimaryRegion" => json!({"KeyId": key, "PrimaryRegion": "eu-west-1"}),
        "CreateAlias" => json!({"AliasName": format!("{alias}-2"), "TargetKeyId": key}),
        "DeleteAlias" => json!({"AliasName": alias}),
        "CreateGrant" => {
            json!({"KeyId": key, "GranteePrincipal": user("dba").arn(), "Operations": ["Decrypt"]})
        }
        "Decrypt" => json!({"CiphertextBlob": made["CiphertextBlob"]}),
        "Encrypt" => json!({"KeyId": key, "Plaintext": "eA=="}),
        "GenerateDataKey" | "GenerateDataKeyWithoutPlaintext" => json!({"KeyId": key, "KeySpec": "AES_256"}),
        "ReEncrypt" => json!({"CiphertextBlob": made["CiphertextBlob"], "DestinationKeyId": key}),
        "GenerateMac" => json!({"KeyId": key, "Message": "eA==", "MacAlgorithm": "HMAC_SHA_256"}),
        "Sign" => json!({"KeyId": key, "Message": "eA==", "SigningAlgorithm": "ECDSA_SHA_256"}),
        "Verify" => {
            let algorithm = "ECDSA_SHA_256";
            json!({"KeyId": key, "Message": "eA==", "SigningAlgorithm": algorithm, "Signature": made["Signature"]})
        }
        "DeriveSharedSecret" => {
            json!({"KeyId": key, "KeyAgreementAlgorithm": "ECDH", "PublicKey": made["PublicKey"]})
        }
        "Encapsulate" => json!({"KeyId": key, "EncapsulationAlgorithm": "ML_KEM"}),
        "Decapsulate" => {
            let blob = &made["SharedSecretCiphertextBlob"];
            json!({"KeyId": key, "EncapsulationAlgorithm": "ML_KEM", "SharedSecretCiphertextBlob": blob})
        }
        "GenerateDataKeyPair" | "GenerateDataKeyPairWithoutPlaintext" => {
            json!({"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"})
        }
        "VerifyMac" => {
            json!({"KeyId": key, "Message": "eA==", "MacAlgorithm": "HMAC_SHA_256", "Mac": made["Mac"]})
        }
        "GetParametersForImport" => {
            json!({"KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"})
        }
        "ImportKeyMaterial" => import,
        "PutKeyPolicy" => json!({"KeyId": key, "Policy": policy["Policy"]}),
        "RetireGrant" | "RevokeGrant" => json!({"KeyId": key, "GrantId": granted["GrantId"]}),
        "TagResource" => json!({"KeyId": key, "Tags": [{"TagKey": "a", "TagValue": "b"}]}),
        "UntagResource" => json!({"KeyId": key, "TagKeys": ["a"]}),
        "UpdateKeyDescription" => json!({"KeyId": key, "Description": "d"}),
        _ => json!({"KeyId": key}),
    };
    (key, input)
}

#[tokio::test]
async fn only_the_new_target_of_an_alias_must_not_be_pending() {
    let world = World::new().await;
    let root = root(OWNER);
    let (leaving, staying) = (world.key().await, world.key().await);
    let make = json!({"AliasName": "alias/a", "TargetKeyId": leaving});
    world.call(&root, "CreateAlias", make.clone()).await.unwrap();
    world.call(&root, "ScheduleKeyDeletion", json!({"KeyId": leaving})).await.unwrap();
    let away = json!({"AliasName": "alias/a", "TargetKeyId": staying});
    world.call(&root, "UpdateAlias", away).await.unwrap();
    let refused = expect("KMSInvalidStateException", format!("{leaving} is pending deletion."));
    assert_eq!(refusal(world.call(&root, "UpdateAlias", make).await), refused);
}

#[tokio::test]
async fn a_stranger_never_learns_a_state() {
    let world = World::new().await;
    let key = world.key().await;
    let stranger = world.stranger();
    let ask = || async {
        let input = json!({"KeyId": key, "Plaintext": "eA=="});
        refusal(world.call(&stranger, "Encrypt", input).await)
    };
    let enabled = ask().await;
    world.call(&root(OWNER), "DisableKey", json!({"KeyId": key})).await.unwrap();
    assert_eq!(ask().await, enabled);
    world.call(&root(OWNER), "ScheduleKeyDeletion", json!({"KeyId": key})).await.unwrap();
    assert_eq!(ask().await, enabled);
}

#[tokio::test]
async fn the_destination_of_a_re_encryption_must_be_usable_too() {
    let world = World::new().await;
    let root = root(OWNER);
    let (from, to) = (world.key().await, world.key().await);
    let made = world.call(&root, "Encrypt", json!({"KeyId": from, "Plaintext": "eA=="})).await.unwrap();
    world.call(&root, "DisableKey", json!({"KeyId": to})).await.unwrap();
    let input = json!({"CiphertextBlob": made["CiphertextBlob"], "DestinationKeyId": to});
    let refused = expect("DisabledException", format!("{to} is disabled."));
    assert_eq!(refusal(world.call(&root, "ReEncrypt", input).await), refused);
}
