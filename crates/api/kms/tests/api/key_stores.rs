//! Custom key stores: their life, what their connection permits, and what a proxy that misbehaves is to them.

use serde_json::{Value, json};
use testkit::xks::{ACCESS_KEY_ID, Fault as Wrong, HOST, SECRET};
use wire::Fault;

use crate::world::{OTHER, OWNER, World, allow, code, expect, refusal, root, text, user};

/// The input of a CreateCustomKeyStore that works, with what a test changes in it.
pub fn request(more: Value) -> Value {
    let mut input = json!({
        "CustomKeyStoreName": "a", "CustomKeyStoreType": "EXTERNAL_KEY_STORE",
        "XksProxyUriEndpoint": format!("https://{HOST}"), "XksProxyUriPath": "/kms/xks/v1",
        "XksProxyAuthenticationCredential": {"AccessKeyId": ACCESS_KEY_ID, "RawSecretAccessKey": SECRET},
        "XksProxyConnectivity": "PUBLIC_ENDPOINT",
    });
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    input.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    input
}

/// A new key store; its id.
pub async fn create(world: &World, more: Value) -> Result<String, Fault> {
    let made = world.call(&root(OWNER), "CreateCustomKeyStore", request(more)).await?;
    Ok(text(&made, "CustomKeyStoreId").to_owned())
}

pub async fn on(world: &World, operation: &str, store: &str) -> Result<Value, Fault> {
    world.call(&root(OWNER), operation, json!({"CustomKeyStoreId": store})).await
}

/// A new key store, connected; its id.
pub async fn connected(world: &World) -> String {
    let store = create(world, json!({})).await.unwrap();
    on(world, "ConnectCustomKeyStore", &store).await.unwrap();
    store
}

pub async fn described(world: &World, store: &str) -> Value {
    on(world, "DescribeCustomKeyStores", store).await.unwrap()["CustomKeyStores"][0].clone()
}

/// Input that would work for an operation, on the one store that there is.
pub async fn input(world: &World, operation: &str) -> Value {
    if operation == "CreateCustomKeyStore" {
        clear(world).await;
        return request(json!({}));
    }
    clear(world).await;
    let store = match operation {
        "DisconnectCustomKeyStore" => connected(world).await,
        _ => create(world, json!({})).await.unwrap(),
    };
    json!({"CustomKeyStoreId": store})
}

async fn clear(world: &World) {
    let all = world.call(&root(OWNER), "DescribeCustomKeyStores", json!({})).await.unwrap();
    for store in all["CustomKeyStores"].as_array().unwrap() {
        let id = text(store, "CustomKeyStoreId");
        let _ = on(world, "DisconnectCustomKeyStore", id).await;
        on(world, "DeleteCustomKeyStore", id).await.unwrap();
    }
}

fn wrong_connection() -> (String, String) {
    expect(
        "CustomKeyStoreInvalidStateException",
        "The request was rejected because of the ConnectionState of the custom key store. To get the ConnectionState \
         of a custom key store, use the DescribeCustomKeyStores operation.",
    )
}

