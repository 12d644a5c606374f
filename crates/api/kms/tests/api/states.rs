//! The table of key states, operation by operation, through the API (spec/kms.md §9).

use serde_json::{Value, json};

use crate::world::{OWNER, World, expect, refusal, root, user};

/// What each state does to an operation.
pub enum Cell {
    Works,
    Disabled,
    Pending,
    NotPending,
}

use Cell::{Disabled, NotPending, Pending, Works};

/// Enabled, disabled, pending deletion.
pub const ROWS: [(&str, [Cell; 3]); 30] = [
    ("CancelKeyDeletion", [NotPending, NotPending, Works]),
    ("CreateAlias", [Works, Works, Pending]),
    ("CreateGrant", [Works, Disabled, Pending]),
    ("Decrypt", [Works, Disabled, Pending]),
    ("DeleteAlias", [Works, Works, Works]),
    ("DescribeKey", [Works, Works, Works]),
    ("DisableKey", [Works, Works, Pending]),
    ("DisableKeyRotation", [Works, Disabled, Pending]),
    ("EnableKey", [Works, Works, Pending]),
    ("EnableKeyRotation", [Works, Disabled, Pending]),
    ("Encrypt", [Works, Disabled, Pending]),
    ("GenerateDataKey", [Works, Disabled, Pending]),
    ("GenerateDataKeyWithoutPlaintext", [Works, Disabled, Pending]),
    ("GetKeyLastUsage", [Works, Works, Works]),
    ("GetKeyPolicy", [Works, Works, Works]),
    ("GetKeyRotationStatus", [Works, Works, Works]),
    ("ListAliases", [Works, Works, Works]),
    ("ListGrants", [Works, Works, Works]),
    ("ListKeyPolicies", [Works, Works, Works]),
    ("ListKeyRotations", [Works, Works, Works]),
    ("ListResourceTags", [Works, Works, Works]),
    ("PutKeyPolicy", [Works, Works, Works]),
    ("ReEncrypt", [Works, Disabled, Pending]),
    ("RetireGrant", [Works, Works, Works]),
    ("RevokeGrant", [Works, Works, Works]),
    ("RotateKeyOnDemand", [Works, Disabled, Pending]),
    ("ScheduleKeyDeletion", [Works, Works, Pending]),
    ("TagResource", [Works, Works, Pending]),
    ("UntagResource", [Works, Works, Pending]),
    ("UpdateKeyDescription", [Works, Works, Pending]),
];

#[tokio::test]
async fn every_operation_does_in_every_state_what_the_table_says() {
    let world = World::new().await;
    for (operation, cells) in ROWS {
        for (state, cell) in ["Enabled", "Disabled", "PendingDeletion"].into_iter().zip(cells) {
            let (key, input) = prepared(&world, operation, state).await;
            let answer = world.call(&root(OWNER), operation, input).await;
            let refused = match cell {
                Works => {
                    assert!(answer.is_ok(), "{operation} {state}: {answer:?}");
                    continue;
                }
                Disabled => expect("DisabledException", format!("{key} is disabled.")),
                Pending => expect("KMSInvalidStateException", format!("{key} is pending deletion.")),
                NotPending => expect("KMSInvalidStateException", format!("{key} is not pending deletion.")),
            };
            assert_eq!(refusal(answer), refused, "{operation} {state}");
        }
    }
}

/// A key in a state with an alias, a grant and a ciphertext of its own, and the input of an operation on it.
pub async fn prepared(world: &World, operation: &str, state: &str) -> (String, Value) {
    let root = root(OWNER);
    let key = world.key().await;
    let alias = format!("alias/{}", key.rsplit('/').next().unwrap());
    world.call(&root, "CreateAlias", json!({"AliasName": alias, "TargetKeyId": key})).await.unwrap();
    world.give(&user("dba"), &[]);
    let grant = json!({"KeyId": key, "GranteePrincipal": user("dba").arn(), "Operations": ["Encrypt"]});
    let granted = world.call(&root, "CreateGrant", grant).await.unwrap();
    let made = world.call(&root, "Encrypt", json!({"KeyId": key, "Plaintext": "eA=="})).await.unwrap();
    let policy = world.call(&root, "GetKeyPolicy", json!({"KeyId": key})).await.unwrap();
    match state {
        "Disabled" => drop(world.call(&root, "DisableKey", json!({"KeyId": key})).await.unwrap()),
        "PendingDeletion" => {
            drop(world.call(&root, "ScheduleKeyDeletion", json!({"KeyId": key})).await.unwrap())
        }
        _ => {}
    }
    let input = match operation {
        "CreateAlias" => json!({"AliasName": format!("{alias}-2"), "TargetKeyId": key}),
        "DeleteAlias" => json!({"AliasName": alias}),
        "CreateGrant" => {
            json!({"KeyId": key, "GranteePrincipal": user("dba").arn(), "Operations": ["Decrypt"]})
        }
        "Decrypt" => json!({"CiphertextBlob": made["CiphertextBlob"]}),
        "Encrypt" => json!({"KeyId": key, "Plaintext": "eA=="}),
        "GenerateDataKey" | "GenerateDataKeyWithoutPlaintext" => json!({"KeyId": key, "KeySpec": "AES_256"}),
        "ReEncrypt" => json!({"CiphertextBlob": made["CiphertextBlob"], "DestinationKeyId": key}),
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
