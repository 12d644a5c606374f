"""Clients that others have built on KMS, unmodified: each seals and opens with keys of the server, and cannot without."""

import subprocess

import aws_encryption_sdk
import botocore.session
import pytest
import tink
from aws_encryption_sdk.exceptions import DecryptKeyError, GenerateKeyError
from aws_encryption_sdk.key_providers.kms import (
    MRKAwareDiscoveryAwsKmsMasterKeyProvider, MRKAwareStrictAwsKmsMasterKeyProvider)
from tink import aead
from tink.integration import awskms

from harness import waiting
from harness.program import REGION, ROOT

PLAINTEXT = b"of orders"


@pytest.fixture
def surroundings(monkeypatch, tmp_path):
    """What a shell has after `eval "$(strongroom env)"`, for a principal."""
    def enter(principal):
        file = tmp_path / "credentials"
        file.write_text(f"[default]\naws_access_key_id = {principal.access_key}\n"
                        f"aws_secret_access_key = {principal.secret_key}\n")
        for name, value in {"AWS_ENDPOINT_URL": principal.url, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION,
                            "AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_CONFIG_FILE": "/dev/null",
                            "AWS_MAX_ATTEMPTS": "1"}.items():
            monkeypatch.setenv(name, value)
    return enter


@pytest.fixture
def key(root):
    """The ARN of a new key."""
    return root.kms.create_key()["KeyMetadata"]["Arn"]


def test_the_encryption_sdk_seals_under_several_keys_and_opens_with_any(surroundings, root, key):
    surroundings(root)
    other = root.kms.create_key()["KeyMetadata"]["Arn"]
    client = aws_encryption_sdk.EncryptionSDKClient()
    session = botocore.session.Session()
    provider = lambda *keys: aws_encryption_sdk.StrictAwsKmsMasterKeyProvider(key_ids=keys, botocore_session=session)
    context = {"table": "orders"}
    sealed, _ = client.encrypt(source=PLAINTEXT, key_provider=provider(key, other), encryption_context=context)
    discovery = aws_encryption_sdk.DiscoveryAwsKmsMasterKeyProvider(botocore_session=session)
    for opener in (provider(key), provider(other), discovery):
        opened, header = client.decrypt(source=sealed, key_provider=opener)
        assert opened == PLAINTEXT
        assert context.items() <= header.encryption_context.items()
    root.kms.disable_key(KeyId=key)
    with pytest.raises(DecryptKeyError):
        client.decrypt(source=sealed, key_provider=provider(key))
    with pytest.raises(GenerateKeyError):
        client.encrypt(source=PLAINTEXT, key_provider=provider(key))
    assert client.decrypt(source=sealed, key_provider=provider(other))[0] == PLAINTEXT


def test_the_encryption_sdk_opens_in_one_region_what_it_sealed_in_another(surroundings, root):
    surroundings(root)
    primary = root.kms.create_key(MultiRegion=True)["KeyMetadata"]["Arn"]
    made = root.kms.replicate_key(KeyId=primary, ReplicaRegion="eu-west-1")["ReplicaKeyMetadata"]["Arn"]
    there = root.client("kms", "eu-west-1")
    waiting.until(lambda: there.describe_key(KeyId=made)["KeyMetadata"]["Enabled"], "the replica to be made")
    client, session = aws_encryption_sdk.EncryptionSDKClient(), botocore.session.Session()
    aware = lambda key: MRKAwareStrictAwsKmsMasterKeyProvider(key_ids=[key], botocore_session=session)
    discovery = MRKAwareDiscoveryAwsKmsMasterKeyProvider(discovery_region="eu-west-1", botocore_session=session)
    sealed, _ = client.encrypt(source=PLAINTEXT, key_provider=aware(primary))
    root.kms.disable_key(KeyId=primary)
    for opener in (aware(made), discovery):
        assert client.decrypt(source=sealed, key_provider=opener)[0] == PLAINTEXT
    there.disable_key(KeyId=made)
    with pytest.raises(DecryptKeyError):
        client.decrypt(source=sealed, key_provider=discovery)


def test_tink_wraps_its_data_keys(surroundings, root, key):
    surroundings(root)
    aead.register()
    uri = f"aws-kms://{key}"
    remote = awskms.AwsKmsClient(uri, None).get_aead(uri)
    envelope = aead.KmsEnvelopeAead(aead.aead_key_templates.AES256_GCM, remote)
    sealed = envelope.encrypt(PLAINTEXT, b"table orders")
    assert envelope.decrypt(sealed, b"table orders") == PLAINTEXT
    with pytest.raises(tink.TinkError):
        envelope.decrypt(sealed, b"table others")
    direct = remote.encrypt(PLAINTEXT, b"bound")
    assert remote.decrypt(direct, b"bound") == PLAINTEXT
    with pytest.raises(tink.TinkError):
        remote.decrypt(direct, b"to something else")
    root.kms.disable_key(KeyId=key)
    with pytest.raises(tink.TinkError):
        envelope.decrypt(sealed, b"table orders")


def test_the_sdk_for_javascript_makes_uses_and_loses_keys(surroundings, root):
    surroundings(root)
    done = subprocess.run(["node", str(ROOT / "e2e/node/kms.mjs")], text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
