//! Pairs of keys: signatures, encryption, key agreement, encapsulation, data key pairs.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::world::{OWNER, World, allow, code, expect, refusal, root, text, user};

fn blob(bytes: &[u8]) -> Value {
    json!(STANDARD.encode(bytes))
}

fn bytes(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

async fn pair(world: &World, spec: &str, usage: &str) -> String {
    world.key_with(json!({"KeySpec": spec, "KeyUsage": usage})).await
}

fn to_sign(key: &str, algorithm: &str, kind: &str, message: &[u8]) -> Value {
    json!({"KeyId": key, "SigningAlgorithm": algorithm, "MessageType": kind, "Message": blob(message)})
}

const RSA: [&str; 6] = [
    "RSASSA_PKCS1_V1_5_SHA_256",
    "RSASSA_PKCS1_V1_5_SHA_384",
    "RSASSA_PKCS1_V1_5_SHA_512",
    "RSASSA_PSS_SHA_256",
    "RSASSA_PSS_SHA_384",
    "RSASSA_PSS_SHA_512",
];

/// Specs that sign with their algorithms: for each the kind of a message, and bytes that are one.
fn signers() -> Vec<(&'static str, &'static [&'static str], &'static str, usize)> {
    vec![
        ("RSA_2048", &RSA, "RAW", 100),
        ("ECC_NIST_P256", &["ECDSA_SHA_256"], "DIGEST", 32),
        ("ECC_NIST_P384", &["ECDSA_SHA_384"], "DIGEST", 48),
        ("ECC_NIST_P521", &["ECDSA_SHA_512"], "DIGEST", 64),
        ("ECC_SECG_P256K1", &["ECDSA_SHA_256"], "DIGEST", 32),
        ("ECC_NIST_EDWARDS25519", &["ED25519_SHA_512"], "RAW", 4096),
        ("ECC_NIST_EDWARDS25519", &["ED25519_PH_SHA_512"], "DIGEST", 64),
        ("ML_DSA_44", &["ML_DSA_SHAKE_256"], "RAW", 1),
        ("ML_DSA_65", &["ML_DSA_SHAKE_256"], "EXTERNAL_MU", 64),
        ("ML_DSA_87", &["ML_DSA_SHAKE_256"], "EXTERNAL_MU", 64),
    ]
}

#[tokio::test]
async fn every_key_that_signs_verifies_its_own_signatures_only() {
    let world = World::new().await;
    let root = root(OWNER);
    for (spec, algorithms, kind, length) in signers() {
        let key = pair(&world, spec, "SIGN_VERIFY").await;
        let told = world.call(&root, "DescribeKey", json!({"KeyId": key})).await.unwrap();
        assert!(told["KeyMetadata"]["SigningAlgorithms"].as_array().unwrap().contains(&json!(algorithms[0])));
        assert!(told["KeyMetadata"].get("CurrentKeyMaterialId").is_none());
        for algorithm in algorithms {
            let input = to_sign(&key, algorithm, kind, &vec![7; length]);
            let made = world.call(&root, "Sign", input.clone()).await.unwrap();
            assert_eq!((text(&made, "KeyId"), text(&made, "SigningAlgorithm")), (key.as_str(), *algorithm));
            let verify = |mut input: Value, signature: Value| {
                input["Signature"] = signature;
                world.call(&root, "Verify", input)
            };
            let verified = verify(input.clone(), made["Signature"].clone()).await.unwrap();
            assert_eq!(
                verified,
                json!({"KeyId": key, "SigningAlgorithm": algorithm, "SignatureValid": true})
            );
            let other = to_sign(&key, algorithm, kind, &vec![8; length]);
            let wrong = expect("KMSInvalidSignatureException", "");
            assert_eq!(refusal(verify(other, made["Signature"].clone()).await), wrong, "{spec}");
            assert_eq!(refusal(verify(input, blob(b"no signature")).await), wrong, "{spec}");
        }
    }
}

#[tokio::test]
async fn messages_that_an_algorithm_does_not_take_are_refused() {
    let world = World::new().await;
    let root = root(OWNER);
    let curve = pair(&world, "ECC_NIST_P256", "SIGN_VERIFY").await;
    let edwards = pair(&world, "ECC_NIST_EDWARDS25519", "SIGN_VERIFY").await;
    let kind = |kind: &str, algorithm: &str| {
        expect("ValidationException", format!("MessageType {kind} is not valid for algorithm {algorithm}."))
    };
    let length = expect("ValidationException", "Digest is invalid length for algorithm ECDSA_SHA_256.");
    let algorithm = expect(
        "InvalidKeyUsageException",
        "Algorithm ECDSA_SHA_384 is incompatible with key spec ECC_NIST_P256.",
    );
    for (input, refused) in [
        (to_sign(&curve, "ECDSA_SHA_256", "DIGEST", &[7; 31]), length),
        (to_sign(&curve, "ECDSA_SHA_384", "RAW", b"x"), algorithm),
        (to_sign(&curve, "ECDSA_SHA_256", "EXTERNAL_MU", &[7; 64]), kind("EXTERNAL_MU", "ECDSA_SHA_256")),
        (to_sign(&edwards, "ED25519_SHA_512", "DIGEST", &[7; 64]), kind("DIGEST", "ED25519_SHA_512")),
        (to_sign(&edwards, "ED25519_PH_SHA_512", "RAW", &[7; 64]), kind("RAW", "ED25519_PH_SHA_512")),
    ] {
        assert_eq!(refusal(world.call(&root, "Sign", input.clone()).await), refused, "{input}");
        let mut verify = input;
        verify["Signature"] = blob(b"x");
        assert_eq!(refusal(world.call(&root, "Verify", verify).await), refused);
    }
}

#[tokio::test]
async fn rsa_encrypts_as_much_as_fits_and_opens_it_again() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = pair(&world, "RSA_2048", "ENCRYPT_DECRYPT").await;
    for (algorithm, longest) in [("RSAES_OAEP_SHA_1", 214), ("RSAES_OAEP_SHA_256", 190)] {
        let input = |length| json!({"KeyId": key, "Plaintext": blob(&vec![7; length]), "EncryptionAlgorithm": algorithm});
        let made = world.call(&root, "Encrypt", input(longest)).await.unwrap();
        let open = |algorithm: &str| {
            let blob = &made["CiphertextBlob"];
            json!({"KeyId": key, "CiphertextBlob": blob, "EncryptionAlgorithm": algorithm})
        };
        let opened = world.call(&root, "Decrypt", open(algorithm)).await.unwrap();
        let plaintext = blob(&vec![7; longest]);
        assert_eq!(opened, json!({"KeyId": key, "Plaintext": plaintext, "EncryptionAlgorithm": algorithm}));
        let other = if longest == 190 { "RSAES_OAEP_SHA_1" } else { "RSAES_OAEP_SHA_256" };
        let told = refusal(world.call(&root, "Decrypt", open(other)).await);
        assert_eq!(told, expect("InvalidCiphertextException", ""));
        let text = format!(
            "Algorithm {algorithm} and key spec RSA_2048 cannot encrypt data larger than {longest} bytes."
        );
        let told = refusal(world.call(&root, "Encrypt", input(longest + 1)).await);
        assert_eq!(told, expect("ValidationException", text));
        let mut with_context = input(1);
        with_context["EncryptionContext"] = json!({"a": "b"});
        assert_eq!(code(world.call(&root, "Encrypt", with_context).await), "ValidationException");
    }
    let text = "Algorithm SYMMETRIC_DEFAULT is incompatible with key spec RSA_2048.";
    let told = refusal(world.call(&root, "Encrypt", json!({"KeyId": key, "Plaintext": "eA=="})).await);
    assert_eq!(told, expect("InvalidKeyUsageException", text));
    let usage = format!("{key} key usage is ENCRYPT_DECRYPT which is not valid for GenerateDataKey.");
    let told =
        refusal(world.call(&root, "GenerateDataKey", json!({"KeyId": key, "KeySpec": "AES_128"})).await);
    assert_eq!(told, expect("InvalidKeyUsageException", usage));
    let symmetric = world.key().await;
    let sealed =
        world.call(&root, "Encrypt", json!({"KeyId": symmetric, "Plaintext": "eA=="})).await.unwrap();
    let told =
        world.call(&root, "Decrypt", json!({"KeyId": key, "CiphertextBlob": sealed["CiphertextBlob"]}));
    assert_eq!(code(told.await), "IncorrectKeyException");
    // From one kind of key to the other, and back.
    let there = json!({
        "CiphertextBlob": sealed["CiphertextBlob"], "DestinationKeyId": key,
        "DestinationEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
    });
    let there = world.call(&root, "ReEncrypt", there).await.unwrap();
    assert!(there.get("DestinationKeyMaterialId").is_none() && there.get("SourceKeyMaterialId").is_some());
    let back = json!({
        "CiphertextBlob": there["CiphertextBlob"], "SourceKeyId": key, "DestinationKeyId": symmetric,
        "SourceEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "DestinationEncryptionContext": {"a": "b"},
    });
    let back = world.call(&root, "ReEncrypt", back).await.unwrap();
    let open = json!({"CiphertextBlob": back["CiphertextBlob"], "EncryptionContext": {"a": "b"}});
    assert_eq!(world.call(&root, "Decrypt", open).await.unwrap()["Plaintext"], "eA==");
}

#[tokio::test]
async fn two_keys_agree_on_a_secret() {
    let world = World::new().await;
    let root = root(OWNER);
    let (ours, theirs) = (
        pair(&world, "ECC_NIST_P384", "KEY_AGREEMENT").await,
        pair(&world, "ECC_NIST_P384", "KEY_AGREEMENT").await,
    );
    let public = |key: &str| world.call(&root, "GetPublicKey", json!({"KeyId": key}));
    let derive = |key: &str, public: &Value| {
        let input = json!({"KeyId": key, "KeyAgreementAlgorithm": "ECDH", "PublicKey": public});
        world.call(&root, "DeriveSharedSecret", input)
    };
    let (our_public, their_public) = (public(&ours).await.unwrap(), public(&theirs).await.unwrap());
    assert_eq!(our_public["KeyAgreementAlgorithms"], json!(["ECDH"]));
    let secret = derive(&ours, &their_public["PublicKey"]).await.unwrap();
    assert_eq!(bytes(&secret["SharedSecret"]).len(), 48);
    assert_eq!((text(&secret, "KeyId"), text(&secret, "KeyOrigin")), (ours.as_str(), "AWS_KMS"));
    let same = derive(&theirs, &our_public["PublicKey"]).await.unwrap();
    assert_eq!(secret["SharedSecret"], same["SharedSecret"]);
    let other = pair(&world, "ECC_NIST_P256", "KEY_AGREEMENT").await;
    let other = public(&other).await.unwrap();
    for bad in [&other["PublicKey"], &blob(b"no key")] {
        assert_eq!(code(derive(&ours, bad).await), "ValidationException");
    }
    let signer = pair(&world, "ECC_NIST_P384", "SIGN_VERIFY").await;
    let usage = format!("{signer} key usage is SIGN_VERIFY which is not valid for DeriveSharedSecret.");
    let told = refusal(derive(&signer, &our_public["PublicKey"]).await);
    assert_eq!(told, expect("InvalidKeyUsageException", usage));
}

#[tokio::test]
async fn a_secret_is_encapsulated_for_a_key() {
    let world = World::new().await;
    let root = root(OWNER);
    for spec in ["ML_KEM_512", "ML_KEM_768", "ML_KEM_1024"] {
        let key = pair(&world, spec, "ENCAPSULATE_DECAPSULATE").await;
        let made = json!({"KeyId": key, "EncapsulationAlgorithm": "ML_KEM"});
        let made = world.call(&root, "Encapsulate", made).await.unwrap();
        let open = |blob: &Value| json!({"KeyId": key, "EncapsulationAlgorithm": "ML_KEM", "SharedSecretCiphertextBlob": blob});
        let opened =
            world.call(&root, "Decapsulate", open(&made["SharedSecretCiphertextBlob"])).await.unwrap();
        assert_eq!(opened["SharedSecret"], made["SharedSecret"]);
        let told = refusal(world.call(&root, "Decapsulate", open(&blob(b"short"))).await);
        assert_eq!(told, expect("InvalidCiphertextException", ""));
        let public = world.call(&root, "GetPublicKey", json!({"KeyId": key})).await.unwrap();
        assert_eq!(public["EncapsulationAlgorithms"], json!(["ML_KEM"]));
    }
}

#[tokio::test]
async fn data_key_pairs_come_wrapped_and_in_the_clear() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = world.key().await;
    for spec in [
        "RSA_2048",
        "ECC_NIST_P256",
        "ECC_NIST_P384",
        "ECC_NIST_P521",
        "ECC_SECG_P256K1",
        "ECC_NIST_EDWARDS25519",
        "ML_KEM_1024",
    ] {
        let input = json!({"KeyId": key, "KeyPairSpec": spec, "EncryptionContext": {"a": "b"}});
        let made = world.call(&root, "GenerateDataKeyPair", input.clone()).await.unwrap();
        let open = |context: Value| {
            let blob = &made["PrivateKeyCiphertextBlob"];
            world.call(&root, "Decrypt", json!({"CiphertextBlob": blob, "EncryptionContext": context}))
        };
        assert_eq!(
            open(json!({"a": "b"})).await.unwrap()["Plaintext"],
            made["PrivateKeyPlaintext"],
            "{spec}"
        );
        assert_eq!(code(open(json!({})).await), "InvalidCiphertextException");
        let sealed = world.call(&root, "GenerateDataKeyPairWithoutPlaintext", input).await.unwrap();
        assert_ne!(sealed["PublicKey"], made["PublicKey"]);
        assert!(sealed.get("PrivateKeyPlaintext").is_none());
        assert_eq!((text(&sealed, "KeyPairSpec"), text(&sealed, "KeyId")), (spec, key.as_str()));
    }
    let sm2 = json!({"KeyId": key, "KeyPairSpec": "SM2"});
    let told = refusal(world.call(&root, "GenerateDataKeyPair", sm2).await);
    assert_eq!(
        told,
        expect("UnsupportedOperationException", "KeyPairSpec SM2 is not supported in this Region.")
    );
    let signer = pair(&world, "ECC_NIST_P256", "SIGN_VERIFY").await;
    let usage = format!("{signer} key usage is SIGN_VERIFY which is not valid for GenerateDataKeyPair.");
    let input = json!({"KeyId": signer, "KeyPairSpec": "ECC_NIST_P256"});
    let told = refusal(world.call(&root, "GenerateDataKeyPair", input).await);
    assert_eq!(told, expect("InvalidKeyUsageException", usage));
}

