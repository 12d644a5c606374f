"""Imported key material, wrapped by OpenSSL as the documentation of AWS has it."""

import datetime
import hashlib
import hmac
import os
import subprocess
import time

import pytest

from harness import trail
from harness.faults import refused


def openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], capture_output=True, check=False)
    assert done.returncode == 0, f"openssl {' '.join(arguments)}\n{done.stderr.decode()}"
    return done.stdout


class Importer:
    """Wraps material for a key and imports it."""

    def __init__(self, kms, directory):
        self.kms, self.directory = kms, directory

    def file(self, name, content):
        path = self.directory / name
        path.write_bytes(content)
        return str(path)

    def wrap(self, public, algorithm, material):
        oaep = ["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", f"rsa_oaep_md:sha{algorithm.rsplit('_', 1)[1]}"]
        key = ["-pubin", "-keyform", "DER", "-inkey", self.file("wrapping.der", public)]
        encrypt = lambda plain: openssl("pkeyutl", "-encrypt", *key, *oaep, "-in", self.file("plain", plain))
        if algorithm.startswith("RSAES_OAEP"):
            return encrypt(material)
        aes = os.urandom(32)
        return encrypt(aes) + openssl("enc", "-id-aes256-wrap-pad", "-iv", "A65959A6", "-K", aes.hex(),
                                      "-in", self.file("material", material))

    def __call__(self, key, material, algorithm="RSAES_OAEP_SHA_256", size="RSA_2048", **more):
        parameters = self.kms.get_parameters_for_import(KeyId=key, WrappingAlgorithm=algorithm, WrappingKeySpec=size)
        if not more.keys() & {"ValidTo", "ExpirationModel"}:
            more["ExpirationModel"] = "KEY_MATERIAL_DOES_NOT_EXPIRE"
        return self.kms.import_key_material(
            KeyId=key, ImportToken=parameters["ImportToken"],
            EncryptedKeyMaterial=self.wrap(parameters["PublicKey"], algorithm, material), **more)


@pytest.fixture
def importer(root, tmp_path):
    return Importer(root.kms, tmp_path)


@pytest.fixture
def external(root):
    return root.kms.create_key(Origin="EXTERNAL")["KeyMetadata"]


def state(root, key):
    return root.kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"]


