"""Signatures and protocols on the wire: spec/policy.md §10 and §11, spec/kms.md §1."""

import http.client
import urllib.parse

import pytest

from harness import clients, inputs
from harness.model import service_model
from harness.operations import served
from harness.signing import Raw

MISMATCH = ("The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method. Consult the service documentation for details.")
INVALID_TOKEN = "The security token included in the request is invalid."

# What each failure is called by the JSON services and by the Query services: code and status.
NAMES = {
    "missing": (("MissingAuthenticationTokenException", 400), ("MissingAuthenticationToken", 403)),
    "incomplete": (("IncompleteSignatureException", 400), ("IncompleteSignature", 400)),
    "unknown": (("UnrecognizedClientException", 400), ("InvalidClientTokenId", 403)),
    "mismatch": (("InvalidSignatureException", 400), ("SignatureDoesNotMatch", 403)),
}


def _request(root, service):
    if service == "kms":
        return Raw.json(root, "kms", "ListKeys", {})
    operation = {"rds": "DescribeDBClusters", "iam": "ListUsers", "sts": "GetCallerIdentity"}[service]
    return Raw.query(root, service, operation, {})


def _fails(answer, failure, service, text=None):
    assert (answer.code, answer.status) == NAMES[failure][service != "kms"], answer
    assert text is None or text in answer.message, answer


SERVICES = pytest.mark.parametrize("service", ["kms", "rds", "iam", "sts"])


@SERVICES
def test_a_signed_request_is_answered(root, service):
    assert _request(root, service).sign().send().status == 200


@SERVICES
def test_an_unsigned_request_is_refused(root, service):
    _fails(_request(root, service).send(), "missing", service)


@SERVICES
def test_a_wrong_secret_is_refused(root, service):
    _fails(_request(root, service).sign(secret="x" * 40).send(), "mismatch", service, MISMATCH)


@SERVICES
def test_an_unknown_access_key_is_refused(root, service):
    _fails(_request(root, service).sign(access_key="AKIANOBODYNOBODYNOBO").send(), "unknown", service, INVALID_TOKEN)


@SERVICES
def test_clock_skew_is_bounded(root, service):
    limit = 5 if service == "kms" else 15
    for late in (-(limit * 60 - 30), limit * 60 - 30):
        assert _request(root, service).sign(late=late).send().status == 200
    _fails(_request(root, service).sign(late=-(limit * 60 + 30)).send(), "mismatch", service, "Signature expired: ")
    early = _request(root, service).sign(late=limit * 60 + 30).send()
    _fails(early, "mismatch", service, "Signature not yet current: ")


@SERVICES
def test_a_changed_body_is_refused(root, service):
    request = _request(root, service).sign()
    request.body += b" " if service == "kms" else b"&Marker=x"
    _fails(request.send(), "mismatch", service, MISMATCH)


def test_a_changed_or_dropped_signed_header_is_refused(root):
    request = _request(root, "kms").sign()
    request.headers["X-Amz-Target"] = "TrentService.ListAliases"
    _fails(request.send(), "mismatch", "kms")
    request = _request(root, "kms")
    request.headers["X-Amz-Security-Token"] = "made-up"
    _fails(request.sign().send(), "unknown", "kms")
    request = _request(root, "kms").sign()
    del request.headers["X-Amz-Date"]
    _fails(request.send(), "incomplete", "kms")


@pytest.mark.parametrize("part", ["Credential", "SignedHeaders", "Signature"])
@SERVICES
def test_an_authorization_header_without_a_part_is_incomplete(root, service, part):
    request = _request(root, service).sign()
    kind, _, parts = request.headers["Authorization"].partition(" ")
    kept = [piece for piece in parts.split(", ") if not piece.startswith(part + "=")]
    request.headers["Authorization"] = kind + " " + ", ".join(kept)
    _fails(request.send(), "incomplete", service)


@SERVICES
def test_a_signature_for_another_service_is_refused(root, service):
    request = _request(root, service).sign(scope_service="s3")
    answer = request.send()
    assert answer.status in (400, 403) and answer.code in (
        "InvalidSignatureException", "SignatureDoesNotMatch"), answer


def test_the_host_must_be_signed(root):
    request = _request(root, "kms").sign()
    request.headers["Host"] = "elsewhere.example"
    _fails(request.send(), "mismatch", "kms")
    authorization = _request(root, "kms").sign().headers
    changed = authorization["Authorization"].replace("host;", "")
    request = _request(root, "kms")
    request.headers = authorization | {"Authorization": changed}
    assert request.send().status == 400


