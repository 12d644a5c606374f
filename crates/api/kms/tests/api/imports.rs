//! Imported material: in, out, again, by time, and to rotate to.

use std::time::Duration;

use aws_lc_rs::{
    key_wrap::{AES_256, AesKek, KeyWrapPadded as _},
    rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use envelope::{PairSpec, PrivateKey};
use ids::Clock as _;
use serde_json::{Value, json};
use wire::Fault;

use crate::world::{OWNER, World, code, expect, refusal, region_of, root, text};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Material for a key of a spec, never the same twice.
pub fn material_for(spec: &str) -> Vec<u8> {
    let pair = |spec| PrivateKey::generate(spec).unwrap().pkcs8().expose().to_vec();
    let mut random = vec![0; 32];
    ids::Entropy::fill(&envelope::SystemEntropy, &mut random);
    match spec {
        "SYMMETRIC_DEFAULT" | "HMAC_256" => random,
        "RSA_2048" => pair(PairSpec::Rsa2048),
        "ECC_NIST_P256" => pair(PairSpec::P256),
        "ML_KEM_768" => pair(PairSpec::MlKem768),
        other => panic!("no material for {other}"),
    }
}

/// Wraps material as one way has it.
fn wrap(algorithm: &str, public_key: &Value, material: &[u8]) -> Value {
    let der = STANDARD.decode(public_key.as_str().unwrap()).unwrap();
    let key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&der).unwrap()).unwrap();
    let oaep = |plain: &[u8]| {
        let mut wrapped = vec![0; key.ciphertext_size()];
        key.encrypt(&OAEP_SHA256_MGF1SHA256, plain, &mut wrapped, None).unwrap();
        wrapped
    };
    let wrapped = if algorithm == "RSAES_OAEP_SHA_256" {
        oaep(material)
    } else {
        let mut wrapped = vec![0; material.len() + 16];
        let kek = AesKek::new(&AES_256, &[5; 32]).unwrap();
        [&oaep(&[5; 32])[..], kek.wrap_with_padding(material, &mut wrapped).unwrap()].concat()
    };
    json!(STANDARD.encode(wrapped))
}

/// The input of an import that would work, with what a test changes in it.
pub async fn import_input(world: &World, key: &str, material: &[u8], more: Value) -> Value {
    let region = region_of(key);
    let told = world.done_in(region, "DescribeKey", json!({"KeyId": key})).await;
    let spec = text(&told["KeyMetadata"], "KeySpec");
    let pair = !spec.starts_with("HMAC") && spec != "SYMMETRIC_DEFAULT";
    let algorithm = if pair { "RSA_AES_KEY_WRAP_SHA_256" } else { "RSAES_OAEP_SHA_256" };
    let asked = json!({"KeyId": key, "WrappingAlgorithm": algorithm, "WrappingKeySpec": "RSA_2048"});
    let parameters = world.done_in(region, "GetParametersForImport", asked).await;
    let mut input = json!({
        "KeyId": key, "ImportToken": parameters["ImportToken"],
        "EncryptedKeyMaterial": wrap(algorithm, &parameters["PublicKey"], material),
        "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
    });
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    input
}

pub async fn import(world: &World, key: &str, material: &[u8], more: Value) -> Result<Value, Fault> {
    let input = import_input(world, key, material, more).await;
    world.call_in(region_of(key), &root(OWNER), "ImportKeyMaterial", input).await
}

async fn external(world: &World) -> String {
    world.key_with(json!({"Origin": "EXTERNAL"})).await
}

async fn described(world: &World, key: &str) -> Value {
    world.call(&root(OWNER), "DescribeKey", json!({"KeyId": key})).await.unwrap()["KeyMetadata"].clone()
}

async fn state(world: &World, key: &str) -> String {
    text(&described(world, key).await, "KeyState").to_owned()
}

async fn encrypt(world: &World, key: &str) -> Result<Value, Fault> {
    world.call(&root(OWNER), "Encrypt", json!({"KeyId": key, "Plaintext": "eA=="})).await
}

