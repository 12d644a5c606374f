"""Envelope encryption and the encryption context: E3 to E8, S29 and S30 of the coverage table."""

import sqlite3

import pytest

from harness import trail
from harness.faults import refused

CONTEXT = {"aws:rds:db-id": "db-EXAMPLE", "Purpose": "orders"}


@pytest.fixture
def blob(root, key):
    return root.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"secret", EncryptionContext=CONTEXT)["CiphertextBlob"]


def test_e03_no_answer_holds_key_material(root, key):
    described = root.kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
    assert not [name for name in described if "Plaintext" in name or name.endswith("Material")]
    # The operations that could carry a key outside are those of asymmetric and imported keys, and are not served.
    for call in (lambda: root.kms.get_public_key(KeyId=key["KeyId"]),
                 lambda: root.kms.get_parameters_for_import(
                     KeyId=key["KeyId"], WrappingAlgorithm="RSAES_OAEP_SHA_256", WrappingKeySpec="RSA_2048")):
        with refused("UnsupportedOperationException"):
            call()


def test_e04_the_same_data_key_is_put_under_another_key_without_touching_the_data(root, key):
    other = root.kms.create_key()["KeyMetadata"]
    made = root.kms.generate_data_key(KeyId=key["KeyId"], KeySpec="AES_256", EncryptionContext=CONTEXT)
    moved = root.kms.re_encrypt(
        CiphertextBlob=made["CiphertextBlob"], SourceEncryptionContext=CONTEXT, DestinationKeyId=other["KeyId"],
        DestinationEncryptionContext={"now": "there"})
    assert (moved["SourceKeyId"], moved["KeyId"]) == (key["Arn"], other["Arn"])
    root.kms.disable_key(KeyId=key["KeyId"])
    opened = root.kms.decrypt(CiphertextBlob=moved["CiphertextBlob"], EncryptionContext={"now": "there"})
    assert (opened["KeyId"], opened["Plaintext"]) == (other["Arn"], made["Plaintext"])


def test_e05_a_data_key_comes_in_the_clear_and_wrapped_or_only_wrapped(root, key):
    both = root.kms.generate_data_key(KeyId=key["KeyId"], KeySpec="AES_256", EncryptionContext=CONTEXT)
    opened = root.kms.decrypt(CiphertextBlob=both["CiphertextBlob"], EncryptionContext=CONTEXT)
    assert opened["Plaintext"] == both["Plaintext"] and opened["KeyMaterialId"] == both["KeyMaterialId"]
    wrapped = root.kms.generate_data_key_without_plaintext(KeyId=key["KeyId"], KeySpec="AES_256")
    assert "Plaintext" not in wrapped
    assert len(root.kms.decrypt(CiphertextBlob=wrapped["CiphertextBlob"])["Plaintext"]) == 32


def test_e06_a_data_key_leaves_no_state_behind(server, root, key):
    database = server.home / "state.db"
    root.kms.generate_data_key(KeyId=key["KeyId"], KeySpec="AES_256")
    before = _rows(database)
    for _ in range(20):
        root.kms.generate_data_key(KeyId=key["KeyId"], KeySpec="AES_256")
    after = _rows(database)
    assert {name for name in after if after[name] != before[name] and "event" not in name and "trail" not in name
            } == set()


def _rows(path):
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        return {name: database.execute(f'select count(*) from "{name}"').fetchone()[0] for name in tables}


@pytest.mark.parametrize(("asked", "length"), [
    ({"KeySpec": "AES_128"}, 16), ({"KeySpec": "AES_256"}, 32), ({"NumberOfBytes": 1}, 1),
    ({"NumberOfBytes": 1024}, 1024)])
def test_e07_data_keys_have_the_length_that_is_asked_for(root, key, asked, length):
    made = root.kms.generate_data_key(KeyId=key["KeyId"], **asked)
    assert len(made["Plaintext"]) == length
    wrapped = root.kms.generate_data_key_without_plaintext(KeyId=key["KeyId"], **asked)
    assert len(root.kms.decrypt(CiphertextBlob=wrapped["CiphertextBlob"])["Plaintext"]) == length


