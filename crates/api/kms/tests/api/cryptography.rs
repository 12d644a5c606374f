//! Encrypt, Decrypt, ReEncrypt, data keys and random bytes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::world::{OTHER, OWNER, World, allow, code, expect, key_policy, refusal, root, text, user};

fn blob(bytes: &[u8]) -> Value {
    json!(STANDARD.encode(bytes))
}

fn length(value: &Value) -> usize {
    STANDARD.decode(value.as_str().unwrap()).unwrap().len()
}

#[tokio::test]
async fn what_was_encrypted_opens_with_the_same_context_only() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = world.key().await;
    let context = json!({"aws:rds:db-id": "db-1", "aws:ebs:id": "vol-1"});
    let input = json!({"KeyId": key, "Plaintext": blob(b"secret"), "EncryptionContext": context});
    let made = world.call(&root, "Encrypt", input).await.unwrap();
    assert_eq!(
        (text(&made, "KeyId"), text(&made, "EncryptionAlgorithm")),
        (key.as_str(), "SYMMETRIC_DEFAULT")
    );
    assert!(made.get("KeyMaterialId").is_none());
    let open = |context: Value| {
        let input = json!({"CiphertextBlob": made["CiphertextBlob"], "EncryptionContext": context});
        world.call(&root, "Decrypt", input)
    };
    let opened = open(json!({"aws:ebs:id": "vol-1", "aws:rds:db-id": "db-1"})).await.unwrap();
    let told = world.call(&root, "DescribeKey", json!({"KeyId": key})).await.unwrap();
    assert_eq!(
        opened,
        json!({"KeyId": key, "Plaintext": blob(b"secret"), "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
               "KeyMaterialId": told["KeyMetadata"]["CurrentKeyMaterialId"]})
    );
    for other in [
        json!({}),
        json!({"aws:rds:db-id": "db-1"}),
        json!({"aws:rds:db-id": "db-1", "aws:ebs:id": "vol-1", "x": "y"}),
        json!({"aws:rds:DB-id": "db-1", "aws:ebs:id": "vol-1"}),
        json!({"aws:rds:db-id": "db-2", "aws:ebs:id": "vol-1"}),
    ] {
        let refused = expect("InvalidCiphertextException", "");
        assert_eq!(refusal(open(other.clone()).await), refused, "{other}");
    }
    let none = json!({"KeyId": key, "Plaintext": blob(b"x")});
    let made = world.call(&root, "Encrypt", none).await.unwrap();
    let empty = json!({"CiphertextBlob": made["CiphertextBlob"], "EncryptionContext": {}});
    assert!(world.call(&root, "Decrypt", empty).await.is_ok(), "no context is the empty one");
}

#[tokio::test]
async fn a_ciphertext_finds_its_key_and_no_other_key_opens_it() {
    let world = World::new().await;
    let root = root(OWNER);
    let (key, other) = (world.key().await, world.key().await);
    world.call(&root, "CreateAlias", json!({"AliasName": "alias/k", "TargetKeyId": key})).await.unwrap();
    let made =
        world.call(&root, "Encrypt", json!({"KeyId": "alias/k", "Plaintext": blob(b"x")})).await.unwrap();
    let open = |name: &str| {
        world.call(&root, "Decrypt", json!({"CiphertextBlob": made["CiphertextBlob"], "KeyId": name}))
    };
    for name in [key.as_str(), "alias/k", key.rsplit('/').next().unwrap()] {
        assert_eq!(open(name).await.unwrap()["KeyId"], json!(key), "{name}");
    }
    let text = "The key ID in the request does not identify a CMK that can perform this operation.";
    assert_eq!(refusal(open(&other).await), expect("IncorrectKeyException", text));
    let no_blob = json!({"CiphertextBlob": blob(b"no ciphertext"), "KeyId": key});
    assert_eq!(
        refusal(world.call(&root, "Decrypt", no_blob).await),
        expect("InvalidCiphertextException", "")
    );
    let no_blob = json!({"CiphertextBlob": blob(b"no ciphertext")});
    assert_eq!(
        refusal(world.call(&root, "Decrypt", no_blob).await),
        expect("InvalidCiphertextException", "")
    );
    let missing = refusal(world.call(&root, "Decrypt", json!({"KeyId": key})).await);
    assert!(missing.1.contains("Value null at 'ciphertextBlob'"), "{missing:?}");
}