#[tokio::test]
async fn a_key_waits_for_its_material_and_comes_back_with_the_same_only() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = external(&world).await;
    let told = described(&world, &key).await;
    assert_eq!((text(&told, "KeyState"), text(&told, "Origin")), ("PendingImport", "EXTERNAL"));
    assert_eq!(told["Enabled"], json!(false));
    assert!(told.get("CurrentKeyMaterialId").is_none() && told.get("ExpirationModel").is_none());
    let waiting = expect("KMSInvalidStateException", format!("{key} is pending import."));
    assert_eq!(refusal(encrypt(&world, &key).await), waiting);
    let material = material_for("SYMMETRIC_DEFAULT");
    let done = import(&world, &key, &material, json!({})).await.unwrap();
    let told = described(&world, &key).await;
    assert_eq!(done, json!({"KeyId": key, "KeyMaterialId": told["CurrentKeyMaterialId"]}));
    assert_eq!(
        (text(&told, "KeyState"), text(&told, "ExpirationModel")),
        ("Enabled", "KEY_MATERIAL_DOES_NOT_EXPIRE")
    );
    let made = encrypt(&world, &key).await.unwrap();
    let open = || world.call(&root, "Decrypt", json!({"CiphertextBlob": made["CiphertextBlob"]}));
    open().await.unwrap();
    let deleted = world.call(&root, "DeleteImportedKeyMaterial", json!({"KeyId": key})).await.unwrap();
    assert_eq!(deleted, done);
    assert_eq!(refusal(open().await), waiting);
    let again = world.call(&root, "DeleteImportedKeyMaterial", json!({"KeyId": key})).await.unwrap();
    assert_eq!(again, json!({"KeyId": key}), "no effect");
    let world = world.restarted().await;
    let other = import(&world, &key, &material_for("SYMMETRIC_DEFAULT"), json!({})).await;
    assert_eq!(code(other), "IncorrectKeyMaterialException");
    assert_eq!(state(&world, &key).await, "PendingImport");
    import(&world, &key, &material, json!({})).await.unwrap();
    let input = json!({"CiphertextBlob": made["CiphertextBlob"]});
    assert_eq!(world.call(&crate::world::root(OWNER), "Decrypt", input).await.unwrap()["Plaintext"], "eA==");
}

#[tokio::test]
async fn material_expires_by_itself_and_the_trail_tells() {
    let world = World::new().await;
    let key = external(&world).await;
    let material = material_for("SYMMETRIC_DEFAULT");
    let at = world.clock.now().plus(HOUR);
    import(&world, &key, &material, json!({"ValidTo": at, "ExpirationModel": "KEY_MATERIAL_EXPIRES"}))
        .await
        .unwrap();
    assert_eq!(described(&world, &key).await["ValidTo"], json!(at));
    world.pass_time(HOUR - Duration::from_millis(1));
    api_kms::run_due(&world.kms, world.clock.now()).await.unwrap();
    assert_eq!(state(&world, &key).await, "Enabled");
    world.pass_time(Duration::from_millis(1));
    api_kms::run_due(&world.kms, world.clock.now()).await.unwrap();
    assert_eq!(state(&world, &key).await, "PendingImport");
    let record = world.records(OWNER).await.into_iter().rfind(|r| r.event_name == "DeleteExpiredKeyMaterial");
    assert_eq!(record.unwrap().resources[0].arn, key);
    let world = world.restarted().await;
    assert_eq!(state(&world, &key).await, "PendingImport");
    import(&world, &key, &material, json!({})).await.unwrap();
    assert!(described(&world, &key).await.get("ValidTo").is_none());
}

#[tokio::test]
async fn the_time_of_expiry_must_be_told_and_be_within_a_year() {
    let world = World::new().await;
    let key = external(&world).await;
    let now = world.clock.now();
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    let expires = "KEY_MATERIAL_EXPIRES";
    for more in [
        json!({"ExpirationModel": expires}),
        json!({"ExpirationModel": expires, "ValidTo": now}),
        json!({"ExpirationModel": expires, "ValidTo": now.plus(year + Duration::from_secs(1))}),
        json!({"ValidTo": now.plus(HOUR)}),
    ] {
        let told = import(&world, &key, &material_for("SYMMETRIC_DEFAULT"), more.clone()).await;
        assert_eq!(code(told), "ValidationException", "{more}");
    }
    assert_eq!(state(&world, &key).await, "PendingImport");
}

