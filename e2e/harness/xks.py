"""An external key store proxy: HTTPS by an authority of its own, signatures verified by AWS's own library, AES-256-GCM
for real. It can misbehave. Source: AWS KMS External Key Store Proxy API Specification.
"""

import base64
import datetime
import hashlib
import http.server
import ipaddress
import json
import os
import ssl
import struct
import tempfile
import threading
import time

import botocore.auth
import botocore.awsrequest
import botocore.credentials
from cryptography import exceptions, x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID

HOST = "xks.e2e.test"
PATH = "/tenant-1/kms/xks/v1"
ACCESS_KEY = "XKSEEEEEEEEEEEEEEEEEE"
SECRET_KEY = "xksE2eSecret/xksE2eSecret/xksE2eSecret/xksE2e"
METADATA = b"key_version=1"


class Refused(Exception):
    """An error of the API: status and name."""


class Proxy:
    """A proxy behind a port of its own, with the external keys `keys`: `{id: status}`."""

    def __init__(self):
        self.materials, self.status, self.seen = {}, {}, []
        self.breaks = None  # called with the operation before it is done: may raise, sleep, or change the answer
        self.add("key-1")
        self.secret = SECRET_KEY
        self.authority, certificate = _certified()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        os.unlink(certificate)
        # The handshake is the business of the thread that serves the connection.
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def add(self, key, status="ENABLED"):
        """One more external key."""
        self.materials[key], self.status[key] = os.urandom(32), status

    def settings(self, **more):
        """The server's settings with which it finds this proxy."""
        return {"authorities_file": self.authority, "timeout_ms": 3000, "addresses": {HOST: self.address}} | more

    def close(self):
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()
        os.unlink(self.authority)

    def request(self, **more):
        """The input of a CreateCustomKeyStore for this proxy."""
        return {
            "CustomKeyStoreName": "e2e", "CustomKeyStoreType": "EXTERNAL_KEY_STORE",
            "XksProxyConnectivity": "PUBLIC_ENDPOINT", "XksProxyUriEndpoint": f"https://{HOST}", "XksProxyUriPath": PATH,
            "XksProxyAuthenticationCredential": {"AccessKeyId": ACCESS_KEY, "RawSecretAccessKey": self.secret},
        } | more

    def last(self, operation):
        """What the last call of an operation was given."""
        return next(body for path, body in reversed(self.seen) if path.endswith(operation))