#[tokio::test]
async fn only_pairs_have_a_public_key() {
    let world = World::new().await;
    let symmetric = world.key().await;
    let told = refusal(world.call(&root(OWNER), "GetPublicKey", json!({"KeyId": symmetric})).await);
    let text = format!("{symmetric} key spec is SYMMETRIC_DEFAULT which is not valid for this operation.");
    assert_eq!(told, expect("UnsupportedOperationException", text));
}

#[tokio::test]
async fn policies_can_name_what_is_signed_and_how() {
    let world = World::new().await;
    let key = pair(&world, "ECC_NIST_P256", "SIGN_VERIFY").await;
    let dba = user("dba");
    let mut policy = allow(json!(["kms:Sign", "kms:GenerateDataKeyPair"]), "*");
    policy["Statement"][0]["Condition"] = json!({"StringEqualsIfExists": {
        "kms:MessageType": "DIGEST", "kms:SigningAlgorithm": "ECDSA_SHA_256", "kms:DataKeyPairSpec": "ECC_NIST_P256",
    }});
    world.give(&dba, &[policy]);
    let digest = to_sign(&key, "ECDSA_SHA_256", "DIGEST", &[7; 32]);
    world.call(&dba, "Sign", digest).await.unwrap();
    let raw = json!({"KeyId": key, "SigningAlgorithm": "ECDSA_SHA_256", "Message": "eA=="});
    assert_eq!(code(world.call(&dba, "Sign", raw).await), "AccessDeniedException");
    let wrapping = world.key().await;
    let pair = |spec: &str| json!({"KeyId": wrapping, "KeyPairSpec": spec});
    world.call(&dba, "GenerateDataKeyPair", pair("ECC_NIST_P256")).await.unwrap();
    let denied = world.call(&dba, "GenerateDataKeyPair", pair("ECC_NIST_P384")).await;
    assert_eq!(code(denied), "AccessDeniedException");
}

#[tokio::test]
async fn pairs_are_the_same_after_a_restart() {
    let world = World::new().await;
    let mut before = Vec::new();
    for (spec, usage) in [
        ("RSA_2048", "SIGN_VERIFY"),
        ("ECC_SECG_P256K1", "SIGN_VERIFY"),
        ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"),
        ("ML_DSA_65", "SIGN_VERIFY"),
        ("ML_KEM_768", "ENCAPSULATE_DECAPSULATE"),
    ] {
        let key = pair(&world, spec, usage).await;
        before.push(world.call(&root(OWNER), "GetPublicKey", json!({"KeyId": key})).await.unwrap());
    }
    let world = world.restarted().await;
    for told in before {
        let again = world.call(&root(OWNER), "GetPublicKey", json!({"KeyId": told["KeyId"]})).await.unwrap();
        assert_eq!(again, told);
    }
}