#[tokio::test]
async fn the_ciphertext_of_a_key_that_is_gone_forbidden_or_elsewhere_is_refused_alike() {
    let world = World::new().await;
    let key = world.key().await;
    let made =
        world.call(&root(OWNER), "Encrypt", json!({"KeyId": key, "Plaintext": blob(b"x")})).await.unwrap();
    let input = json!({"CiphertextBlob": made["CiphertextBlob"]});
    let refused = |who: &str| {
        expect(
            "AccessDeniedException",
            format!(
                "User: {who} is not authorized to perform: kms:Decrypt on the resource associated with this ciphertext \
                 because the resource does not exist in this Region, no resource-based policies allow access, or a \
                 resource-based policy explicitly denies access"
            ),
        )
    };
    let stranger = world.stranger();
    assert_eq!(refusal(world.call(&stranger, "Decrypt", input.clone()).await), refused(&stranger.arn()));
    let foreign = user("nobody");
    assert_eq!(
        refusal(world.call(&root(OTHER), "Decrypt", input.clone()).await),
        refused(&root(OTHER).arn())
    );
    assert_eq!(refusal(world.call(&foreign, "Decrypt", input.clone()).await), refused(&foreign.arn()));
    let mut elsewhere = world.begin(&root(OWNER));
    elsewhere.region = "eu-west-1".parse().unwrap();
    assert_eq!(refusal(world.run(&elsewhere, "Decrypt", input.clone()).await), refused(&root(OWNER).arn()));
    let schedule = json!({"KeyId": key, "PendingWindowInDays": 7});
    world.call(&root(OWNER), "ScheduleKeyDeletion", schedule).await.unwrap();
    world.pass(7);
    api_kms::run_due(&world.kms, ids::Clock::now(&*world.clock)).await.unwrap();
    assert_eq!(refusal(world.call(&root(OWNER), "Decrypt", input).await), refused(&root(OWNER).arn()));
}

#[tokio::test]
async fn every_changed_or_missing_byte_of_a_ciphertext_is_noticed() {
    let world = World::new().await;
    let key = world.key().await;
    let made =
        world.call(&root(OWNER), "Encrypt", json!({"KeyId": key, "Plaintext": blob(b"x")})).await.unwrap();
    let whole = STANDARD.decode(text(&made, "CiphertextBlob")).unwrap();
    let open = |bytes: &[u8], named: bool| {
        let mut input = json!({"CiphertextBlob": blob(bytes)});
        if named {
            input["KeyId"] = json!(key);
        }
        input
    };
    // What is changed in the name of the key leads to another key, or to none.
    let expected = ["InvalidCiphertextException", "AccessDeniedException", "IncorrectKeyException"];
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        for (bytes, named) in [(&changed[..], false), (&changed, true), (&whole[..at.max(1)], false)] {
            let told = code(world.call(&root(OWNER), "Decrypt", open(bytes, named)).await);
            assert!(expected[..if named { 3 } else { 2 }].contains(&told.as_str()), "byte {at}: {told}");
        }
    }
}

#[tokio::test]
async fn data_keys_come_in_three_lengths_wrapped_and_in_the_clear() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = world.key().await;
    for (wanted, bytes) in [
        (json!({"KeySpec": "AES_128"}), 16),
        (json!({"KeySpec": "AES_256"}), 32),
        (json!({"NumberOfBytes": 1024}), 1024),
        (json!({"NumberOfBytes": 1}), 1),
    ] {
        let mut input = wanted.clone();
        input["KeyId"] = json!(key);
        input["EncryptionContext"] = json!({"a": "1"});
        let made = world.call(&root, "GenerateDataKey", input.clone()).await.unwrap();
        assert_eq!(length(&made["Plaintext"]), bytes, "{wanted}");
        let open = |blob: &Value| json!({"CiphertextBlob": blob, "EncryptionContext": {"a": "1"}});
        let opened = world.call(&root, "Decrypt", open(&made["CiphertextBlob"])).await.unwrap();
        assert_eq!(opened["Plaintext"], made["Plaintext"]);
        assert_eq!(opened["KeyMaterialId"], made["KeyMaterialId"]);
        let hidden = world.call(&root, "GenerateDataKeyWithoutPlaintext", input).await.unwrap();
        assert!(hidden.get("Plaintext").is_none());
        assert_eq!(text(&hidden, "KeyId"), key);
        let opened = world.call(&root, "Decrypt", open(&hidden["CiphertextBlob"])).await.unwrap();
        assert_eq!(length(&opened["Plaintext"]), bytes);
    }
    for wanted in [json!({"KeyId": key}), json!({"KeyId": key, "KeySpec": "AES_256", "NumberOfBytes": 32})] {
        for operation in ["GenerateDataKey", "GenerateDataKeyWithoutPlaintext"] {
            let refused = expect("ValidationException", "Please specify either number of bytes or key spec.");
            assert_eq!(refusal(world.call(&root, operation, wanted.clone()).await), refused);
        }
    }
    let enclave = json!({"KeyId": key, "KeySpec": "AES_256", "Recipient": {}});
    assert_eq!(code(world.call(&root, "GenerateDataKey", enclave).await), "UnsupportedOperationException");
}