def test_a_presigned_request_is_answered_until_it_expires(root):
    query = "/?" + urllib.parse.urlencode({"Action": "GetCallerIdentity", "Version": "2011-06-15"})

    def presigned(**how):
        request = Raw(root, "sts", "GetCallerIdentity", b"")
        request.method, request.path = "GET", query
        del request.headers["Content-Type"]
        return request.presign(**how)
    assert presigned(expires=60).send().status == 200
    _fails(presigned(expires=60, late=-120).send(), "mismatch", "sts")
    _fails(presigned(secret="x" * 40).send(), "mismatch", "sts")
    changed = presigned()
    changed.path = changed.path.replace("GetCallerIdentity", "GetSessionToken")
    changed.operation = "GetSessionToken"
    _fails(changed.send(), "mismatch", "sts")


def test_a_query_key_given_twice_is_refused(root):
    body = b"Action=DescribeDBClusters&Version=2014-10-31&MaxRecords=20&MaxRecords=100"
    answer = Raw.query(root, "rds", "DescribeDBClusters", body).sign().send()
    assert (answer.status, answer.code) == (400, "MalformedQueryString"), answer
    body = b"Action=DescribeDBClusters&Action=DeleteDBCluster&Version=2014-10-31"
    assert Raw.query(root, "rds", "DescribeDBClusters", body).sign().send().status == 400


def test_authorization_given_twice_is_refused(root):
    signed = _request(root, "kms").sign()
    address = urllib.parse.urlsplit(root.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    connection.putrequest("POST", "/", skip_host=True)
    for name, value in [*signed.headers.items(), ("Authorization", signed.headers["Authorization"]),
                        ("Content-Length", str(len(signed.body)))]:
        connection.putheader(name, value)
    connection.endheaders(signed.body)
    assert connection.getresponse().status == 400
    connection.close()


@pytest.mark.parametrize(("service", "code"), [("kms", "UnknownOperationException"), ("rds", "InvalidAction"),
                                               ("iam", "InvalidAction"), ("sts", "InvalidAction")])
def test_an_operation_that_does_not_exist_is_named(root, service, code):
    make = Raw.json if service == "kms" else Raw.query
    answer = make(root, service, "MakeCoffee", {}).sign().send()
    assert (answer.status, answer.code) == (400, code), answer


def test_operations_of_aws_that_are_not_served_say_so(root):
    known = {(service, operation) for service in ("kms", "rds", "iam", "sts", "cloudtrail")
             for operation in service_model(service).operation_names}
    for service, operation in sorted(known - served()):
        json_service = service_model(service).metadata["protocol"] == "json"
        answer = (Raw.json if json_service else Raw.query)(root, service, operation, {}).sign().send()
        expected = "UnsupportedOperationException" if json_service else "InvalidAction"
        assert (answer.status, answer.code) == (400, expected), (service, operation, answer)
    root.answers.taken()  # not in the models of these operations: that they are not served is no answer of AWS
    root.answers.called -= known - served()


@pytest.mark.parametrize("operation", sorted(served()), ids="-".join)
def test_every_operation_is_refused_without_a_signature_and_without_permission(root, nobody, things, operation):
    service, name = operation
    json_service = service_model(service).metadata["protocol"] == "json"
    make = Raw.json if json_service else Raw.query
    answer = make(root, service, name, {}).send()
    assert (answer.code, answer.status) == NAMES["missing"][not json_service], answer
    if service == "sts":
        return  # GetCallerIdentity and GetSessionToken need no permission, and AssumeRole is decided by the role
    body = inputs.body(service, name, inputs.good(service, name, root.account, **things))
    answer = make(nobody, service, name, body).sign().send()
    assert answer.code in ("AccessDeniedException", "AccessDenied"), answer


@pytest.fixture(scope="module")
def nobody(root):
    """A user without any permission."""
    return clients.user(root, "nobody-at-all")


@pytest.fixture(scope="module")
def things(root):
    """What the operations are about: it must be there, as a name that leads nowhere is told to everybody."""
    key = root.kms.create_key()["KeyMetadata"]["Arn"]
    root.kms.create_alias(AliasName="alias/forbidden", TargetKeyId=key)
    grantee = clients.user(root, "grantee-of-forbidden").arn
    grant = root.kms.create_grant(KeyId=key, GranteePrincipal=grantee, Operations=["Decrypt"])["GrantId"]
    blob = root.kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    return {"key": key, "alias": "alias/forbidden", "grant": grant, "blob": blob}
