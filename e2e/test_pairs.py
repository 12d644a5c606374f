"""Pairs of keys by stock clients, held against OpenSSL: what one makes, the other takes."""

import base64
import hashlib
import json
import subprocess
import urllib.request

import pytest

from harness import clusters
from harness.faults import refused
from harness.signing import Raw

RSA_SIGNING = [f"RSASSA_{padding}_SHA_{bits}" for padding in ("PKCS1_V1_5", "PSS") for bits in (256, 384, 512)]
SIGNERS = [("RSA_2048", algorithm) for algorithm in RSA_SIGNING] + [
    ("RSA_3072", "RSASSA_PSS_SHA_256"), ("RSA_4096", "RSASSA_PKCS1_V1_5_SHA_512"),
    ("ECC_NIST_P256", "ECDSA_SHA_256"), ("ECC_NIST_P384", "ECDSA_SHA_384"), ("ECC_NIST_P521", "ECDSA_SHA_512"),
    ("ECC_SECG_P256K1", "ECDSA_SHA_256")]


class OpenSsl:
    """The command line of OpenSSL, with files in a directory of its own."""

    def __init__(self, directory):
        self.directory = directory

    def file(self, name, content):
        path = self.directory / name
        path.write_bytes(content)
        return str(path)

    def run(self, *arguments):
        done = subprocess.run(["openssl", *arguments], capture_output=True, check=False)
        assert done.returncode == 0, f"openssl {' '.join(arguments)}\n{done.stderr.decode()}"
        return done.stdout

    def public(self, der):
        return ["-pubin", "-keyform", "DER", "-inkey", self.file("public.der", der)]

    def private(self, der):
        return ["-keyform", "DER", "-inkey", self.file("private.der", der)]


@pytest.fixture
def openssl(tmp_path):
    return OpenSsl(tmp_path)


def make(root, spec, usage):
    return root.kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]


def padding(algorithm):
    bits = algorithm.rsplit("_", 1)[1]
    options = ["-pkeyopt", f"digest:sha{bits}"]
    if "PSS" in algorithm:
        options += ["-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest"]
    return options


@pytest.mark.parametrize("spec, algorithm", SIGNERS)
def test_openssl_verifies_what_is_signed(root, openssl, spec, algorithm):
    key = make(root, spec, "SIGN_VERIFY")
    public = root.kms.get_public_key(KeyId=key["KeyId"])
    assert algorithm in public["SigningAlgorithms"] and public["KeySpec"] == spec
    digest = hashlib.new(f"sha{algorithm.rsplit('_', 1)[1]}", b"message").digest()
    for kind, message in (("RAW", b"message"), ("DIGEST", digest)):
        asked = {"KeyId": key["KeyId"], "Message": message, "MessageType": kind, "SigningAlgorithm": algorithm}
        signature = root.kms.sign(**asked)["Signature"]
        openssl.run("pkeyutl", "-verify", *openssl.public(public["PublicKey"]), *padding(algorithm),
                    "-in", openssl.file("digest", digest), "-sigfile", openssl.file("signature", signature))
        assert root.kms.verify(Signature=signature, **asked)["SignatureValid"] is True
        with refused("KMSInvalidSignatureException"):
            root.kms.verify(Signature=signature[:-1] + bytes([signature[-1] ^ 1]), **asked)


def test_openssl_verifies_ed25519(root, openssl):
    key = make(root, "ECC_NIST_EDWARDS25519", "SIGN_VERIFY")["KeyId"]
    public = root.kms.get_public_key(KeyId=key)["PublicKey"]
    signature = root.kms.sign(KeyId=key, Message=b"message", SigningAlgorithm="ED25519_SHA_512")["Signature"]
    openssl.run("pkeyutl", "-verify", "-rawin", *openssl.public(public), "-in", openssl.file("message", b"message"),
                "-sigfile", openssl.file("signature", signature))
    digest = hashlib.sha512(b"message").digest()
    asked = {"KeyId": key, "Message": digest, "MessageType": "DIGEST", "SigningAlgorithm": "ED25519_PH_SHA_512"}
    made = root.kms.sign(**asked)["Signature"]
    assert root.kms.verify(Signature=made, **asked)["SignatureValid"] is True
    with refused("ValidationException"):
        root.kms.sign(KeyId=key, Message=digest, MessageType="DIGEST", SigningAlgorithm="ED25519_SHA_512")


