"""Custom key stores of type EXTERNAL_KEY_STORE, through the stock clients, before a proxy that can misbehave."""

import base64
import json

import pytest

from harness import clusters, program, trail, waiting, xks
from harness.faults import refused

RECOVERABLE = "inaccessible-encryption-credentials-recoverable"
CONTEXT = {"Department": "Engineering"}


@pytest.fixture
def proxy():
    running = xks.Proxy()
    yield running
    running.breaks = None
    running.close()


@pytest.fixture
def own_server(proxy):
    """A server that knows the proxy."""
    running = program.Server(external_key_stores=proxy.settings()).serve()
    yield running
    running.close()


@pytest.fixture
def kms(own_root):
    return own_root.kms


@pytest.fixture
def store(kms, proxy):
    """A connected key store: its id."""
    made = kms.create_custom_key_store(**proxy.request())["CustomKeyStoreId"]
    kms.connect_custom_key_store(CustomKeyStoreId=made)
    return made


@pytest.fixture
def external(kms, store):
    """A key in it: its metadata."""
    return kms.create_key(Origin="EXTERNAL_KEY_STORE", CustomKeyStoreId=store, XksKeyId="key-1")["KeyMetadata"]


def _shown(kms, store):
    return kms.describe_custom_key_stores(CustomKeyStoreId=store)["CustomKeyStores"][0]


def _state(kms, key):
    return kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"]


def test_the_stock_command_line_makes_and_uses_a_key_in_an_external_key_store(own_root, proxy, tmp_path):
    aws = lambda *words: own_root.aws("kms", *words)
    # As JSON: version 1 of the command line would fetch an endpoint that stands alone.
    wanted = json.dumps(proxy.request(CustomKeyStoreName="ExampleStore"))
    made = aws("create-custom-key-store", "--cli-input-json", wanted)
    store = made["CustomKeyStoreId"]
    aws("connect-custom-key-store", "--custom-key-store-id", store)
    shown = aws("describe-custom-key-stores", "--custom-key-store-name", "ExampleStore")["CustomKeyStores"][0]
    assert shown["ConnectionState"] == "CONNECTED"
    assert shown["XksProxyConfiguration"] == {
        "Connectivity": "PUBLIC_ENDPOINT", "AccessKeyId": xks.ACCESS_KEY, "UriEndpoint": f"https://{xks.HOST}",
        "UriPath": xks.PATH}
    key = aws("create-key", "--origin", "EXTERNAL_KEY_STORE", "--custom-key-store-id", store, "--xks-key-id",
              "key-1")["KeyMetadata"]
    assert (key["Origin"], key["XksKeyConfiguration"], key["CustomKeyStoreId"]) == (
        "EXTERNAL_KEY_STORE", {"Id": "key-1"}, store)
    plain = tmp_path / "plain"
    plain.write_bytes(b"attack at dawn")
    sealed = aws("encrypt", "--key-id", key["KeyId"], "--plaintext", f"fileb://{plain}")["CiphertextBlob"]
    blob = tmp_path / "sealed"
    blob.write_bytes(base64.b64decode(sealed))
    opened = aws("decrypt", "--ciphertext-blob", f"fileb://{blob}")["Plaintext"]
    assert base64.b64decode(opened) == b"attack at dawn"
    aws("update-custom-key-store", "--custom-key-store-id", store, "--new-custom-key-store-name", "Renamed")
    aws("disconnect-custom-key-store", "--custom-key-store-id", store)
    failed = own_root.aws("kms", "delete-custom-key-store", "--custom-key-store-id", store, check=False)
    assert "CustomKeyStoreHasCMKsException" in failed.stderr


def test_every_use_goes_to_the_proxy_and_the_trail_tells_so(own_root, kms, proxy, store, external):
    sealed = kms.encrypt(KeyId=external["KeyId"], Plaintext=b"x" * 4096, EncryptionContext=CONTEXT)
    asked = proxy.last("/encrypt")
    request = sealed["ResponseMetadata"]["RequestId"]
    assert asked["requestMetadata"] == {
        "awsPrincipalArn": own_root.arn, "kmsKeyArn": external["Arn"], "kmsOperation": "Encrypt", "kmsRequestId": request}
    assert b"xxxxxxxx" not in base64.b64decode(asked["plaintext"])
    opened = kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"], EncryptionContext=CONTEXT)
    assert opened["Plaintext"] == b"x" * 4096 and "KeyMaterialId" not in opened
    record = trail.of_request(own_root, opened)
    assert record["additionalEventData"] == {"customKeyStoreId": store, "xksKeyId": "key-1"}
    with refused("KMSInvalidStateException", "ciphertext or additional authenticated data is corrupted") as told:
        kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"])
    record = trail.of_request(own_root, told)
    assert record["additionalEventData"] == {"customKeyStoreId": store, "xksKeyId": "key-1"}
    assert record["errorCode"] == "KMSInvalidStateException"
    data = kms.generate_data_key(KeyId=external["Arn"], KeySpec="AES_256")
    assert kms.decrypt(CiphertextBlob=data["CiphertextBlob"])["Plaintext"] == data["Plaintext"]
    plain = kms.create_key()["KeyMetadata"]
    moved = kms.re_encrypt(CiphertextBlob=sealed["CiphertextBlob"], SourceEncryptionContext=CONTEXT,
                           DestinationKeyId=plain["KeyId"])
    assert kms.decrypt(CiphertextBlob=moved["CiphertextBlob"])["Plaintext"] == b"x" * 4096
    made = trail.named(own_root, "CreateCustomKeyStore")[0]
    assert made["requestParameters"]["xksProxyAuthenticationCredential"] == "****"