#[tokio::test]
async fn re_encryption_moves_a_ciphertext_to_another_key_and_context() {
    let world = World::new().await;
    let root = root(OWNER);
    let (from, to) = (world.key().await, world.key().await);
    let input = json!({"KeyId": from, "Plaintext": blob(b"secret"), "EncryptionContext": {"a": "1"}});
    let made = world.call(&root, "Encrypt", input).await.unwrap();
    let mut input = json!({
        "CiphertextBlob": made["CiphertextBlob"], "SourceEncryptionContext": {"a": "1"},
        "DestinationKeyId": to, "DestinationEncryptionContext": {"b": "2"},
    });
    let moved = world.call(&root, "ReEncrypt", input.clone()).await.unwrap();
    assert_eq!((text(&moved, "SourceKeyId"), text(&moved, "KeyId")), (from.as_str(), to.as_str()));
    assert_ne!(moved["SourceKeyMaterialId"], moved["DestinationKeyMaterialId"]);
    assert!(moved.get("Plaintext").is_none());
    let open = json!({"CiphertextBlob": moved["CiphertextBlob"], "EncryptionContext": {"b": "2"}});
    assert_eq!(world.call(&root, "Decrypt", open).await.unwrap()["Plaintext"], blob(b"secret"));
    input["SourceKeyId"] = json!(to);
    assert_eq!(code(world.call(&root, "ReEncrypt", input.clone()).await), "IncorrectKeyException");
    input["SourceKeyId"] = json!(from);
    input["SourceEncryptionContext"] = json!({});
    assert_eq!(code(world.call(&root, "ReEncrypt", input).await), "InvalidCiphertextException");
}

#[tokio::test]
async fn re_encryption_needs_one_permission_on_each_key() {
    let world = World::new().await;
    let (from, to) = (world.key().await, world.key().await);
    let made =
        world.call(&root(OWNER), "Encrypt", json!({"KeyId": from, "Plaintext": blob(b"x")})).await.unwrap();
    let input =
        json!({"CiphertextBlob": made["CiphertextBlob"], "SourceKeyId": from, "DestinationKeyId": to});
    let dba = user("dba");
    let (out, into) = (allow(json!("kms:ReEncryptFrom"), &from), allow(json!("kms:ReEncryptTo"), &to));
    for (policies, missing) in [
        (vec![out.clone()], Some("kms:ReEncryptTo")),
        (vec![into.clone()], Some("kms:ReEncryptFrom")),
        (vec![allow(json!("kms:ReEncrypt*"), "*")], None),
        (vec![out, into], None),
    ] {
        world.give(&dba, &policies);
        let answer = world.call(&dba, "ReEncrypt", input.clone()).await;
        match missing {
            None => assert!(answer.is_ok()),
            Some(action) => assert!(refusal(answer).1.contains(&format!("perform: {action} on resource"))),
        }
    }
    let mut same = allow(json!("kms:ReEncrypt*"), "*");
    same["Statement"][0]["Condition"] = json!({"Bool": {"kms:ReEncryptOnSameKey": true}});
    world.give(&dba, &[same]);
    assert_eq!(code(world.call(&dba, "ReEncrypt", input).await), "AccessDeniedException");
    let onto_itself =
        json!({"CiphertextBlob": made["CiphertextBlob"], "SourceKeyId": from, "DestinationKeyId": from});
    assert!(world.call(&dba, "ReEncrypt", onto_itself).await.is_ok());
}

#[tokio::test]
async fn limits_and_algorithms_are_held() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = world.key().await;
    let whole = json!({"KeyId": key, "Plaintext": blob(&[7; 4096])});
    let made = world.call(&root, "Encrypt", whole).await.unwrap();
    assert!(length(&made["CiphertextBlob"]) <= 6144);
    let long =
        refusal(world.call(&root, "Encrypt", json!({"KeyId": key, "Plaintext": blob(&[7; 4097])})).await);
    let text = "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length \
                less than or equal to 4096";
    assert_eq!(long, expect("ValidationException", text));
    let rsa = json!({"KeyId": key, "Plaintext": blob(b"x"), "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"});
    let text = "Algorithm RSAES_OAEP_SHA_256 is incompatible with key spec SYMMETRIC_DEFAULT.";
    assert_eq!(refusal(world.call(&root, "Encrypt", rsa).await), expect("InvalidKeyUsageException", text));
    let context = |length: usize| json!({"k": "v".repeat(length)});
    let fits = json!({"KeyId": key, "Plaintext": blob(b"x"), "EncryptionContext": context(8183)});
    assert!(world.call(&root, "Encrypt", fits).await.is_ok());
    let big = json!({"KeyId": key, "Plaintext": blob(b"x"), "EncryptionContext": context(8184)});
    assert_eq!(code(world.call(&root, "Encrypt", big).await), "ValidationException");
}