def der_content(der):
    """The content of the last element of a SubjectPublicKeyInfo: the bits of the key."""
    def element(at):
        length, start = der[at + 1], at + 2
        if length & 0x80:
            start += length & 0x7f
            length = int.from_bytes(der[at + 2:start], "big")
        return start, start + length
    inside, _ = element(0)
    _, after_algorithm = element(inside)
    bits, end = element(after_algorithm)
    return der[bits + 1:end]


@pytest.mark.parametrize("spec", ["ML_DSA_44", "ML_DSA_65", "ML_DSA_87"])
def test_a_message_and_its_mu_have_the_same_signatures(root, spec):
    key = make(root, spec, "SIGN_VERIFY")["KeyId"]
    public = der_content(root.kms.get_public_key(KeyId=key)["PublicKey"])
    mu = hashlib.shake_256(hashlib.shake_256(public).digest(64) + b"\0\0" + b"message").digest(64)
    asked = {"KeyId": key, "SigningAlgorithm": "ML_DSA_SHAKE_256"}
    ways = {"RAW": b"message", "EXTERNAL_MU": mu}
    for kind, message in ways.items():
        signature = root.kms.sign(Message=message, MessageType=kind, **asked)["Signature"]
        for other, same in ways.items():
            root.kms.verify(Message=same, MessageType=other, Signature=signature, **asked)


@pytest.mark.parametrize("bits", [1, 256])
@pytest.mark.parametrize("spec", ["RSA_2048", "RSA_4096"])
def test_openssl_encrypts_for_a_key(root, openssl, spec, bits):
    key, algorithm = make(root, spec, "ENCRYPT_DECRYPT")["KeyId"], f"RSAES_OAEP_SHA_{bits}"
    public = root.kms.get_public_key(KeyId=key)
    assert public["EncryptionAlgorithms"] == ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"]
    oaep = ["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", f"rsa_oaep_md:sha{bits}"]
    sealed = openssl.run("pkeyutl", "-encrypt", *openssl.public(public["PublicKey"]), *oaep,
                         "-in", openssl.file("plain", b"plain"))
    assert root.kms.decrypt(KeyId=key, CiphertextBlob=sealed, EncryptionAlgorithm=algorithm)["Plaintext"] == b"plain"
    made = root.kms.encrypt(KeyId=key, Plaintext=b"plain", EncryptionAlgorithm=algorithm)["CiphertextBlob"]
    assert root.kms.decrypt(KeyId=key, CiphertextBlob=made, EncryptionAlgorithm=algorithm)["Plaintext"] == b"plain"
    with refused("InvalidKeyUsageException", f"Algorithm SYMMETRIC_DEFAULT is incompatible with key spec {spec}."):
        root.kms.encrypt(KeyId=key, Plaintext=b"plain")


def test_re_encryption_goes_between_kinds_of_keys(root, key):
    pair = make(root, "RSA_3072", "ENCRYPT_DECRYPT")["KeyId"]
    first = root.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"plain")["CiphertextBlob"]
    there = root.kms.re_encrypt(CiphertextBlob=first, DestinationKeyId=pair,
                                DestinationEncryptionAlgorithm="RSAES_OAEP_SHA_256")["CiphertextBlob"]
    back = root.kms.re_encrypt(CiphertextBlob=there, SourceKeyId=pair, DestinationKeyId=key["KeyId"],
                               SourceEncryptionAlgorithm="RSAES_OAEP_SHA_256")["CiphertextBlob"]
    assert root.kms.decrypt(CiphertextBlob=back)["Plaintext"] == b"plain"


@pytest.mark.parametrize("spec, curve", [("ECC_NIST_P256", "P-256"), ("ECC_NIST_P384", "P-384"),
                                         ("ECC_NIST_P521", "P-521")])
def test_openssl_agrees_on_the_secret(root, openssl, spec, curve):
    key = make(root, spec, "KEY_AGREEMENT")["KeyId"]
    own = openssl.run("genpkey", "-algorithm", "EC", "-pkeyopt", f"group:{curve}", "-outform", "DER")
    private = openssl.private(own)
    public = openssl.run("pkey", "-inform", "DER", "-in", private[-1], "-pubout", "-outform", "DER")
    theirs = openssl.file("theirs.der", root.kms.get_public_key(KeyId=key)["PublicKey"])
    secret = openssl.run("pkeyutl", "-derive", *private, "-peerkey", theirs, "-peerform", "DER")
    derived = root.kms.derive_shared_secret(KeyId=key, KeyAgreementAlgorithm="ECDH", PublicKey=public)
    assert derived["SharedSecret"] == secret