def test_r06_a_key_in_a_custom_key_store_is_not_rotated(kms, external):
    for call in (kms.enable_key_rotation, kms.disable_key_rotation, kms.rotate_key_on_demand,
                 kms.get_key_rotation_status, kms.list_key_rotations):
        with refused("UnsupportedOperationException",
                     f"{external['Arn']} origin is EXTERNAL_KEY_STORE which is not valid for this operation."):
            call(KeyId=external["KeyId"])


# What the proxy does; the text that users read; what the key store says after an attempt to connect.
MISBEHAVIOUR = {
    "slow": (xks.hang, "did not respond in time", "XKS_PROXY_TIMED_OUT"),
    "no-json": (lambda _: b"<html>", "cannot interpret the response", "XKS_PROXY_INVALID_RESPONSE"),
    "empty": (lambda _: {}, "cannot interpret the response", "XKS_PROXY_INVALID_RESPONSE"),
    "too-long": (lambda _: b" " * 100_000, "cannot interpret the response", "XKS_PROXY_INVALID_RESPONSE"),
    "5xx": (xks.refuse(500, "InternalException"), "cannot communicate with the external key manager",
            "XKS_PROXY_INVALID_RESPONSE"),
    "dependency": (xks.refuse(503, "DependencyTimeoutException"), "in the time allotted", "XKS_PROXY_TIMED_OUT"),
    "throttled": (xks.refuse(429, "ThrottlingException"), "very high request rate", "XKS_PROXY_NOT_REACHABLE"),
    "denied": (xks.refuse(403, "AccessDeniedException"), "denied access to the operation", "XKS_PROXY_ACCESS_DENIED"),
    "unknown-signer": (xks.refuse(401, "AuthenticationFailedException"), "could not authenticate AWS KMS",
                       "INVALID_CREDENTIALS"),
    "path": (xks.refuse(404, "InvalidUriPathException"), "invalid URI path", "XKS_PROXY_INVALID_CONFIGURATION"),
}


def test_a_proxy_that_misbehaves_is_told_in_awss_words_and_forgotten(kms, proxy, store, external):
    sealed = kms.encrypt(KeyId=external["KeyId"], Plaintext=b"kept")["CiphertextBlob"]
    for name, (broken, text, code) in MISBEHAVIOUR.items():
        proxy.breaks = broken
        with refused("KMSInvalidStateException", text):
            kms.encrypt(KeyId=external["KeyId"], Plaintext=b"x")
        with refused("KMSInvalidStateException", text):
            kms.decrypt(CiphertextBlob=sealed)
        kms.disconnect_custom_key_store(CustomKeyStoreId=store)
        kms.connect_custom_key_store(CustomKeyStoreId=store)
        shown = _shown(kms, store)
        assert (shown["ConnectionState"], shown["ConnectionErrorCode"]) == ("FAILED", code), name
        assert _state(kms, external) == "Unavailable"
        with refused("CustomKeyStoreInvalidStateException"):
            kms.connect_custom_key_store(CustomKeyStoreId=store)
        kms.disconnect_custom_key_store(CustomKeyStoreId=store)
        proxy.breaks = None
        kms.connect_custom_key_store(CustomKeyStoreId=store)
        assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"kept", name


def test_wrong_tags_and_missing_keys_are_found(kms, proxy, store, external):
    def wrong_tag(operation):
        if operation == "encrypt":
            return {"ciphertext": "AAAA", "initializationVector": "A" * 16, "authenticationTag": "A" * 22 + "==",
                    "ciphertextDataIntegrityValue": "A" * 43 + "="}
        return None
    proxy.breaks = wrong_tag
    with refused("KMSInvalidStateException", "cannot interpret the response"):
        kms.encrypt(KeyId=external["KeyId"], Plaintext=b"x")
    proxy.breaks = None
    make = lambda key: kms.create_key(Origin="EXTERNAL_KEY_STORE", CustomKeyStoreId=store, XksKeyId=key)
    with refused("XksKeyNotFoundException", "could not find the external key"):
        make("none")
    with refused("XksKeyAlreadyInUseException"):
        make("key-1")
    proxy.add("off", "DISABLED")
    with refused("XksKeyInvalidConfigurationException", "The status of specified external key is DISABLED."):
        make("off")
    proxy.materials.pop("key-1")
    with refused("KMSInvalidStateException", "could not find the external key"):
        kms.encrypt(KeyId=external["KeyId"], Plaintext=b"x")