@pytest.mark.parametrize("size", ["RSA_2048", "RSA_3072", "RSA_4096"])
@pytest.mark.parametrize("algorithm", ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"])
def test_a_key_works_with_the_material_of_its_owner_and_no_other(root, importer, external, algorithm, size):
    assert (external["KeyState"], external["Enabled"], external["Origin"]) == ("PendingImport", False, "EXTERNAL")
    key, material = external["KeyId"], os.urandom(32)
    with refused("KMSInvalidStateException", f"{external['Arn']} is pending import."):
        root.kms.encrypt(KeyId=key, Plaintext=b"x")
    importer(key, material, algorithm, size)
    blob = root.kms.encrypt(KeyId=key, Plaintext=b"plain")["CiphertextBlob"]
    root.kms.delete_imported_key_material(KeyId=key)
    assert state(root, external) == "PendingImport"
    with refused("IncorrectKeyMaterialException"):
        importer(key, os.urandom(32), algorithm, size)
    importer(key, material, algorithm, size)
    assert root.kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"plain"


def test_an_imported_key_for_macs_makes_the_codes_that_its_owner_computes(root, importer):
    key = root.kms.create_key(Origin="EXTERNAL", KeySpec="HMAC_384", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]
    material = os.urandom(48)
    importer(key["KeyId"], material)
    mac = root.kms.generate_mac(KeyId=key["KeyId"], Message=b"message", MacAlgorithm="HMAC_SHA_384")["Mac"]
    assert mac == hmac.digest(material, b"message", hashlib.sha384)


@pytest.mark.parametrize("spec, made", [
    ("RSA_3072", ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"]),
    ("ECC_NIST_P384", ["-algorithm", "EC", "-pkeyopt", "group:P-384"]),
    ("ECC_SECG_P256K1", ["-algorithm", "EC", "-pkeyopt", "group:secp256k1"]),
    ("ECC_NIST_EDWARDS25519", ["-algorithm", "ED25519"])])
def test_a_private_key_of_openssl_is_imported(root, importer, tmp_path, spec, made):
    key = root.kms.create_key(Origin="EXTERNAL", KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    pem = importer.file("own.pem", openssl("genpkey", *made))
    private = openssl("pkcs8", "-topk8", "-nocrypt", "-in", pem, "-outform", "DER")
    importer(key, private, "RSA_AES_KEY_WRAP_SHA_256", "RSA_4096")
    public = openssl("pkey", "-in", pem, "-pubout", "-outform", "DER")
    assert root.kms.get_public_key(KeyId=key)["PublicKey"] == public


def test_r06_an_imported_key_is_rotated_on_demand_with_new_material_only(root, importer, external):
    key = external["KeyId"]
    importer(key, os.urandom(32))
    blob = root.kms.encrypt(KeyId=key, Plaintext=b"before")["CiphertextBlob"]
    with refused("UnsupportedOperationException", "origin is EXTERNAL which is not valid for this operation."):
        root.kms.enable_key_rotation(KeyId=key)
    with refused("KMSInvalidStateException", "No available key material pending rotation for the key"):
        root.kms.rotate_key_on_demand(KeyId=key)
    new = importer(key, os.urandom(32), ImportType="NEW_KEY_MATERIAL")["KeyMaterialId"]
    with refused("KMSInvalidStateException", "is pending rotation."):
        importer(key, os.urandom(32), ImportType="NEW_KEY_MATERIAL")
    root.kms.rotate_key_on_demand(KeyId=key)
    assert root.kms.describe_key(KeyId=key)["KeyMetadata"]["CurrentKeyMaterialId"] == new
    assert root.kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"before"


def test_material_goes_at_its_time_and_the_trail_tells(root, importer, external):
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=5)
    importer(external["KeyId"], os.urandom(32), ValidTo=soon)
    described = root.kms.describe_key(KeyId=external["KeyId"])["KeyMetadata"]
    assert described["ExpirationModel"] == "KEY_MATERIAL_EXPIRES" and described["ValidTo"]
    deadline = time.monotonic() + 120
    while state(root, external) != "PendingImport":
        assert time.monotonic() < deadline, "the material is still there"
        time.sleep(1)
    expired = [record for record in trail.named(root, "DeleteExpiredKeyMaterial")
               if record["resources"][0]["ARN"] == external["Arn"]]
    assert len(expired) == 1 and expired[0]["eventType"] == "AwsServiceEvent"


def test_what_is_not_as_it_should_be_is_refused(root, importer, external, key):
    with refused("UnsupportedOperationException", f"{key['Arn']} origin is AWS_KMS which is not valid"):
        importer(key["KeyId"], os.urandom(32))
    with refused("IncorrectKeyMaterialException"):
        importer(external["KeyId"], os.urandom(31))
    with refused("ValidationException", "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES"):
        importer(external["KeyId"], os.urandom(32), ExpirationModel="KEY_MATERIAL_EXPIRES")
    parameters = root.kms.get_parameters_for_import(
        KeyId=external["KeyId"], WrappingAlgorithm="RSAES_OAEP_SHA_256", WrappingKeySpec="RSA_2048")
    asked = {"KeyId": external["KeyId"], "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}
    with refused("InvalidCiphertextException"):
        root.kms.import_key_material(ImportToken=parameters["ImportToken"], EncryptedKeyMaterial=b"x", **asked)
    with refused("InvalidImportTokenException"):
        root.kms.import_key_material(ImportToken=b"x", EncryptedKeyMaterial=b"x", **asked)
    assert state(root, external) == "PendingImport"
