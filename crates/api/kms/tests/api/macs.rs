//! Keys for MACs.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::world::{OWNER, World, allow, code, expect, refusal, root, text, user};

const LENGTHS: [(u32, usize); 4] = [(224, 28), (256, 32), (384, 48), (512, 64)];

async fn mac_key(world: &World, bits: u32) -> String {
    world.key_with(json!({"KeySpec": format!("HMAC_{bits}"), "KeyUsage": "GENERATE_VERIFY_MAC"})).await
}

fn input(key: &str, bits: u32) -> Value {
    json!({"KeyId": key, "Message": "bWVzc2FnZQ==", "MacAlgorithm": format!("HMAC_SHA_{bits}")})
}

fn with(mut input: Value, member: &str, value: Value) -> Value {
    input[member] = value;
    input
}

#[tokio::test]
async fn a_code_is_verified_by_the_key_that_made_it_and_by_no_other() {
    let world = World::new().await;
    let root = root(OWNER);
    for (bits, length) in LENGTHS {
        let (key, other) = (mac_key(&world, bits).await, mac_key(&world, bits).await);
        let made = world.call(&root, "GenerateMac", input(&key, bits)).await.unwrap();
        let mac = STANDARD.decode(text(&made, "Mac")).unwrap();
        assert_eq!((text(&made, "KeyId"), mac.len()), (key.as_str(), length));
        let verified =
            world.call(&root, "VerifyMac", with(input(&key, bits), "Mac", made["Mac"].clone())).await;
        let algorithm = format!("HMAC_SHA_{bits}");
        assert_eq!(verified.unwrap(), json!({"KeyId": key, "MacAlgorithm": algorithm, "MacValid": true}));
        let wrong = expect("KMSInvalidMacException", "");
        let mut changed = mac.clone();
        changed[length - 1] ^= 1;
        for (key, mac) in [(&other, &mac[..]), (&key, &changed), (&key, &mac[..length - 1])] {
            let input = with(input(key, bits), "Mac", json!(STANDARD.encode(mac)));
            assert_eq!(refusal(world.call(&root, "VerifyMac", input).await), wrong);
        }
        let input = with(with(input(&key, bits), "Mac", made["Mac"].clone()), "Message", json!("eA=="));
        assert_eq!(refusal(world.call(&root, "VerifyMac", input).await), wrong, "another message");
    }
}

#[tokio::test]
async fn a_key_for_macs_is_described_and_does_nothing_else() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = mac_key(&world, 224).await;
    let told = world.call(&root, "DescribeKey", json!({"KeyId": key})).await.unwrap()["KeyMetadata"].clone();
    assert_eq!(
        (text(&told, "KeySpec"), text(&told, "CustomerMasterKeySpec"), text(&told, "KeyUsage")),
        ("HMAC_224", "HMAC_224", "GENERATE_VERIFY_MAC")
    );
    assert_eq!(told["MacAlgorithms"], json!(["HMAC_SHA_224"]));
    assert!(told.get("EncryptionAlgorithms").is_none() && told.get("CurrentKeyMaterialId").is_none());
    let refused = |operation: &str| {
        let text = format!("{key} key usage is GENERATE_VERIFY_MAC which is not valid for {operation}.");
        expect("InvalidKeyUsageException", text)
    };
    for (operation, input) in [
        ("Encrypt", json!({"KeyId": key, "Plaintext": "eA=="})),
        ("GenerateDataKey", json!({"KeyId": key, "KeySpec": "AES_256"})),
        ("GenerateDataKeyWithoutPlaintext", json!({"KeyId": key, "KeySpec": "AES_256"})),
        ("Decrypt", json!({"KeyId": key, "CiphertextBlob": "eA=="})),
    ] {
        assert_eq!(refusal(world.call(&root, operation, input).await), refused(operation));
    }
    let other = refusal(world.call(&root, "GenerateMac", input(&key, 256)).await);
    let text = "Algorithm HMAC_SHA_256 is incompatible with key spec HMAC_224.";
    assert_eq!(other, expect("InvalidKeyUsageException", text));
    for operation in [
        "EnableKeyRotation",
        "DisableKeyRotation",
        "RotateKeyOnDemand",
        "GetKeyRotationStatus",
        "ListKeyRotations",
    ] {
        let told = refusal(world.call(&root, operation, json!({"KeyId": key})).await);
        assert_eq!(told, expect("UnsupportedOperationException", ""), "{operation}");
    }
    let symmetric = world.key().await;
    let made = world.call(&root, "Encrypt", json!({"KeyId": symmetric, "Plaintext": "eA=="})).await.unwrap();
    let text = "The key ID in the request does not identify a CMK that can perform this operation.";
    let with_mac_key = json!({"KeyId": key, "CiphertextBlob": made["CiphertextBlob"]});
    assert_eq!(
        refusal(world.call(&root, "Decrypt", with_mac_key).await),
        expect("IncorrectKeyException", text)
    );
    let told = refusal(world.call(&root, "GenerateMac", input(&symmetric, 256)).await);
    let text = format!("{symmetric} key usage is ENCRYPT_DECRYPT which is not valid for GenerateMac.");
    assert_eq!(told, expect("InvalidKeyUsageException", text));
}

