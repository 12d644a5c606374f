//! Keys in external key stores: made, used in two layers, unavailable and back, and what a proxy says to their users.

use serde_json::{Value, json};
use testkit::xks::{Fault as Wrong, KEY, Key};
use wire::Fault;

use crate::{
    key_stores::{connected, create, on},
    world::{OWNER, World, code, expect, key_policy, refusal, root, session, text, user},
};

async fn make(world: &World, store: &str, external: &str) -> Result<String, Fault> {
    let input = json!({"Origin": "EXTERNAL_KEY_STORE", "CustomKeyStoreId": store, "XksKeyId": external});
    let made = world.call(&root(OWNER), "CreateKey", input).await?;
    Ok(text(&made["KeyMetadata"], "Arn").to_owned())
}

/// A key in a connected store, and the store.
async fn external_key(world: &World) -> (String, String) {
    let store = connected(world).await;
    (make(world, &store, KEY).await.unwrap(), store)
}

async fn call(world: &World, operation: &str, input: Value) -> Result<Value, Fault> {
    world.call(&root(OWNER), operation, input).await
}

async fn encrypt(world: &World, key: &str) -> Result<Value, Fault> {
    let input = json!({"KeyId": key, "Plaintext": "c2VjcmV0", "EncryptionContext": {"Dept": "it"}});
    call(world, "Encrypt", input).await
}

async fn decrypt(world: &World, blob: &Value, department: &str) -> Result<Value, Fault> {
    let context = json!({"Dept": department});
    call(world, "Decrypt", json!({"CiphertextBlob": blob, "EncryptionContext": context})).await
}

async fn state(world: &World, key: &str) -> String {
    let told = call(world, "DescribeKey", json!({"KeyId": key})).await.unwrap();
    text(&told["KeyMetadata"], "KeyState").to_owned()
}

#[tokio::test]
async fn a_key_tells_its_store_and_its_external_key() {
    let world = World::new().await;
    let (key, store) = external_key(&world).await;
    let told = call(&world, "DescribeKey", json!({"KeyId": key})).await.unwrap();
    let metadata = &told["KeyMetadata"];
    assert_eq!(
        (text(metadata, "Origin"), text(metadata, "CustomKeyStoreId"), text(metadata, "KeyState")),
        ("EXTERNAL_KEY_STORE", store.as_str(), "Enabled")
    );
    assert_eq!(metadata["XksKeyConfiguration"], json!({"Id": KEY}));
    assert_eq!(metadata["EncryptionAlgorithms"], json!(["SYMMETRIC_DEFAULT"]));
    assert!(metadata.get("CurrentKeyMaterialId").is_none());
    let asked = world.proxy.last("/metadata")["requestMetadata"].clone();
    assert_eq!(
        (text(&asked, "kmsOperation"), text(&asked, "awsPrincipalArn")),
        ("CreateKey", &*root(OWNER).arn())
    );
    assert!(asked.get("kmsKeyArn").is_none(), "there is none yet");
    let made = world.records(OWNER).await.into_iter().rfind(|r| r.event_name == "CreateKey").unwrap();
    let request = made.request_parameters.unwrap();
    assert_eq!((&request["customKeyStoreId"], &request["xksKeyId"]), (&json!(store), &json!(KEY)));
}

#[tokio::test]
async fn a_policy_can_tell_keys_in_key_stores_from_others() {
    let world = World::new().await;
    let store = connected(&world).await;
    let maker = user("maker");
    let mut policy = crate::world::allow(json!(["kms:CreateKey", "kms:Encrypt"]), "*");
    policy["Statement"][0]["Condition"] = json!({"StringEquals": {"kms:KeyOrigin": "EXTERNAL_KEY_STORE"}});
    world.give(&maker, &[policy]);
    let input = json!({"Origin": "EXTERNAL_KEY_STORE", "CustomKeyStoreId": store, "XksKeyId": KEY});
    let made = world.call(&maker, "CreateKey", input).await.unwrap();
    assert_eq!(code(world.call(&maker, "CreateKey", json!({})).await), "AccessDeniedException");
    let on = |key: &Value| json!({"KeyId": key, "Plaintext": "eA=="});
    world.call(&maker, "Encrypt", on(&made["KeyMetadata"]["Arn"])).await.unwrap();
    let plain = json!(world.key().await);
    assert_eq!(code(world.call(&maker, "Encrypt", on(&plain)).await), "AccessDeniedException");
}

