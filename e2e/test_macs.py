"""Keys for MACs, by stock clients."""

import base64

import pytest

from harness import clusters, trail
from harness.clients import allow
from harness.faults import refused

BITS = (224, 256, 384, 512)


def mac_key(root, bits):
    return root.kms.create_key(KeySpec=f"HMAC_{bits}", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]


@pytest.mark.parametrize("bits", BITS)
def test_a_code_is_verified_and_a_changed_one_is_not(root, bits):
    key, algorithm = mac_key(root, bits), f"HMAC_SHA_{bits}"
    assert key["MacAlgorithms"] == [algorithm] and "CurrentKeyMaterialId" not in key
    asked = {"KeyId": key["KeyId"], "MacAlgorithm": algorithm}
    made = root.kms.generate_mac(Message=b"message", **asked)
    assert (len(made["Mac"]) * 8, made["KeyId"]) == (bits, key["Arn"])
    assert root.kms.verify_mac(Message=b"message", Mac=made["Mac"], **asked)["MacValid"] is True
    for message, mac in ((b"massage", made["Mac"]), (b"message", bytes(len(made["Mac"])))):
        with refused("KMSInvalidMacException"):
            root.kms.verify_mac(Message=message, Mac=mac, **asked)
    with refused("DryRunOperationException"):
        root.kms.generate_mac(Message=b"message", DryRun=True, **asked)


def test_a_key_for_macs_refuses_what_is_not_its_own(root, key):
    macs = mac_key(root, 256)
    with refused("InvalidKeyUsageException", "Algorithm HMAC_SHA_512 is incompatible with key spec HMAC_256."):
        root.kms.generate_mac(KeyId=macs["KeyId"], Message=b"x", MacAlgorithm="HMAC_SHA_512")
    usage = f"{macs['Arn']} key usage is GENERATE_VERIFY_MAC which is not valid for Encrypt."
    with refused("InvalidKeyUsageException", usage):
        root.kms.encrypt(KeyId=macs["KeyId"], Plaintext=b"x")
    with refused("InvalidKeyUsageException"):
        root.kms.generate_mac(KeyId=key["KeyId"], Message=b"x", MacAlgorithm="HMAC_SHA_256")
    blob = root.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    with refused("IncorrectKeyException"):
        root.kms.decrypt(KeyId=macs["KeyId"], CiphertextBlob=blob)


def test_r06_a_key_for_macs_is_not_rotated(root):
    key = mac_key(root, 512)["KeyId"]
    for call in (root.kms.enable_key_rotation, root.kms.disable_key_rotation, root.kms.rotate_key_on_demand,
                 root.kms.get_key_rotation_status):
        with refused("UnsupportedOperationException"):
            call(KeyId=key)


def test_c09_a_key_for_macs_is_not_for_clusters(root, name):
    with refused("KMSKeyNotAccessibleFault"):
        clusters.create_cluster(root, name, KmsKeyId=mac_key(root, 256)["Arn"])


def test_neither_message_nor_code_is_recorded(root, user):
    key = mac_key(root, 256)
    may = user(allow("kms:GenerateMac"))
    made = may.kms.generate_mac(KeyId=key["Arn"], Message=b"very secret message", MacAlgorithm="HMAC_SHA_256")
    record = trail.of_request(root, made)
    assert record["requestParameters"] == {"keyId": key["Arn"], "macAlgorithm": "HMAC_SHA_256"}
    assert base64.b64encode(made["Mac"]).decode() not in str(record)
    with refused("AccessDeniedException"):
        may.kms.verify_mac(KeyId=key["Arn"], Message=b"x", Mac=made["Mac"], MacAlgorithm="HMAC_SHA_256")


def test_the_stock_command_line_makes_and_verifies_codes(root, tmp_path):
    key = mac_key(root, 384)["KeyId"]
    message = tmp_path / "message"
    message.write_bytes(b"from the command line")
    asked = ["--key-id", key, "--message", f"fileb://{message}", "--mac-algorithm", "HMAC_SHA_384"]
    mac = tmp_path / "mac"
    mac.write_bytes(base64.b64decode(root.aws("kms", "generate-mac", *asked)["Mac"]))
    assert root.aws("kms", "verify-mac", *asked, "--mac", f"fileb://{mac}")["MacValid"] is True