#[tokio::test]
async fn random_bytes_have_the_length_asked_for() {
    let world = World::new().await;
    let root = root(OWNER);
    for bytes in [1, 1024] {
        let made = world.call(&root, "GenerateRandom", json!({"NumberOfBytes": bytes})).await.unwrap();
        assert_eq!(length(&made["Plaintext"]), bytes);
    }
    let refused = expect("ValidationException", "NumberOfBytes is required.");
    assert_eq!(refusal(world.call(&root, "GenerateRandom", json!({})).await), refused);
    let from = |store: &str| json!({"NumberOfBytes": 1, "CustomKeyStoreId": store});
    let told = world.call(&root, "GenerateRandom", from("cks-1")).await;
    assert_eq!(code(told), "CustomKeyStoreNotFoundException");
    let store = crate::key_stores::create(&world, json!({})).await.unwrap();
    let told = world.call(&root, "GenerateRandom", from(&store)).await;
    assert_eq!(code(told), "UnsupportedOperationException");
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_does_nothing() {
    let world = World::new().await;
    let root = root(OWNER);
    let key = world.key().await;
    let made = world.call(&root, "Encrypt", json!({"KeyId": key, "Plaintext": blob(b"x")})).await.unwrap();
    let blob_of = &made["CiphertextBlob"];
    let would =
        expect("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.");
    for (operation, input, expected) in [
        ("Encrypt", json!({"KeyId": key, "Plaintext": blob(b"x")}), would.clone()),
        ("Decrypt", json!({"CiphertextBlob": blob_of}), would.clone()),
        (
            "Decrypt",
            json!({"CiphertextBlob": blob_of, "EncryptionContext": {"a": "1"}}),
            expect("InvalidCiphertextException", ""),
        ),
        ("Decrypt", json!({"KeyId": key, "DryRunModifiers": ["IGNORE_CIPHERTEXT"]}), would.clone()),
        ("ReEncrypt", json!({"CiphertextBlob": blob_of, "DestinationKeyId": key}), would.clone()),
        (
            "ReEncrypt",
            json!({"SourceKeyId": key, "DestinationKeyId": key, "DryRunModifiers": ["IGNORE_CIPHERTEXT"]}),
            would.clone(),
        ),
        ("GenerateDataKey", json!({"KeyId": key, "KeySpec": "AES_256"}), would.clone()),
        ("GenerateDataKeyWithoutPlaintext", json!({"KeyId": key, "KeySpec": "AES_256"}), would.clone()),
    ] {
        let mut dry = input.clone();
        dry["DryRun"] = json!(true);
        assert_eq!(refusal(world.call(&root, operation, dry.clone()).await), expected, "{operation} {input}");
        let stranger = world.stranger();
        assert_eq!(code(world.call(&stranger, operation, dry).await), "AccessDeniedException", "{operation}");
    }
    let wet = json!({"KeyId": key, "CiphertextBlob": blob_of, "DryRunModifiers": ["IGNORE_CIPHERTEXT"]});
    assert_eq!(code(world.call(&root, "Decrypt", wet).await), "ValidationException");
    let keyless = json!({"DryRun": true, "DryRunModifiers": ["IGNORE_CIPHERTEXT"]});
    assert!(refusal(world.call(&root, "Decrypt", keyless).await).1.contains("Value null at 'keyId'"));
}

#[tokio::test]
async fn an_alias_in_the_request_is_a_condition() {
    let world = World::new().await;
    let key = world.key().await;
    world
        .call(&root(OWNER), "CreateAlias", json!({"AliasName": "alias/a", "TargetKeyId": key}))
        .await
        .unwrap();
    let dba = user("dba");
    world.give(&dba, &[]);
    let statement = json!([{
        "Effect": "Allow", "Principal": {"AWS": dba.arn()}, "Action": "kms:Encrypt", "Resource": "*",
        "Condition": {"StringEquals": {"kms:RequestAlias": "alias/a"}},
    }]);
    let put = json!({"KeyId": key, "Policy": key_policy(statement)});
    world.call(&root(OWNER), "PutKeyPolicy", put).await.unwrap();
    let encrypt = |name: &str| world.call(&dba, "Encrypt", json!({"KeyId": name, "Plaintext": "eA=="}));
    assert!(encrypt("alias/a").await.is_ok());
    assert_eq!(code(encrypt(&key).await), "AccessDeniedException");
}