#[tokio::test]
async fn every_use_passes_both_layers() {
    let world = World::new().await;
    let (key, store) = external_key(&world).await;
    let made = encrypt(&world, &key).await.unwrap();
    let sent = world.proxy.last("/encrypt");
    assert_ne!(sent["plaintext"], "c2VjcmV0", "the proxy never sees a plaintext");
    let asked = &sent["requestMetadata"];
    assert_eq!((text(asked, "kmsOperation"), text(asked, "kmsKeyArn")), ("Encrypt", key.as_str()));
    let record = world.last_record(OWNER).await;
    assert_eq!(record.request_id.as_deref(), asked["kmsRequestId"].as_str());
    let told = Value::Object(record.additional_event_data.unwrap());
    assert_eq!(told, json!({"customKeyStoreId": store, "xksKeyId": KEY}));

    let opened = decrypt(&world, &made["CiphertextBlob"], "it").await.unwrap();
    assert_eq!((text(&opened, "Plaintext"), text(&opened, "KeyId")), ("c2VjcmV0", key.as_str()));
    assert!(opened.get("KeyMaterialId").is_none());
    let refused = expect(
        "KMSInvalidStateException",
        "The external key store proxy rejected the request because the specified ciphertext or additional \
         authenticated data is corrupted, missing, or otherwise invalid.",
    );
    assert_eq!(refusal(decrypt(&world, &made["CiphertextBlob"], "IT").await), refused);

    let wanted = json!({"KeyId": key, "KeySpec": "AES_256"});
    let data = call(&world, "GenerateDataKey", wanted.clone()).await.unwrap();
    let opened = call(&world, "Decrypt", json!({"CiphertextBlob": data["CiphertextBlob"]})).await.unwrap();
    assert_eq!(opened["Plaintext"], data["Plaintext"]);
    call(&world, "GenerateDataKeyWithoutPlaintext", wanted).await.unwrap();
    let asked = world.proxy.last("/encrypt")["requestMetadata"].clone();
    assert_eq!(text(&asked, "kmsOperation"), "GenerateDataKeyWithoutPlaintext");

    let plain = world.key().await;
    let there = json!({
        "CiphertextBlob": made["CiphertextBlob"], "SourceEncryptionContext": {"Dept": "it"}, "DestinationKeyId": plain,
    });
    let moved = call(&world, "ReEncrypt", there).await.unwrap();
    assert!(moved.get("SourceKeyMaterialId").is_none() && moved.get("DestinationKeyMaterialId").is_some());
    let back = json!({"CiphertextBlob": moved["CiphertextBlob"], "DestinationKeyId": key});
    let moved = call(&world, "ReEncrypt", back).await.unwrap();
    let told = world.last_record(OWNER).await.additional_event_data.unwrap();
    assert_eq!(
        (&told["destinationCustomKeyStoreId"], &told["destinationXksKeyId"]),
        (&json!(store), &json!(KEY))
    );
    let opened = call(&world, "Decrypt", json!({"CiphertextBlob": moved["CiphertextBlob"]})).await.unwrap();
    assert_eq!(text(&opened, "Plaintext"), "c2VjcmV0");

    let world = world.restarted().await;
    decrypt(&world, &made["CiphertextBlob"], "it").await.expect("after a restart too");
    let large = json!({"KeyId": key, "Plaintext": base64(&[7; 4096])});
    let made = call(&world, "Encrypt", large).await.unwrap();
    call(&world, "Decrypt", json!({"CiphertextBlob": made["CiphertextBlob"]})).await.unwrap();
}