#[tokio::test]
async fn a_grant_on_a_key_for_macs_holds_what_such_a_key_does() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = mac_key(&world, 256).await;
    let dba = user("dba");
    world.give(&dba, &[]);
    let grant =
        |operations: Value| json!({"KeyId": key, "GranteePrincipal": dba.arn(), "Operations": operations});
    assert_eq!(
        code(world.call(&root, "CreateGrant", grant(json!(["Encrypt"]))).await),
        "ValidationException"
    );
    let constrained =
        with(grant(json!(["GenerateMac"])), "Constraints", json!({"EncryptionContextSubset": {"a": "b"}}));
    assert_eq!(code(world.call(&root, "CreateGrant", constrained).await), "ValidationException");
    let denied = world.call(&dba, "GenerateMac", input(&key, 256)).await;
    assert_eq!(code(denied), "AccessDeniedException");
    world.call(&root, "CreateGrant", grant(json!(["GenerateMac"]))).await.unwrap();
    let made = world.call(&dba, "GenerateMac", input(&key, 256)).await.unwrap();
    let verify = with(input(&key, 256), "Mac", made["Mac"].clone());
    assert_eq!(code(world.call(&dba, "VerifyMac", verify).await), "AccessDeniedException");
}

#[tokio::test]
async fn a_policy_can_name_the_algorithm_of_a_mac() {
    let world = World::new().await;
    let (short, long) = (mac_key(&world, 256).await, mac_key(&world, 512).await);
    let dba = user("dba");
    let mut policy = allow(json!("kms:GenerateMac"), "*");
    policy["Statement"][0]["Condition"] = json!({"StringEquals": {"kms:MacAlgorithm": "HMAC_SHA_512"}});
    world.give(&dba, &[policy]);
    world.call(&dba, "GenerateMac", input(&long, 512)).await.unwrap();
    assert_eq!(code(world.call(&dba, "GenerateMac", input(&short, 256)).await), "AccessDeniedException");
}

#[tokio::test]
async fn a_key_for_macs_is_the_same_after_a_restart() {
    let world = World::new().await;
    let key = mac_key(&world, 384).await;
    let made = world.call(&root(OWNER), "GenerateMac", input(&key, 384)).await.unwrap();
    let world = world.restarted().await;
    assert_eq!(world.call(&root(OWNER), "GenerateMac", input(&key, 384)).await.unwrap(), made);
}

#[tokio::test]
async fn an_alias_stays_with_keys_of_one_kind() {
    let world = World::new().await;
    let root = root(OWNER);
    let (short, long, symmetric) =
        (mac_key(&world, 256).await, mac_key(&world, 512).await, world.key().await);
    let target = |key: &str| json!({"AliasName": "alias/a", "TargetKeyId": key});
    world.call(&root, "CreateAlias", target(&short)).await.unwrap();
    world.call(&root, "UpdateAlias", target(&long)).await.unwrap();
    assert_eq!(code(world.call(&root, "UpdateAlias", target(&symmetric)).await), "ValidationException");
}