#[tokio::test]
async fn tokens_are_for_one_key_and_one_day() {
    let world = World::new().await;
    let root = root(OWNER);
    let (key, other) = (external(&world).await, external(&world).await);
    let material = material_for("SYMMETRIC_DEFAULT");
    let whole = import_input(&world, &key, &material, json!({})).await;
    let with = |member: &str, value: Value| {
        let mut input = whole.clone();
        input[member] = value;
        world.call(&root, "ImportKeyMaterial", input)
    };
    for (member, value, refused) in [
        ("KeyId", json!(other), "InvalidImportTokenException"),
        ("ImportToken", json!("eA=="), "InvalidImportTokenException"),
        ("EncryptedKeyMaterial", json!("eA=="), "InvalidCiphertextException"),
        ("KeyMaterialId", json!("0".repeat(64)), "IncorrectKeyMaterialException"),
    ] {
        assert_eq!(code(with(member, value).await), refused, "{member}");
    }
    let short = import(&world, &key, &material[1..], json!({})).await;
    assert_eq!(code(short), "IncorrectKeyMaterialException");
    world.pass(1);
    assert_eq!(
        code(world.call(&root, "ImportKeyMaterial", whole.clone()).await),
        "ExpiredImportTokenException"
    );
    assert_eq!(state(&world, &key).await, "PendingImport");
    world.clock_back(HOUR);
    world.call(&root, "ImportKeyMaterial", whole).await.unwrap();
}