fn base64(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
}

#[tokio::test]
async fn the_proxy_is_told_who_asks() {
    let world = World::new().await;
    let (key, _) = external_key(&world).await;
    let role = session("deploy");
    world.give(&role, &[crate::world::allow(json!("kms:*"), "*")]);
    let input = json!({"KeyId": key, "Plaintext": "eA=="});
    world.call(&role, "Encrypt", input.clone()).await.unwrap();
    let asked = world.proxy.last("/encrypt")["requestMetadata"].clone();
    assert_eq!(text(&asked, "awsPrincipalArn"), format!("arn:aws:iam::{OWNER}:role/deploy"));
    assert!(asked.get("kmsViaService").is_none());
    world.via_rds(&root(OWNER), "Encrypt", input).await.unwrap();
    let asked = world.proxy.last("/encrypt")["requestMetadata"].clone();
    assert_eq!(text(&asked, "kmsViaService"), "rds.us-west-2.amazonaws.com");
}

#[tokio::test]
async fn a_ciphertext_that_is_no_more_what_it_was_is_refused_in_the_words_for_who_found_out() {
    let world = World::new().await;
    let (key, _) = external_key(&world).await;
    let made = encrypt(&world, &key).await.unwrap();
    let inner = expect(
        "KMSInvalidStateException",
        "The ciphertext that the external key store proxy submitted for decryption, or the encryption context, is \
         corrupted, missing, or otherwise invalid.",
    );
    world.proxy.breaks(Wrong::WrongPlaintext);
    assert_eq!(refusal(decrypt(&world, &made["CiphertextBlob"], "it").await), inner);
    world.proxy.breaks(None);
    let mut bytes = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD,
        made["CiphertextBlob"].as_str().unwrap(),
    )
    .unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let told = decrypt(&world, &json!(base64(&bytes)), "it").await;
    assert_eq!(code(told), "KMSInvalidStateException", "the external key finds it");
    bytes.truncate(130);
    let told = call(&world, "Decrypt", json!({"CiphertextBlob": base64(&bytes)})).await;
    assert_eq!(code(told), "InvalidCiphertextException", "no ciphertext at all");
    let plain = world.key().await;
    let told =
        call(&world, "Decrypt", json!({"CiphertextBlob": made["CiphertextBlob"], "KeyId": plain})).await;
    assert_eq!(code(told), "IncorrectKeyException");
}