#[tokio::test]
async fn a_store_is_made_connected_disconnected_and_deleted_and_survives_restarts() {
    let world = World::new().await;
    let store = create(&world, json!({})).await.unwrap();
    assert!(store.starts_with("cks-") && store.len() == 21, "{store}");
    let mut expected = json!({
        "CustomKeyStoreId": store, "CustomKeyStoreName": "a", "CustomKeyStoreType": "EXTERNAL_KEY_STORE",
        "ConnectionState": "DISCONNECTED", "CreationDate": 1_767_607_872.191,
        "XksProxyConfiguration": {
            "Connectivity": "PUBLIC_ENDPOINT", "AccessKeyId": ACCESS_KEY_ID,
            "UriEndpoint": format!("https://{HOST}"), "UriPath": "/kms/xks/v1",
        },
    });
    assert_eq!(described(&world, &store).await, expected);
    let asked = world.proxy.last("/health")["requestMetadata"].clone();
    assert_eq!(asked["kmsOperation"], "CreateCustomKeyStore");
    assert_eq!(asked.as_object().unwrap().len(), 2, "a health check tells nothing else but the request");

    assert_eq!(on(&world, "ConnectCustomKeyStore", &store).await.unwrap(), json!({}));
    expected["ConnectionState"] = json!("CONNECTED");
    assert_eq!(described(&world, &store).await, expected);
    let world = world.restarted().await;
    assert_eq!(described(&world, &store).await, expected, "a connected store stays connected");
    on(&world, "ConnectCustomKeyStore", &store).await.expect("and is, when it is to be");

    assert_eq!(refusal(on(&world, "DeleteCustomKeyStore", &store).await), wrong_connection());
    on(&world, "DisconnectCustomKeyStore", &store).await.unwrap();
    assert_eq!(refusal(on(&world, "DisconnectCustomKeyStore", &store).await), wrong_connection());
    on(&world, "DeleteCustomKeyStore", &store).await.unwrap();
    for operation in
        ["DeleteCustomKeyStore", "ConnectCustomKeyStore", "DisconnectCustomKeyStore", "UpdateCustomKeyStore"]
    {
        assert_eq!(
            code(on(&world, operation, &store).await),
            "CustomKeyStoreNotFoundException",
            "{operation}"
        );
    }
    assert_eq!(code(on(&world, "DescribeCustomKeyStores", &store).await), "CustomKeyStoreNotFoundException");
    let world = world.restarted().await;
    let none = world.call(&root(OWNER), "DescribeCustomKeyStores", json!({})).await.unwrap();
    assert_eq!(none, json!({"CustomKeyStores": [], "Truncated": false}));
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_before_any_proxy_is_asked() {
    let world = World::new().await;
    let missing = |member: &str| {
        format!(
            "1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not be null"
        )
    };
    for (more, code, told) in [
        (json!({"CustomKeyStoreType": null}), "UnsupportedOperationException", "AWS_CLOUDHSM".to_owned()),
        (
            json!({"CustomKeyStoreType": "AWS_CLOUDHSM"}),
            "UnsupportedOperationException",
            "AWS_CLOUDHSM".into(),
        ),
        (json!({"XksProxyUriEndpoint": null}), "ValidationException", missing("xksProxyUriEndpoint")),
        (json!({"XksProxyUriPath": null}), "ValidationException", missing("xksProxyUriPath")),
        (json!({"XksProxyConnectivity": null}), "ValidationException", missing("xksProxyConnectivity")),
        (
            json!({"XksProxyAuthenticationCredential": null}),
            "ValidationException",
            missing("xksProxyAuthenticationCredential"),
        ),
        (json!({"XksProxyUriEndpoint": "https://127.0.0.1"}), "ValidationException", "domain name".into()),
        (json!({"XksProxyUriEndpoint": "https://2130706433"}), "ValidationException", "domain name".into()),
        (json!({"XksProxyUriEndpoint": "http://xks.test"}), "ValidationException", "pattern".into()),
        (json!({"XksProxyUriPath": "/kms/xks/v2"}), "ValidationException", "/kms/xks/v1".into()),
        (json!({"CloudHsmClusterId": "cluster-2a23b4cdefg"}), "ValidationException", "AWS_CLOUDHSM".into()),
        (
            json!({"XksProxyConnectivity": "VPC_ENDPOINT_SERVICE"}),
            "ValidationException",
            missing("xksProxyVpcEndpointServiceName"),
        ),
        (
            json!({
                "XksProxyConnectivity": "VPC_ENDPOINT_SERVICE",
                "XksProxyVpcEndpointServiceName": "com.amazonaws.vpce.us-west-2.vpce-svc-example",
            }),
            "XksProxyVpcEndpointServiceNotFoundException",
            "VPC endpoint service".into(),
        ),
    ] {
        let refused = refusal(create(&world, more.clone()).await);
        assert_eq!(refused.0, code, "{more}");
        assert!(refused.1.contains(&told), "{more}: {refused:?}");
    }
    let short = json!({"XksProxyAuthenticationCredential": {"AccessKeyId": ACCESS_KEY_ID, "RawSecretAccessKey": "tooshort"}});
    let refused = refusal(create(&world, short).await);
    assert!(refused.0 == "ValidationException" && !refused.1.contains("tooshort"), "{refused:?}");
    assert!(world.proxy.state().seen.is_empty());
}

#[tokio::test]
async fn names_and_addresses_are_unique_in_an_account_and_a_region() {
    let world = World::new().await;
    create(&world, json!({})).await.unwrap();
    let other = |more: Value| request(more);
    let told = |more: Value| {
        let world = &world;
        async move { code(world.call(&root(OWNER), "CreateCustomKeyStore", other(more)).await) }
    };
    assert_eq!(told(json!({"XksProxyUriPath": "/b/kms/xks/v1"})).await, "CustomKeyStoreNameInUseException");
    let upper = format!("https://{}", HOST.to_uppercase());
    for endpoint in [format!("https://{HOST}"), upper] {
        let more = json!({"CustomKeyStoreName": "b", "XksProxyUriEndpoint": endpoint});
        assert_eq!(told(more).await, "XksProxyUriInUseException");
    }
    world.call(&root(OTHER), "CreateCustomKeyStore", other(json!({}))).await.expect("another account");
}

/// What a proxy does, and what that is to whoever makes a store and to whoever connects one.
#[tokio::test]
async fn every_way_to_misbehave_has_its_exception_and_its_connection_error() {
    let world = World::new().await;
    let answers = |status, body: &str| Wrong::Answers(status, body.into());
    let refuses = Wrong::Refuses;
    let (unreachable, invalid) = ("XksProxyUriUnreachableException", "XksProxyInvalidResponseException");
    let configuration = "XksProxyInvalidConfigurationException";
    let store = create(&world, json!({})).await.unwrap();
    for (wrong, exception, error, told) in [
        (Wrong::Hangs, unreachable, "XKS_PROXY_TIMED_OUT", "did not respond in time"),
        (Wrong::Unhealthy, unreachable, "XKS_PROXY_NOT_REACHABLE", "in an unhealthy state"),
        (Wrong::Garbage, invalid, "XKS_PROXY_INVALID_RESPONSE", "cannot interpret the response"),
        (answers(200, "{}"), invalid, "XKS_PROXY_INVALID_RESPONSE", "cannot interpret the response"),
        (answers(503, "busy"), invalid, "XKS_PROXY_INVALID_RESPONSE", "cannot interpret the response"),
        (
            refuses(401, "AuthenticationFailedException"),
            "XksProxyIncorrectAuthenticationCredentialException",
            "INVALID_CREDENTIALS",
            "could not authenticate AWS KMS",
        ),
        (
            refuses(404, "InvalidUriPathException"),
            configuration,
            "XKS_PROXY_INVALID_CONFIGURATION",
            "invalid URI path",
        ),
        (
            refuses(403, "AccessDeniedException"),
            configuration,
            "XKS_PROXY_ACCESS_DENIED",
            "denied access to the operation",
        ),
        (
            refuses(503, "DependencyTimeoutException"),
            unreachable,
            "XKS_PROXY_TIMED_OUT",
            "in the time allotted",
        ),
        (
            refuses(429, "ThrottlingException"),
            unreachable,
            "XKS_PROXY_NOT_REACHABLE",
            "very high request rate",
        ),
        (
            refuses(500, "InternalException"),
            invalid,
            "XKS_PROXY_INVALID_RESPONSE",
            "cannot communicate with the external key manager",
        ),
    ] {
        world.proxy.breaks(wrong.clone());
        let more = json!({"CustomKeyStoreName": "b", "XksProxyUriPath": "/b/kms/xks/v1"});
        let refused = refusal(create(&world, more).await);
        assert_eq!(refused.0, exception, "{wrong:?}");
        assert!(refused.1.contains(told), "{refused:?}");
        let update = json!({"CustomKeyStoreId": store, "XksProxyUriPath": "/b/kms/xks/v1"});
        let same = refusal(world.call(&root(OWNER), "UpdateCustomKeyStore", update).await);
        assert_eq!(same, refused, "{wrong:?}");

        on(&world, "ConnectCustomKeyStore", &store).await.expect("what fails is told afterwards");
        let shown = described(&world, &store).await;
        assert_eq!(
            (text(&shown, "ConnectionState"), text(&shown, "ConnectionErrorCode")),
            ("FAILED", error),
            "{wrong:?}"
        );
        let label = json!({"CustomKeyStoreId": store, "NewCustomKeyStoreName": "c"});
        for refused in [
            on(&world, "ConnectCustomKeyStore", &store).await,
            on(&world, "DeleteCustomKeyStore", &store).await,
            world.call(&root(OWNER), "UpdateCustomKeyStore", label).await,
        ] {
            assert_eq!(refusal(refused), wrong_connection());
        }
        on(&world, "DisconnectCustomKeyStore", &store).await.unwrap();
        assert!(described(&world, &store).await.get("ConnectionErrorCode").is_none());
    }
    world.proxy.breaks(None);
    on(&world, "ConnectCustomKeyStore", &store).await.unwrap();
    assert_eq!(described(&world, &store).await["ConnectionState"], "CONNECTED");
    let all = world.call(&root(OWNER), "DescribeCustomKeyStores", json!({})).await.unwrap();
    assert_eq!(all["CustomKeyStores"].as_array().unwrap().len(), 1, "what is refused makes nothing");
}

#[tokio::test]
async fn a_host_that_is_not_in_the_settings_must_be_of_the_public_internet() {
    let world = World::new().await;
    for endpoint in ["https://localhost", "https://xks.invalid"] {
        let told = refusal(create(&world, json!({"XksProxyUriEndpoint": endpoint})).await);
        assert_eq!(told.0, "XksProxyUriUnreachableException", "{endpoint}");
    }
}

#[tokio::test]
async fn an_update_holds_once_the_proxy_has_taken_it() {
    let world = World::new().await;
    let store = connected(&world).await;
    let update = |more: Value| {
        let mut input = json!({"CustomKeyStoreId": store});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let world = &world;
        async move { world.call(&root(OWNER), "UpdateCustomKeyStore", input).await }
    };
    let credential = |secret: &str| json!({"XksProxyAuthenticationCredential": {"AccessKeyId": ACCESS_KEY_ID, "RawSecretAccessKey": secret}});
    let rotated = "rotatedSecret/rotatedSecret/rotatedSecret/rotat";
    assert_eq!(code(update(credential(rotated)).await), "XksProxyIncorrectAuthenticationCredentialException");
    world.proxy.state().secret = rotated.into();
    update(credential(rotated)).await.expect("a connected store takes a new credential");
    assert_eq!(update(json!({"NewCustomKeyStoreName": "renamed"})).await.unwrap(), json!({}));
    let shown = described(&world, &store).await;
    assert_eq!(
        (text(&shown, "CustomKeyStoreName"), text(&shown, "ConnectionState")),
        ("renamed", "CONNECTED")
    );
    let moved = json!({"XksProxyUriEndpoint": "https://localhost"});
    assert_eq!(refusal(update(moved.clone()).await), wrong_connection());
    assert_eq!(
        code(update(json!({"XksProxyUriPath": "/nowhere/kms/xks/v1"})).await),
        "XksProxyInvalidConfigurationException"
    );
    on(&world, "DisconnectCustomKeyStore", &store).await.unwrap();
    assert_eq!(code(update(moved).await), "XksProxyUriUnreachableException");
    assert_eq!(code(update(json!({"KeyStorePassword": "kmsPswd1"})).await), "ValidationException");
    let world = world.restarted().await;
    on(&world, "ConnectCustomKeyStore", &store).await.unwrap();
    assert_eq!(described(&world, &store).await["ConnectionState"], "CONNECTED", "the new secret was kept");
}

#[tokio::test]
async fn stores_are_found_by_name_and_only_in_their_account() {
    let world = World::new().await;
    let made = [create(&world, json!({})).await.unwrap()];
    let by_name = json!({"CustomKeyStoreName": "a"});
    let found = world.call(&root(OWNER), "DescribeCustomKeyStores", by_name).await.unwrap();
    assert_eq!(found["CustomKeyStores"][0]["CustomKeyStoreId"], *made[0]);
    let unknown = json!({"CustomKeyStoreName": "z"});
    let told = world.call(&root(OWNER), "DescribeCustomKeyStores", unknown).await;
    assert_eq!(code(told), "CustomKeyStoreNotFoundException");
    let both = json!({"CustomKeyStoreName": "a", "CustomKeyStoreId": made[0]});
    assert_eq!(code(world.call(&root(OWNER), "DescribeCustomKeyStores", both).await), "ValidationException");
    let marker = json!({"Marker": "nonsense"});
    let told = world.call(&root(OWNER), "DescribeCustomKeyStores", marker).await;
    assert_eq!(code(told), "InvalidMarkerException");
    let foreign =
        world.call(&root(OTHER), "DescribeCustomKeyStores", json!({"CustomKeyStoreId": made[0]})).await;
    assert_eq!(code(foreign), "CustomKeyStoreNotFoundException", "of another account");
}

#[tokio::test]
async fn policies_of_the_account_decide_and_the_secret_is_in_no_record() {
    let world = World::new().await;
    let maker = user("maker");
    let mut policy = allow(json!(["kms:CreateCustomKeyStore", "kms:ConnectCustomKeyStore"]), "*");
    policy["Statement"][0]["Condition"] = json!({"StringEquals": {"kms:CallerAccount": OWNER}});
    world.give(&maker, &[policy]);
    let made = world.call(&maker, "CreateCustomKeyStore", request(json!({}))).await.unwrap();
    let store = text(&made, "CustomKeyStoreId");
    world.call(&maker, "ConnectCustomKeyStore", json!({"CustomKeyStoreId": store})).await.unwrap();
    let told =
        refusal(world.call(&maker, "DisconnectCustomKeyStore", json!({"CustomKeyStoreId": store})).await);
    let denied = format!(
        "User: {} is not authorized to perform: kms:DisconnectCustomKeyStore because no identity-based policy allows \
         the kms:DisconnectCustomKeyStore action",
        maker.arn()
    );
    assert_eq!(told, expect("AccessDeniedException", denied));

    let records = world.records(OWNER).await;
    assert!(!serde_json::to_string(&records).unwrap().contains(SECRET));
    let made = records.iter().find(|record| record.event_name == "CreateCustomKeyStore").unwrap();
    let asked = made.request_parameters.as_ref().unwrap();
    assert_eq!(asked["xksProxyAuthenticationCredential"], "****");
    assert_eq!(
        (&asked["customKeyStoreName"], &asked["xksProxyUriPath"]),
        (&json!("a"), &json!("/kms/xks/v1"))
    );
    assert_eq!(made.response_elements, Some(json!({"customKeyStoreId": store})));
    let connected = records.iter().find(|record| record.event_name == "ConnectCustomKeyStore").unwrap();
    assert_eq!(connected.request_parameters.as_ref().unwrap()["customKeyStoreId"], store);
    assert_eq!(connected.additional_event_data.as_ref().unwrap()["customKeyStoreName"], "a");
    assert_eq!(connected.response_elements, None);
}

#[tokio::test]
async fn the_secret_is_sealed_where_it_is_kept() {
    let world = World::new().await;
    create(&world, json!({})).await.unwrap();
    let dir = world.dir.path().to_owned();
    world.store.close().await;
    for entry in
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file())
    {
        let bytes = std::fs::read(&entry).unwrap();
        let found = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        assert!(!found, "{}", entry.display());
    }
}