def test_e07_a_data_key_has_either_a_spec_or_a_length(root, key):
    for asked in ({}, {"KeySpec": "AES_256", "NumberOfBytes": 32}):
        for call in (root.kms.generate_data_key, root.kms.generate_data_key_without_plaintext):
            with refused("ValidationException", "Please specify either number of bytes or key spec."):
                call(KeyId=key["KeyId"], **asked)


def test_e08_re_encryption_shows_no_plaintext(server, root, key):
    marker = b"re-encrypted-marker-5577006791947779410"
    sealed = root.kms.encrypt(KeyId=key["KeyId"], Plaintext=marker)["CiphertextBlob"]
    answer = root.kms.re_encrypt(CiphertextBlob=sealed, DestinationKeyId=key["KeyId"])
    assert "Plaintext" not in answer and marker not in answer["CiphertextBlob"]
    record = trail.of_request(root, answer)
    assert record["responseElements"] is None and marker.decode() not in str(record)
    assert marker.decode() not in server.log.read_text(errors="replace")


def test_s29_one_changed_byte_of_the_context_is_noticed(root, blob):
    for name, value in CONTEXT.items():
        for changed in ({name: value[:-1] + "X"}, {name: value + " "}, {name: value[:-1]}):
            with refused("InvalidCiphertextException") as refusal:
                root.kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT | changed)
            assert refusal.message == ""


@pytest.mark.parametrize("context", [
    {}, {"Purpose": "orders"}, CONTEXT | {"more": "x"}, {"aws:rds:db-id": "db-EXAMPLE", "purpose": "orders"},
    {"aws:rds:db-id": "db-example", "Purpose": "orders"}, {"aws:rds:db-id": "orders", "Purpose": "db-EXAMPLE"}],
    ids=["none", "missing", "extra", "case of key", "case of value", "swapped"])
def test_s30_another_context_does_not_open(root, blob, context):
    with refused("InvalidCiphertextException"):
        root.kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)


def test_s30_the_order_of_the_context_does_not_matter(root, blob):
    other_order = dict(reversed(CONTEXT.items()))
    assert root.kms.decrypt(CiphertextBlob=blob, EncryptionContext=other_order)["Plaintext"] == b"secret"


def test_s30_pairs_cannot_be_shifted_into_one_another(root, key):
    sealed = root.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x", EncryptionContext={"ab": "c", "d": ""})
    for context in ({"a": "bc", "d": ""}, {"ab": "", "cd": ""}, {"ab": "cd"}):
        with refused("InvalidCiphertextException"):
            root.kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"], EncryptionContext=context)


def test_every_changed_or_missing_byte_of_a_ciphertext_is_noticed(root, key):
    blob = root.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"secret")["CiphertextBlob"]
    # What is changed in the name of the key leads to no key that the caller may use.
    expected = ("InvalidCiphertextException", "AccessDeniedException", "NotFoundException")
    for at in range(len(blob)):
        changed = bytearray(blob)
        changed[at] ^= 1
        _does_not_open(root, bytes(changed), expected)
    for length in (1, 4, 5, 6, 40, len(blob) // 2, len(blob) - 1):
        _does_not_open(root, blob[:length], expected)
    _does_not_open(root, blob + b"\0", expected)


def _does_not_open(root, blob, expected):
    try:
        root.kms.decrypt(CiphertextBlob=blob)
    except root.kms.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] in expected, error
    else:
        raise AssertionError("a changed ciphertext was opened")


def test_a_key_opens_only_its_own_ciphertext(root, key, blob):
    other = root.kms.create_key()["KeyMetadata"]
    text = "The key ID in the request does not identify a CMK that can perform this operation."
    with refused("IncorrectKeyException", text):
        root.kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT, KeyId=other["KeyId"])
    opened = root.kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT, KeyId=key["Arn"])
    assert opened["EncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"


def test_the_longest_plaintext_is_4096_bytes(root, key):
    blob = root.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x" * 4096)["CiphertextBlob"]
    assert len(blob) <= 6144 and root.kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x" * 4096
    with refused("ValidationException", "Value at 'plaintext' failed to satisfy constraint"):
        root.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x" * 4097)