@pytest.mark.parametrize("spec, algorithm", [
    ("RSA_2048", "RSA"), ("RSA_3072", "RSA"), ("RSA_4096", "RSA"), ("ECC_NIST_P256", "EC"), ("ECC_NIST_P384", "EC"),
    ("ECC_NIST_P521", "EC"), ("ECC_SECG_P256K1", "EC"), ("ECC_NIST_EDWARDS25519", "ED25519")])
def test_openssl_reads_data_key_pairs(root, openssl, key, spec, algorithm):
    asked = {"KeyId": key["KeyId"], "KeyPairSpec": spec, "EncryptionContext": {"purpose": "test"}}
    made = root.kms.generate_data_key_pair(**asked)
    private = openssl.private(made["PrivateKeyPlaintext"])[-1]
    public = openssl.run("pkey", "-inform", "DER", "-in", private, "-pubout", "-outform", "DER")
    assert public == made["PublicKey"]
    opened = root.kms.decrypt(CiphertextBlob=made["PrivateKeyCiphertextBlob"], EncryptionContext={"purpose": "test"})
    assert opened["Plaintext"] == made["PrivateKeyPlaintext"]
    sealed = root.kms.generate_data_key_pair_without_plaintext(**asked)
    assert "PrivateKeyPlaintext" not in sealed and sealed["PublicKey"] != public


def newer(root, operation, **asked):
    """A signed call that the stock clients of today do not know; its answer."""
    raw = Raw.json(root, "kms", operation, asked).sign()
    request = urllib.request.Request(root.url + raw.path, data=raw.body, headers=raw.headers, method=raw.method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


@pytest.mark.parametrize("spec", ["ML_KEM_512", "ML_KEM_768", "ML_KEM_1024"])
def test_a_secret_is_encapsulated_and_opened(root, key, spec):
    pair = newer(root, "CreateKey", KeySpec=spec, KeyUsage="ENCAPSULATE_DECAPSULATE")["KeyMetadata"]
    assert pair["EncapsulationAlgorithms"] == ["ML_KEM"]
    asked = {"KeyId": pair["KeyId"], "EncapsulationAlgorithm": "ML_KEM"}
    made = newer(root, "Encapsulate", **asked)
    blob = made["SharedSecretCiphertextBlob"]
    opened = newer(root, "Decapsulate", SharedSecretCiphertextBlob=blob, **asked)
    assert opened["SharedSecret"] == made["SharedSecret"]
    changed = bytearray(base64.b64decode(blob))
    changed[-1] ^= 1
    changed = base64.b64encode(changed).decode()
    opened = newer(root, "Decapsulate", SharedSecretCiphertextBlob=changed, **asked)
    assert opened["SharedSecret"] != made["SharedSecret"]
    assert len(newer(root, "GenerateDataKeyPair", KeyId=key["KeyId"], KeyPairSpec=spec)["PublicKey"]) > 800


def test_r06_a_pair_is_not_rotated(root):
    key = make(root, "ECC_NIST_P256", "SIGN_VERIFY")["KeyId"]
    for call in (root.kms.enable_key_rotation, root.kms.disable_key_rotation, root.kms.rotate_key_on_demand,
                 root.kms.get_key_rotation_status):
        with refused("UnsupportedOperationException"):
            call(KeyId=key)


def test_c09_a_pair_is_not_for_clusters(root, name):
    with refused("KMSKeyNotAccessibleFault"):
        clusters.create_cluster(root, name, KmsKeyId=make(root, "RSA_2048", "ENCRYPT_DECRYPT")["Arn"])


def test_a_key_of_other_regions_is_refused(root):
    with refused("UnsupportedOperationException"):
        make(root, "SM2", "SIGN_VERIFY")


def test_the_stock_command_line_signs_and_verifies(root, openssl):
    key = root.aws("kms", "create-key", "--key-spec", "ECC_NIST_P256", "--key-usage", "SIGN_VERIFY")
    key = key["KeyMetadata"]["KeyId"]
    asked = ["--key-id", key, "--message", f"fileb://{openssl.file('message', b'from the command line')}",
             "--signing-algorithm", "ECDSA_SHA_256"]
    signature = base64.b64decode(root.aws("kms", "sign", *asked)["Signature"])
    verified = root.aws("kms", "verify", *asked, "--signature", f"fileb://{openssl.file('signature', signature)}")
    assert verified["SignatureValid"] is True