#[tokio::test]
async fn every_kind_of_key_takes_material_of_its_own_kind() {
    let world = World::new().await;
    let root = root(OWNER);
    for (spec, usage) in [
        ("HMAC_256", "GENERATE_VERIFY_MAC"),
        ("RSA_2048", "SIGN_VERIFY"),
        ("ECC_NIST_P256", "KEY_AGREEMENT"),
        ("ML_KEM_768", "ENCAPSULATE_DECAPSULATE"),
    ] {
        let key = world.key_with(json!({"Origin": "EXTERNAL", "KeySpec": spec, "KeyUsage": usage})).await;
        let wrong = import(&world, &key, &[7; 31], json!({})).await;
        assert_eq!(code(wrong), "IncorrectKeyMaterialException", "{spec}");
        let material = material_for(spec);
        let done = import(&world, &key, &material, json!({})).await.unwrap();
        assert_eq!((done, state(&world, &key).await.as_str()), (json!({"KeyId": key}), "Enabled"));
        let another =
            import(&world, &key, &material_for(spec), json!({"ImportType": "NEW_KEY_MATERIAL"})).await;
        assert_eq!(refusal(another), expect("UnsupportedOperationException", ""), "{spec}");
    }
    // RFC 4231, test case 1, under a key of 32 bytes: the MAC of an imported key can be computed by anybody.
    let key = world
        .key_with(json!({"Origin": "EXTERNAL", "KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}))
        .await;
    import(&world, &key, &[0x0b; 32], json!({})).await.unwrap();
    let input = json!({"KeyId": key, "Message": STANDARD.encode("Hi There"), "MacAlgorithm": "HMAC_SHA_256"});
    let made = world.call(&root, "GenerateMac", input).await.unwrap();
    let outside = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[0x0b; 32]);
    assert_eq!(made["Mac"], json!(STANDARD.encode(aws_lc_rs::hmac::sign(&outside, b"Hi There"))));
}

#[tokio::test]
async fn wrappings_that_do_not_fit_are_refused() {
    let world = World::new().await;
    let root = root(OWNER);
    let symmetric = external(&world).await;
    let rsa = json!({"Origin": "EXTERNAL", "KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"});
    let curve = json!({"Origin": "EXTERNAL", "KeySpec": "ECC_NIST_P521", "KeyUsage": "SIGN_VERIFY"});
    let (rsa, curve) = (world.key_with(rsa).await, world.key_with(curve).await);
    for (key, algorithm, wrapping, refused) in [
        (&symmetric, "RSA_AES_KEY_WRAP_SHA_256", "RSA_2048", "ValidationException"),
        (&rsa, "RSAES_OAEP_SHA_256", "RSA_4096", "ValidationException"),
        (&curve, "RSAES_OAEP_SHA_1", "RSA_2048", "ValidationException"),
        (&symmetric, "RSAES_PKCS1_V1_5", "RSA_2048", "UnsupportedOperationException"),
        (&symmetric, "SM2PKE", "SM2", "UnsupportedOperationException"),
    ] {
        let input = json!({"KeyId": key, "WrappingAlgorithm": algorithm, "WrappingKeySpec": wrapping});
        assert_eq!(code(world.call(&root, "GetParametersForImport", input).await), refused, "{algorithm}");
    }
    let own = world.key().await;
    let text = format!("{own} origin is AWS_KMS which is not valid for this operation.");
    let input =
        json!({"KeyId": own, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"});
    let refused = expect("UnsupportedOperationException", text);
    assert_eq!(refusal(world.call(&root, "GetParametersForImport", input).await), refused);
    let told = world.call(&root, "DeleteImportedKeyMaterial", json!({"KeyId": own})).await;
    assert_eq!(refusal(told), refused);
}

#[tokio::test]
async fn a_new_material_is_imported_then_rotated_to() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = external(&world).await;
    let (first, second) = (material_for("SYMMETRIC_DEFAULT"), material_for("SYMMETRIC_DEFAULT"));
    import(&world, &key, &first, json!({})).await.unwrap();
    let made = encrypt(&world, &key).await.unwrap();
    let rotate = || world.call(&root, "RotateKeyOnDemand", json!({"KeyId": key}));
    let text = format!("No available key material pending rotation for the key: {key}.");
    assert_eq!(refusal(rotate().await), expect("KMSInvalidStateException", text));
    let new = json!({"ImportType": "NEW_KEY_MATERIAL", "KeyMaterialDescription": "of 2026"});
    let waiting = import(&world, &key, &second, new.clone()).await.unwrap();
    let third = import(&world, &key, &material_for("SYMMETRIC_DEFAULT"), new).await;
    assert!(refusal(third).1.contains("is pending rotation."));
    let list = || {
        let all = json!({"KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"});
        world.call(&root, "ListKeyRotations", all)
    };
    let states = |listed: Value| -> Vec<Value> {
        listed["Rotations"].as_array().unwrap().iter().map(|r| r["KeyMaterialState"].clone()).collect()
    };
    assert_eq!(states(list().await.unwrap()), [json!("CURRENT"), json!("PENDING_ROTATION")]);
    rotate().await.unwrap();
    let listed = list().await.unwrap();
    assert_eq!(listed["Rotations"][1]["KeyMaterialDescription"], "of 2026");
    assert_eq!(listed["Rotations"][1]["ImportState"], "IMPORTED");
    assert_eq!(states(listed), [json!("NON_CURRENT"), json!("CURRENT")]);
    assert_eq!(described(&world, &key).await["CurrentKeyMaterialId"], waiting["KeyMaterialId"]);
    let open = json!({"CiphertextBlob": made["CiphertextBlob"]});
    world.call(&root, "Decrypt", open.clone()).await.unwrap();
    let event = world.records(OWNER).await.into_iter().rfind(|r| r.event_name == "RotateKey").unwrap();
    assert_eq!(event.service_event_details.unwrap()["keyOrigin"], "EXTERNAL");
    // Every material of a key is needed.
    let old = described(&world, &key).await["CurrentKeyMaterialId"].clone();
    world
        .call(&root, "DeleteImportedKeyMaterial", json!({"KeyId": key, "KeyMaterialId": old}))
        .await
        .unwrap();
    assert_eq!(code(world.call(&root, "Decrypt", open.clone()).await), "KMSInvalidStateException");
    import(&world, &key, &second, json!({})).await.unwrap();
    world.call(&root, "Decrypt", open).await.unwrap();
}

#[tokio::test]
async fn neither_token_nor_material_is_recorded() {
    let world = World::new().await;
    let key = external(&world).await;
    let input = import_input(&world, &key, &material_for("SYMMETRIC_DEFAULT"), json!({})).await;
    let done = world.call(&root(OWNER), "ImportKeyMaterial", input.clone()).await.unwrap();
    for record in world.records(OWNER).await {
        let told = serde_json::to_string(&record).unwrap();
        for secret in ["ImportToken", "EncryptedKeyMaterial"] {
            assert!(!told.contains(text(&input, secret)), "{told}");
        }
    }
    let record = world.last_record(OWNER).await;
    assert_eq!(
        record.response_elements.unwrap(),
        json!({"keyId": key, "keyMaterialId": done["KeyMaterialId"]})
    );
}