def refuse(status, name):
    """A way to break: every request is answered with this error."""
    def broken(_):
        raise Refused(status, name)
    return broken


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.request.settimeout(30)

    def handle(self):
        try:
            super().handle()
        except OSError:
            pass  # the other side has gone

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            status, answer = 200, self.done(body)
        except Refused as refused:
            status, name = refused.args
            answer = {"errorName": name, "errorMessage": "so the test wants it"}
        told = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def done(self, body):
        if not self.is_signed(body):
            raise Refused(401, "AuthenticationFailedException")
        if not self.path.startswith(PATH + "/"):
            raise Refused(404, "InvalidUriPathException")
        assert self.headers["Content-Type"] == "application/json"
        route = self.path.removeprefix(PATH + "/").split("/")
        request = json.loads(body)
        self.proxy.seen.append((self.path, request))
        changed = self.proxy.breaks(route[-1]) if self.proxy.breaks else None
        if changed is not None:
            return changed
        if route == ["health"]:
            assert set(request["requestMetadata"]) == {"kmsRequestId", "kmsOperation"}
            manager = {"id": "1", "model": "e2e 1.0", "healthStatus": "ACTIVE"}
            return {"xksProxyFleetSize": 1, "xksProxyVendor": "e2e", "xksProxyModel": "e2e 1.0", "ekmVendor": "e2e",
                    "ekmFleetDetails": [manager]}
        _, key, operation = route
        assert {"awsPrincipalArn", "kmsOperation", "kmsRequestId"} <= set(request["requestMetadata"])
        if key not in self.proxy.materials:
            raise Refused(404, "KeyNotFoundException")
        if operation == "metadata":
            return {"keySpec": "AES_256", "keyUsage": ["ENCRYPT", "DECRYPT"], "keyStatus": self.proxy.status[key]}
        if self.proxy.status[key] != "ENABLED":
            raise Refused(400, "InvalidStateException")
        assert request["encryptionAlgorithm"] == "AES_GCM"
        return getattr(self, operation)(AESGCM(self.proxy.materials[key]), request)

    def is_signed(self, body):
        """Computes the signature anew, as AWS's own library does."""
        signed = self.headers.get("Authorization", "")
        date = self.headers.get("X-Amz-Date", "")
        scope = signed.partition("Credential=")[2].partition(",")[0].split("/")
        if len(scope) != 5 or scope[0] != ACCESS_KEY or scope[3:] != ["kms-xks-proxy", "aws4_request"]:
            return False
        if "SignedHeaders=host;x-amz-date," not in signed:
            return False
        then = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
        if abs(datetime.datetime.now(datetime.UTC) - then) > datetime.timedelta(minutes=5):
            return False
        request = botocore.awsrequest.AWSRequest(
            "POST", f"https://{self.headers['Host']}{self.path}", data=body,
            headers={"Host": self.headers["Host"], "X-Amz-Date": date})
        request.context["timestamp"] = date
        credentials = botocore.credentials.Credentials(ACCESS_KEY, self.proxy.secret)
        signer = botocore.auth.SigV4Auth(credentials, "kms-xks-proxy", scope[2])
        text = signer.string_to_sign(request, signer.canonical_request(request))
        return signed.endswith("Signature=" + signer.signature(text, request))

    def encrypt(self, cipher, request):
        plaintext, aad = _bytes(request, "plaintext"), _bytes(request, "additionalAuthenticatedData")
        assert len(plaintext) <= 4300 and len(aad) <= 8192
        iv = os.urandom(12)
        sealed = cipher.encrypt(iv, plaintext, _bound(aad, METADATA))
        ciphertext, tag = sealed[:-16], sealed[-16:]
        assert request["ciphertextDataIntegrityValueAlgorithm"] == "SHA_256"
        integrity = hashlib.sha256(aad + METADATA + iv + ciphertext + tag).digest()
        return {"ciphertext": _text(ciphertext), "ciphertextMetadata": _text(METADATA), "initializationVector": _text(iv),
                "authenticationTag": _text(tag), "ciphertextDataIntegrityValue": _text(integrity)}

    def decrypt(self, cipher, request):
        aad = _bound(_bytes(request, "additionalAuthenticatedData"), _bytes(request, "ciphertextMetadata"))
        sealed = _bytes(request, "ciphertext") + _bytes(request, "authenticationTag")
        try:
            return {"plaintext": _text(cipher.decrypt(_bytes(request, "initializationVector"), sealed, aad))}
        except exceptions.InvalidTag:
            raise Refused(400, "InvalidCiphertextException") from None


def hang(_):
    """A way to break: nothing is answered in time."""
    time.sleep(8)


def _bytes(request, member):
    return base64.b64decode(request.get(member, ""), validate=True)


def _text(value):
    return base64.b64encode(value).decode()


def _bound(aad, metadata):
    return struct.pack(">H", len(aad)) + aad + struct.pack("B", len(metadata)) + metadata


def _certified():
    """Files: an authority, and a certificate of it for the host with its key."""
    now = datetime.datetime.now(datetime.UTC)

    def certificate(subject, public, issuer, issuer_key, extensions):
        name = lambda text: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
        builder = (x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer)).public_key(public)
                   .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(minutes=5))
                   .not_valid_after(now + datetime.timedelta(days=1)))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = certificate("e2e authority", authority_key.public_key(), "e2e authority", authority_key,
                            [(x509.BasicConstraints(ca=True, path_length=0), True)])
    names = x509.SubjectAlternativeName([x509.DNSName(HOST), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = certificate(HOST, key.public_key(), "e2e authority", authority_key, [(names, False)])
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                               serialization.NoEncryption())
    return _file(authority), _file(leaf + secret)


def _file(content):
    handle, path = tempfile.mkstemp(prefix="strongroom-e2e-", suffix=".pem")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    return path