/// What a proxy does, and what that is to whoever makes a key, and to whoever uses one.
#[tokio::test]
async fn every_way_to_misbehave_has_its_exception_for_makers_and_its_text_for_users() {
    let world = World::new().await;
    let (key, store) = external_key(&world).await;
    let made = encrypt(&world, &key).await.unwrap();
    let refuses = Wrong::Refuses;
    let state = "CustomKeyStoreInvalidStateException";
    // The last: whether nothing follows for the key.
    for (wrong, exception, told, passing) in [
        (Wrong::Hangs, state, "did not respond in time", true),
        (Wrong::Garbage, state, "cannot interpret the response", true),
        (Wrong::Answers(502, "<html>".into()), state, "cannot interpret the response", true),
        (refuses(400, "ValidationException"), state, "cannot interpret the response", true),
        (
            refuses(400, "InvalidStateException"),
            "XksKeyInvalidConfigurationException",
            "is not enabled in the external key manager",
            false,
        ),
        (
            refuses(400, "InvalidKeyUsageException"),
            "XksKeyInvalidConfigurationException",
            "does not support the requested operation",
            false,
        ),
        (refuses(401, "AuthenticationFailedException"), state, "could not authenticate AWS KMS", false),
        (refuses(403, "AccessDeniedException"), state, "denied access to the operation", false),
        (
            refuses(404, "KeyNotFoundException"),
            "XksKeyNotFoundException",
            "could not find the external key",
            false,
        ),
        (refuses(404, "InvalidUriPathException"), state, "invalid URI path", false),
        (refuses(429, "ThrottlingException"), state, "very high request rate", true),
        (
            refuses(501, "UnsupportedOperationException"),
            "UnsupportedOperationException",
            "does not support the requested cryptographic operation",
            false,
        ),
        (refuses(503, "DependencyTimeoutException"), state, "in the time allotted", true),
        (refuses(500, "InternalException"), state, "cannot communicate with the external key manager", true),
    ] {
        world.proxy.breaks(wrong.clone());
        let refused = refusal(make(&world, &store, "another").await);
        assert_eq!(refused.0, exception, "{wrong:?}");
        assert!(refused.1.contains(told), "{refused:?}");
        for fault in [encrypt(&world, &key).await, decrypt(&world, &made["CiphertextBlob"], "it").await] {
            let fault = fault.unwrap_err();
            assert_eq!((&*fault.code, fault.transient), ("KMSInvalidStateException", passing), "{wrong:?}");
            assert_eq!(fault.message, Some(refused.1.clone()), "{wrong:?}");
        }
        let record = world.last_record(OWNER).await;
        assert_eq!(record.error_message, Some(refused.1));
        assert_eq!(record.additional_event_data.unwrap()["xksKeyId"], KEY);
    }
    for wrong in [Wrong::WrongTag, Wrong::WrongIntegrityValue] {
        world.proxy.breaks(wrong.clone());
        let told = refusal(encrypt(&world, &key).await);
        assert!(told.1.contains("cannot interpret the response"), "{wrong:?}: {told:?}");
    }
    world.proxy.breaks(None);
    decrypt(&world, &made["CiphertextBlob"], "it").await.unwrap();
}

#[tokio::test]
async fn a_proxy_that_is_silent_for_long_counts_as_one_that_refuses() {
    let world = World::new().await;
    let (key, _) = external_key(&world).await;
    world.proxy.breaks(Wrong::Refuses(503, "DependencyTimeoutException"));
    let passing = || async { encrypt(&world, &key).await.unwrap_err().transient };
    assert!(passing().await);
    world.pass_time(std::time::Duration::from_secs(299));
    assert!(passing().await);
    world.pass_time(std::time::Duration::from_secs(1));
    assert!(!passing().await);
    world.proxy.breaks(None);
    encrypt(&world, &key).await.unwrap();
    world.proxy.breaks(Wrong::Garbage);
    assert!(passing().await, "it has spoken since");
}