def test_stores_that_cannot_be_are_refused(kms, proxy, store):
    for more, code in (
            ({}, "CustomKeyStoreNameInUseException"),
            ({"CustomKeyStoreName": "b"}, "XksProxyUriInUseException"),
            ({"CustomKeyStoreName": "b", "XksProxyUriPath": "/b/kms/xks/v1"}, "XksProxyInvalidConfigurationException"),
            ({"CustomKeyStoreName": "b", "XksProxyUriEndpoint": "https://localhost"}, "XksProxyUriUnreachableException"),
            ({"CustomKeyStoreName": "b", "XksProxyUriEndpoint": "https://127.0.0.1"}, "ValidationException"),
            ({"CustomKeyStoreType": "AWS_CLOUDHSM"}, "UnsupportedOperationException"),
            ({"CustomKeyStoreName": "b", "XksProxyConnectivity": "VPC_ENDPOINT_SERVICE",
              "XksProxyVpcEndpointServiceName": "com.amazonaws.vpce.us-west-2.vpce-svc-example"},
             "XksProxyVpcEndpointServiceNotFoundException")):
        with refused(code):
            kms.create_custom_key_store(**proxy.request(**more))
    wrong = {"AccessKeyId": xks.ACCESS_KEY, "RawSecretAccessKey": "wrong" * 10}
    with refused("XksProxyIncorrectAuthenticationCredentialException"):
        kms.update_custom_key_store(CustomKeyStoreId=store, XksProxyAuthenticationCredential=wrong)
    kms.disconnect_custom_key_store(CustomKeyStoreId=store)
    kms.update_custom_key_store(CustomKeyStoreId=store, NewCustomKeyStoreName="Renamed")
    assert _shown(kms, store)["CustomKeyStoreName"] == "Renamed"
    kms.delete_custom_key_store(CustomKeyStoreId=store)
    with refused("CustomKeyStoreNotFoundException"):
        kms.describe_custom_key_stores(CustomKeyStoreId=store)


def test_a_killed_server_comes_back_connected_and_no_file_holds_the_secret(own_server, own_root, kms, proxy, store, external):
    sealed = kms.encrypt(KeyId=external["KeyId"], Plaintext=b"kept")["CiphertextBlob"]
    own_server.kill()
    own_server.serve()
    assert _shown(kms, store)["ConnectionState"] == "CONNECTED"
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"kept"
    kms.disconnect_custom_key_store(CustomKeyStoreId=store)
    own_server.kill()
    own_server.serve()
    assert (_shown(kms, store)["ConnectionState"], _state(kms, external)) == ("DISCONNECTED", "Unavailable")
    kms.connect_custom_key_store(CustomKeyStoreId=store)
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"kept"
    own_server.stop()
    for path in [*own_server.home.rglob("*"), own_server.log]:
        if path.is_file():
            assert xks.SECRET_KEY.encode() not in path.read_bytes(), path
    own_server.serve()


def test_a_cluster_under_an_external_key_locks_with_it_and_comes_back(own_root, kms, proxy, store, external):
    rds = own_root.rds
    cluster = clusters.running(own_root, "sealed", KmsKeyId=external["Arn"])
    cluster.execute("create table kept as select id from generate_series(1, 100) id")
    rows = lambda: cluster.execute("select count(*) from kept")
    # Stopped in order once, so that all of it is on the volume: this test is about the key.
    rds.stop_db_cluster(DBClusterIdentifier="sealed")
    cluster.wait("stopped")
    rds.start_db_cluster(DBClusterIdentifier="sealed")
    cluster.wait()
    via = proxy.last("/decrypt")["requestMetadata"]
    assert (via["awsPrincipalArn"], via["kmsKeyArn"]) == ("rds.amazonaws.com", external["Arn"])

    kms.disconnect_custom_key_store(CustomKeyStoreId=store)
    waiting.until(cluster.refuses_connections, "connections to be refused", pause=0.05)
    cluster.wait(RECOVERABLE)
    with refused("KMSKeyNotAccessibleFault"):
        rds.start_db_cluster(DBClusterIdentifier="sealed")
    kms.connect_custom_key_store(CustomKeyStoreId=store)
    rds.start_db_cluster(DBClusterIdentifier="sealed")
    cluster.wait()
    assert rows() == [(100,)]

    # The proxy that cannot tell says nothing about the key; several checks go by.
    asked = len(proxy.seen)
    proxy.breaks = xks.refuse(503, "DependencyTimeoutException")
    waiting.until(lambda: len(proxy.seen) >= asked + 3, "some checks of the key")
    assert rows() == [(100,)]
    # The one that says no does.
    proxy.breaks = xks.refuse(403, "AccessDeniedException")
    waiting.until(cluster.refuses_connections, "connections to be refused", pause=0.05)
    cluster.wait(RECOVERABLE)
    proxy.breaks = None
    rds.start_db_cluster(DBClusterIdentifier="sealed")
    cluster.wait()
    assert rows() == [(100,)]
    cluster.delete()