#[tokio::test]
async fn an_external_key_that_does_not_fit_makes_no_key() {
    let world = World::new().await;
    let store = connected(&world).await;
    let keys = [
        (
            "rsa",
            Key { spec: "RSA_2048", ..Key::default() },
            "The key spec of the external key must be AES_256. The key spec of specified external key is RSA_2048.",
        ),
        (
            "off",
            Key { status: "DISABLED", ..Key::default() },
            "The status of the external key must be ENABLED. The status of specified external key is DISABLED.",
        ),
        (
            "half",
            Key { usage: vec!["ENCRYPT", "SIGN"], ..Key::default() },
            "The key usage of the external key must include ENCRYPT and DECRYPT. The key use of specified external key is ENCRYPT, SIGN.",
        ),
    ];
    for (name, key, told) in keys {
        world.proxy.state().keys.insert(name.into(), key);
        let refused = expect("XksKeyInvalidConfigurationException", told);
        assert_eq!(refusal(make(&world, &store, name).await), refused);
    }
    for name in ["none", ".."] {
        assert_eq!(code(make(&world, &store, name).await), "XksKeyNotFoundException", "{name}");
    }
    make(&world, &store, KEY).await.unwrap();
    assert_eq!(code(make(&world, &store, KEY).await), "XksKeyAlreadyInUseException");
    let listed = call(&world, "ListKeys", json!({})).await.unwrap();
    assert_eq!(listed["Keys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn only_a_symmetric_key_can_be_in_a_store_that_is_there_and_connected() {
    let world = World::new().await;
    assert_eq!(code(make(&world, "cks-1", KEY).await), "CustomKeyStoreNotFoundException");
    let store = create(&world, json!({})).await.unwrap();
    let refused = expect(
        "CustomKeyStoreInvalidStateException",
        "This KMS key is in a custom key store that is not connected to its external key store proxy. Connect the \
         external key store and try the request again.",
    );
    assert_eq!(refusal(make(&world, &store, KEY).await), refused);
    on(&world, "ConnectCustomKeyStore", &store).await.unwrap();
    let whole = json!({"Origin": "EXTERNAL_KEY_STORE", "CustomKeyStoreId": store, "XksKeyId": KEY});
    for (name, value, told) in [
        ("XksKeyId", Value::Null, "ValidationException"),
        ("CustomKeyStoreId", Value::Null, "ValidationException"),
        ("Origin", json!("EXTERNAL"), "ValidationException"),
        ("Origin", json!("AWS_CLOUDHSM"), "UnsupportedOperationException"),
        ("KeySpec", json!("HMAC_256"), "ValidationException"),
        ("MultiRegion", json!(true), "UnsupportedOperationException"),
    ] {
        let mut input = whole.clone();
        input[name] = value.clone();
        input.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        assert_eq!(code(call(&world, "CreateKey", input).await), told, "{name} {value}");
    }
    let mut mac = whole;
    (mac["KeySpec"], mac["KeyUsage"]) = (json!("HMAC_256"), json!("GENERATE_VERIFY_MAC"));
    assert_eq!(code(call(&world, "CreateKey", mac).await), "UnsupportedOperationException");
}

#[tokio::test]
async fn a_key_is_unavailable_while_its_store_is_disconnected_and_those_who_use_it_are_told() {
    let world = World::new().await;
    let (key, store) = external_key(&world).await;
    let plain = world.key().await;
    let made = encrypt(&world, &key).await.unwrap();
    let mut changes = world.kms.changes();
    on(&world, "DisconnectCustomKeyStore", &store).await.unwrap();
    assert_eq!(changes.try_recv().unwrap().key_arn, key);
    assert!(changes.try_recv().is_err(), "no other key");
    assert_eq!(
        (state(&world, &key).await, state(&world, &plain).await),
        ("Unavailable".into(), "Enabled".into())
    );
    let asked = world.proxy.state().seen.len();
    let unavailable = expect("KMSInvalidStateException", format!("{key} is unavailable."));
    for refused in [encrypt(&world, &key).await, decrypt(&world, &made["CiphertextBlob"], "it").await] {
        assert_eq!(refusal(refused), unavailable);
    }
    assert_eq!(world.proxy.state().seen.len(), asked, "nobody is asked");
    let told = world.last_record(OWNER).await.additional_event_data.unwrap();
    assert_eq!((&told["customKeyStoreId"], &told["xksKeyId"]), (&json!(store), &json!(KEY)));

    let world = world.restarted().await;
    assert_eq!(state(&world, &key).await, "Unavailable");
    call(&world, "DisableKey", json!({"KeyId": key})).await.unwrap();
    assert_eq!(state(&world, &key).await, "Unavailable");
    let mut changes = world.kms.changes();
    on(&world, "ConnectCustomKeyStore", &store).await.unwrap();
    assert_eq!(changes.try_recv().unwrap().key_arn, key);
    assert_eq!(state(&world, &key).await, "Disabled");
    call(&world, "EnableKey", json!({"KeyId": key})).await.unwrap();
    decrypt(&world, &made["CiphertextBlob"], "it").await.unwrap();
}

/// The table of states (spec/kms.md §9), column Unavailable.
#[tokio::test]
async fn an_unavailable_key_permits_what_the_table_says() {
    let world = World::new().await;
    let (key, store) = external_key(&world).await;
    world.give(&user("dba"), &[]);
    let grant = json!({"KeyId": key, "GranteePrincipal": user("dba").arn(), "Operations": ["Decrypt"]});
    let rotated = "UnsupportedOperationException";
    on(&world, "DisconnectCustomKeyStore", &store).await.unwrap();
    let of = |more: Value| {
        let mut input = json!({"KeyId": key});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    for (operation, input, refused) in [
        ("CreateAlias", json!({"AliasName": "alias/a", "TargetKeyId": key}), None),
        ("CreateGrant", grant, None),
        ("DescribeKey", of(json!({})), None),
        ("GetKeyPolicy", of(json!({})), None),
        ("PutKeyPolicy", of(json!({"Policy": key_policy(json!([]))})), None),
        ("TagResource", of(json!({"Tags": [{"TagKey": "a", "TagValue": "b"}]})), None),
        ("UpdateKeyDescription", of(json!({"Description": "d"})), None),
        ("EnableKey", of(json!({})), None),
        ("DisableKey", of(json!({})), None),
        ("GenerateDataKey", of(json!({"KeySpec": "AES_256"})), Some("KMSInvalidStateException")),
        ("GenerateDataKeyPair", of(json!({"KeyPairSpec": "RSA_2048"})), Some("KMSInvalidStateException")),
        ("EnableKeyRotation", of(json!({})), Some(rotated)),
        ("DisableKeyRotation", of(json!({})), Some(rotated)),
        ("RotateKeyOnDemand", of(json!({})), Some(rotated)),
        ("GetKeyRotationStatus", of(json!({})), Some(rotated)),
        ("ListKeyRotations", of(json!({})), Some(rotated)),
        (
            "GetParametersForImport",
            of(json!({"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"})),
            Some(rotated),
        ),
        ("CancelKeyDeletion", of(json!({})), Some("KMSInvalidStateException")),
        ("ScheduleKeyDeletion", of(json!({})), None),
    ] {
        let answer = call(&world, operation, input).await;
        match refused {
            None => assert!(answer.is_ok(), "{operation}: {answer:?}"),
            Some(refused) => {
                let told = refusal(answer);
                assert_eq!(told.0, refused, "{operation}");
                let origin =
                    format!("{key} origin is EXTERNAL_KEY_STORE which is not valid for this operation.");
                assert!(refused != rotated || told.1 == origin, "{told:?}");
            }
        }
    }
    assert_eq!(state(&world, &key).await, "PendingDeletion");
}

#[tokio::test]
async fn a_store_goes_only_without_its_keys() {
    let world = World::new().await;
    let (key, store) = external_key(&world).await;
    let pair = json!({"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"});
    let told = refusal(call(&world, "GenerateDataKeyPair", pair).await);
    let origin = format!("{key} origin is EXTERNAL_KEY_STORE which is not valid for this operation.");
    assert_eq!(told, expect("UnsupportedOperationException", origin));
    call(&world, "ScheduleKeyDeletion", json!({"KeyId": key, "PendingWindowInDays": 7})).await.unwrap();
    on(&world, "DisconnectCustomKeyStore", &store).await.unwrap();
    assert_eq!(code(on(&world, "DeleteCustomKeyStore", &store).await), "CustomKeyStoreHasCMKsException");
    assert_eq!(code(make(&world, &store, KEY).await), "CustomKeyStoreInvalidStateException");
    world.pass(7);
    api_kms::run_due(&world.kms, ids::Clock::now(&*world.clock)).await.unwrap();
    on(&world, "DeleteCustomKeyStore", &store).await.unwrap();
}

#[tokio::test]
async fn a_slow_proxy_holds_up_nobody_else() {
    let world = World::new().await;
    let (key, _) = external_key(&world).await;
    let plain = world.key().await;
    world.proxy.breaks(Wrong::Hangs);
    let slow = encrypt(&world, &key);
    let others = async {
        encrypt(&world, &plain).await.unwrap();
        call(&world, "DisableKey", json!({"KeyId": plain})).await.unwrap();
        call(&world, "CreateKey", json!({})).await.unwrap();
    };
    tokio::select! {
        biased;
        answer = slow => panic!("before the others: {answer:?}"),
        () = others => {}
    }
}
