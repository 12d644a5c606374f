"""Good input for every operation, and from AWS's models every kind of bad input for it."""

import copy
import dataclasses
import json
import urllib.parse

import botocore.serialize

from .model import service_model
from .program import REGION

# A name that stands for bytes which are no UTF-8 until the request is written.
NOT_TEXT = "\u2620"
FAR_TOO_LONG = 10_000


@dataclasses.dataclass(frozen=True)
class Bad:
    """One request with one thing wrong: what, the body as it goes out, and the codes that may answer it."""

    what: str
    body: bytes
    codes: tuple


def good(service, operation, account, **things):
    """Well-formed parameters; `things` replaces the names of objects that do not exist."""
    return copy.deepcopy(_GOOD.get(operation, lambda _: {})(_Things(account, things)))


class _Things(dict):
    """Names to put into requests; each has a default that leads nowhere."""

    def __init__(self, account, given):
        super().__init__({
            "key": f"arn:aws:kms:{REGION}:{account}:key/11111111-2222-4333-8444-555555555555",
            "alias": "alias/of-no-key", "grant": "0" * 64, "blob": b"SRK1", "user": "nobody-of-this-name",
            "principal": f"arn:aws:iam::{account}:root", "access_key": "AKIANOBODYNOBODYNOBO", "policy": "test",
            "cluster": "no-such-cluster", "instance": "no-such-instance", "snapshot": "no-such-snapshot",
            "arn": f"arn:aws:rds:{REGION}:{account}:cluster:no-such-cluster", "new": "bad-input",
            "role": "no-such-role", "group": "no-such-group", "message": "no-such-message",
            "user_arn": f"arn:aws:iam::{account}:user/nobody-of-this-name", "role_arn": f"arn:aws:iam::{account}:role/no-such-role",
            "policy_arn": f"arn:aws:iam::{account}:policy/no-such-policy"})
        self.update(given)
        # Keys of other kinds, where the test has made some.
        for kind in ("macs", "signer", "external"):
            self.setdefault(kind, self["key"])

    __getattr__ = dict.__getitem__


_POLICY = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "kms:*", "Resource": "*"}]})
_USER_POLICY = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}]})
_TRUST_POLICY = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]})
_TAG = [{"TagKey": "a", "TagValue": "b"}]
_STORE = {"CustomKeyStoreId": "cks-0123456789abcdef0"}


def _key(t):
    return {"KeyId": t.key}


def _aliased(t):
    return {"AliasName": t.alias, "TargetKeyId": t.key}


def _user(t):
    return {"UserName": t.user}


def _user_policy(t):
    return {"UserName": t.user, "PolicyName": t.policy}


def _role(t):
    return {"RoleName": t.role}


def _role_policy(t):
    return {"RoleName": t.role, "PolicyName": t.policy}


def _group(t):
    return {"GroupName": t.group}


def _group_policy(t):
    return {"GroupName": t.group, "PolicyName": t.policy}


def _managed(t):
    return {"PolicyArn": t.policy_arn}


def _resource(t):
    return {"ResourceName": t.arn}


_GOOD = {
    "CreateAlias": lambda t: _aliased(t) | {"AliasName": f"alias/{t.new}"},
    "UpdateAlias": _aliased,
    "DeleteAlias": lambda t: {"AliasName": t.alias},
    "TagResource": lambda t: _key(t) | {"Tags": _TAG},
    "UntagResource": lambda t: _key(t) | {"TagKeys": ["a"]},
    "ReplicateKey": lambda t: _key(t) | {"ReplicaRegion": "eu-west-1"},
    "UpdatePrimaryRegion": lambda t: _key(t) | {"PrimaryRegion": "eu-west-1"},
    "CreateCustomKeyStore": lambda t: {
        "CustomKeyStoreName": t.new, "CustomKeyStoreType": "EXTERNAL_KEY_STORE", "XksProxyConnectivity": "PUBLIC_ENDPOINT",
        "XksProxyUriEndpoint": "https://xks.invalid", "XksProxyUriPath": "/kms/xks/v1",
        "XksProxyAuthenticationCredential": {"AccessKeyId": "A" * 20, "RawSecretAccessKey": "s" * 43}},
    "UpdateCustomKeyStore": lambda t: _STORE | {"NewCustomKeyStoreName": t.new},
    "ConnectCustomKeyStore": lambda t: _STORE,
    "DisconnectCustomKeyStore": lambda t: _STORE,
    "DeleteCustomKeyStore": lambda t: _STORE,
    "UpdateKeyDescription": lambda t: _key(t) | {"Description": "bad input"},
    "Encrypt": lambda t: _key(t) | {"Plaintext": b"x"},
    "Decrypt": lambda t: {"CiphertextBlob": t.blob, "KeyId": t.key},
    "ReEncrypt": lambda t: {"CiphertextBlob": t.blob, "SourceKeyId": t.key, "DestinationKeyId": t.key},
    "GenerateDataKey": lambda t: _key(t) | {"KeySpec": "AES_256"},
    "GenerateDataKeyWithoutPlaintext": lambda t: _key(t) | {"KeySpec": "AES_256"},
    "GenerateDataKeyPair": lambda t: _key(t) | {"KeyPairSpec": "ECC_NIST_P256"},
    "GenerateDataKeyPairWithoutPlaintext": lambda t: _key(t) | {"KeyPairSpec": "ECC_NIST_P256"},
    "GenerateMac": lambda t: {"KeyId": t.macs, "Message": b"x", "MacAlgorithm": "HMAC_SHA_256"},
    "VerifyMac": lambda t: {"KeyId": t.macs, "Message": b"x", "MacAlgorithm": "HMAC_SHA_256", "Mac": b"x"},
    "Sign": lambda t: {"KeyId": t.signer, "Message": b"x", "SigningAlgorithm": "ECDSA_SHA_256"},
    "Verify": lambda t: {
        "KeyId": t.signer, "Message": b"x", "SigningAlgorithm": "ECDSA_SHA_256", "Signature": b"x"},
    "GetPublicKey": lambda t: {"KeyId": t.signer},
    "DeriveSharedSecret": lambda t: {"KeyId": t.signer, "KeyAgreementAlgorithm": "ECDH", "PublicKey": b"x"},
    "GetParametersForImport": lambda t: {
        "KeyId": t.external, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"},
    "DeleteImportedKeyMaterial": lambda t: {"KeyId": t.external},
    "ImportKeyMaterial": lambda t: {
        "KeyId": t.external, "ImportToken": b"x", "EncryptedKeyMaterial": b"x",
        "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"},
    "GenerateRandom": lambda t: {"NumberOfBytes": 8},
    "PutKeyPolicy": lambda t: _key(t) | {"Policy": _POLICY},
    "CreateGrant": lambda t: _key(t) | {"GranteePrincipal": t.principal, "Operations": ["Decrypt"]},
    "ListRetirableGrants": lambda t: {"RetiringPrincipal": t.principal},
    "RetireGrant": lambda t: _key(t) | {"GrantId": t.grant},
    "RevokeGrant": lambda t: _key(t) | {"GrantId": t.grant},
    "CreateUser": lambda t: {"UserName": t.new},
    "CreateDBCluster": lambda t: {
        "DBClusterIdentifier": t.new, "Engine": "aurora-postgresql", "MasterUsername": "admin1",
        "MasterUserPassword": "Ocean-Drift-7415", "StorageEncrypted": True, "KmsKeyId": t.key},
    "DeleteDBCluster": lambda t: {"DBClusterIdentifier": t.cluster, "SkipFinalSnapshot": True},
    "CreateDBInstance": lambda t: {
        "DBInstanceIdentifier": t.new, "DBInstanceClass": "db.r6g.large", "Engine": "aurora-postgresql",
        "DBClusterIdentifier": t.cluster},
    "CreateDBClusterSnapshot": lambda t: {"DBClusterSnapshotIdentifier": t.new, "DBClusterIdentifier": t.cluster},
    "CopyDBClusterSnapshot": lambda t: {
        "SourceDBClusterSnapshotIdentifier": t.snapshot, "TargetDBClusterSnapshotIdentifier": t.new},
    "RestoreDBClusterFromSnapshot": lambda t: {
        "DBClusterIdentifier": t.new, "SnapshotIdentifier": t.snapshot, "Engine": "aurora-postgresql"},
    "DescribeOrderableDBInstanceOptions": lambda t: {"Engine": "aurora-postgresql"},
    "AddTagsToResource": lambda t: _resource(t) | {"Tags": [{"Key": "a", "Value": "b"}]},
    "RemoveTagsFromResource": lambda t: _resource(t) | {"TagKeys": ["a"]},
    "ListTagsForResource": _resource,
    "UpdateAccessKey": lambda t: _user(t) | {"AccessKeyId": t.access_key, "Status": "Active"},
    "DeleteAccessKey": lambda t: _user(t) | {"AccessKeyId": t.access_key},
    "PutUserPolicy": lambda t: _user_policy(t) | {"PolicyDocument": _USER_POLICY},
    "PutRolePolicy": lambda t: _role_policy(t) | {"PolicyDocument": _USER_POLICY},
    "TagUser": lambda t: _user(t) | {"Tags": [{"Key": "a", "Value": "b"}]},
    "UntagUser": lambda t: _user(t) | {"TagKeys": ["a"]},
    "CreatePolicy": lambda t: {"PolicyName": t.new, "PolicyDocument": _USER_POLICY},
    "GetPolicyVersion": lambda t: _managed(t) | {"VersionId": "v1"},
    "CreateRole": lambda t: {"RoleName": t.new, "AssumeRolePolicyDocument": _TRUST_POLICY},
    "UpdateAssumeRolePolicy": lambda t: _role(t) | {"PolicyDocument": _TRUST_POLICY},
    "CreatePolicyVersion": lambda t: _managed(t) | {"PolicyDocument": _USER_POLICY},
    "PutUserPermissionsBoundary": lambda t: _user(t) | {"PermissionsBoundary": t.policy_arn},
    "PutRolePermissionsBoundary": lambda t: _role(t) | {"PermissionsBoundary": t.policy_arn},
    "PutGroupPolicy": lambda t: _group_policy(t) | {"PolicyDocument": _USER_POLICY},
    "CreateGroup": lambda t: {"GroupName": t.new},
    "TagRole": lambda t: _role(t) | {"Tags": [{"Key": "a", "Value": "b"}]},
    "UntagRole": lambda t: _role(t) | {"TagKeys": ["a"]},
    "TagPolicy": lambda t: _managed(t) | {"Tags": [{"Key": "a", "Value": "b"}]},
    "UntagPolicy": lambda t: _managed(t) | {"TagKeys": ["a"]},
    "CreateAccountAlias": lambda t: {"AccountAlias": t.new},
    "DeleteAccountAlias": lambda t: {"AccountAlias": t.new},
    "GetAccessKeyLastUsed": lambda t: {"AccessKeyId": t.access_key},
    "SimulateCustomPolicy": lambda t: {"ActionNames": ["kms:Decrypt"], "PolicyInputList": [_USER_POLICY]},
    "SimulatePrincipalPolicy": lambda t: {"ActionNames": ["kms:Decrypt"], "PolicySourceArn": t.user_arn},
    "GetFederationToken": lambda t: {"Name": "federated"},
    "GetAccessKeyInfo": lambda t: {"AccessKeyId": t.access_key},
    "DecodeAuthorizationMessage": lambda t: {"EncodedMessage": t.message},
    "AssumeRole": lambda t: {"RoleArn": t.role_arn, "RoleSessionName": "session"},
} | {operation: _user for operation in ("GetUser", "DeleteUser", "CreateAccessKey", "ListAccessKeys", "ListUserTags",
                                        "ListUserPolicies", "ListAttachedUserPolicies", "ListGroupsForUser",
                                        "DeleteUserPermissionsBoundary")
     } | {operation: _role for operation in ("GetRole", "DeleteRole", "ListRolePolicies", "ListAttachedRolePolicies",
                                               "ListRoleTags", "UpdateRole", "DeleteRolePermissionsBoundary")
     } | {operation: _group for operation in ("GetGroup", "DeleteGroup", "ListGroupPolicies",
                                              "ListAttachedGroupPolicies")
     } | {operation: _group_policy for operation in ("GetGroupPolicy", "DeleteGroupPolicy")
     } | {operation: (lambda t: _group(t) | _managed(t)) for operation in ("AttachGroupPolicy", "DetachGroupPolicy")
     } | {operation: (lambda t: _group(t) | _user(t)) for operation in ("AddUserToGroup", "RemoveUserFromGroup")
     } | {operation: (lambda t: _managed(t) | {"VersionId": "v1"}) for operation in (
        "SetDefaultPolicyVersion", "DeletePolicyVersion")
     } | {operation: _managed for operation in ("GetPolicy", "DeletePolicy", "ListPolicyVersions", "ListPolicyTags",
                                                "ListEntitiesForPolicy")
     } | {operation: (lambda t: _user(t) | _managed(t)) for operation in ("AttachUserPolicy", "DetachUserPolicy")
     } | {operation: (lambda t: _role(t) | _managed(t)) for operation in ("AttachRolePolicy", "DetachRolePolicy")
     } | {operation: _role_policy for operation in ("GetRolePolicy", "DeleteRolePolicy")
     } | {operation: _user_policy for operation in ("GetUserPolicy", "DeleteUserPolicy")
     } | {operation: _key for operation in (
        "DescribeKey", "EnableKey", "DisableKey", "ScheduleKeyDeletion", "CancelKeyDeletion", "GetKeyPolicy",
        "ListKeyPolicies", "ListGrants", "EnableKeyRotation", "DisableKeyRotation", "GetKeyRotationStatus",
        "RotateKeyOnDemand", "ListKeyRotations", "ListResourceTags", "GetKeyLastUsage")
     } | {operation: (lambda t: {"DBClusterIdentifier": t.cluster}) for operation in (
        "StartDBCluster", "StopDBCluster", "DescribeDBClusters")
     } | {operation: (lambda t: {"DBInstanceIdentifier": t.instance}) for operation in (
        "DeleteDBInstance", "RebootDBInstance", "DescribeDBInstances")
     } | {operation: (lambda t: {"DBClusterSnapshotIdentifier": t.snapshot}) for operation in (
        "DeleteDBClusterSnapshot", "DescribeDBClusterSnapshots")}


def body(service, operation, parameters):
    """The body that botocore makes of parameters."""
    model = service_model(service)
    serializer = botocore.serialize.create_serializer(model.metadata["protocol"], include_validation=False)
    made = serializer.serialize_to_request(parameters, model.operation_model(operation))["body"]
    return made if isinstance(made, bytes) else urllib.parse.urlencode(made).encode()


def bad(service, operation, account, **things):
    """Every kind of bad input for an operation that its model tells."""
    shape = service_model(service).operation_model(operation).input_shape
    if shape is None:
        return
    base = good(service, operation, account, **things)
    if service_model(service).metadata["protocol"] == "json":
        base = json.loads(body(service, operation, base))
        yield from _bad_json(service, operation, shape, base)
    else:
        base = dict(urllib.parse.parse_qsl(body(service, operation, base).decode(), keep_blank_values=True))
        yield from _bad_query(service, shape, base)


# --- JSON

_SERIALIZATION = ("SerializationException",)
_VALIDATION = ("ValidationException",)
# Values that CloudTrail refuses by errors of its own (spec/trail.md §5).
_OWN_CODES = {("LookupEvents", "MaxResults"): ("InvalidMaxResultsException",),
              ("LookupEvents", "AttributeKey"): ("InvalidLookupAttributesException",),
              ("LookupEvents", "AttributeValue"): ("InvalidLookupAttributesException",),
              ("LookupEvents", "EventCategory"): ("InvalidEventCategoryException",)}


def _bad_json(service, operation, shape, base):
    for raw, what in ((b"", "no body") if shape.required_members else (b"{", "half a body"), (b"[]", "a list"),
                      (b"\xff\xfe", "bytes"), (b'{"a"', "a cut body"), (b"7", "a number")):
        codes = _VALIDATION if raw == b"" else _SERIALIZATION
        yield Bad(what, raw, codes)
    for path, member in _places(shape):
        constraint = _OWN_CODES.get((operation, path[-1]), _VALIDATION)
        if member is None:  # a required member, left out
            changed = _with(shape, base, path[:-1], lambda parent, name=path[-1]: parent.pop(name, None))
            yield Bad(f"{_name(path)} missing", json.dumps(changed).encode(), _VALIDATION)
            continue
        for what, value, codes in _bad_values(member, constraint):
            changed = _with(shape, base, path[:-1], lambda parent: parent.__setitem__(path[-1], value))
            raw = json.dumps(changed).encode().replace(json.dumps(NOT_TEXT)[1:-1].encode(), b"\xff")
            yield Bad(f"{_name(path)} {what}", raw, codes)


def _bad_values(shape, constraint):
    kind = shape.type_name
    samples = {"string": "x", "number": 7, "list": ["x"], "object": {"x": "y"}, "boolean": True}
    fits = {"string": {"string"}, "blob": {"string"}, "timestamp": {"number", "string"}, "integer": {"number"},
            "long": {"number"}, "double": {"number"}, "boolean": {"boolean"}, "list": {"list"}, "map": {"object"},
            "structure": {"object"}}[kind]
    for other, value in samples.items():
        if other not in fits:
            yield f"as {other}", value, _SERIALIZATION
    bounds = {name: shape.metadata[name] for name in ("min", "max") if name in shape.metadata}
    if kind == "string":
        yield "not UTF-8", NOT_TEXT, _SERIALIZATION
        yield "half a surrogate pair", "\ud800", _SERIALIZATION
        yield from (("too long", "x" * (bounds["max"] + 1), constraint),) if "max" in bounds else ()
        yield from (("empty", "", constraint),) if bounds.get("min", 0) > 0 or shape.enum else ()
        yield from (("none of its choices", "NO_SUCH_CHOICE", constraint),) if shape.enum else ()
        yield from (("outside of its pattern", "\u00e9\u0007", constraint),) if "pattern" in shape.metadata and (
            shape.metadata["pattern"] not in (r"[\u0009\u000A\u000D\u0020-\u00FF]+",)) else ()
    elif kind == "blob":
        yield "no base64", "*", _SERIALIZATION
        yield from (("too long", "QUFB" * (bounds["max"] // 3 + 1), constraint),) if "max" in bounds else ()
        yield from (("empty", "", constraint),) if bounds.get("min", 0) > 0 else ()
    elif kind in ("integer", "long"):
        yield "a fraction", 1.5, _SERIALIZATION
        yield "larger than any", 10 ** 30, _SERIALIZATION
        yield from (("above its range", bounds["max"] + 1, constraint),) if "max" in bounds else ()
        yield from (("below its range", bounds["min"] - 1, constraint),) if "min" in bounds else ()
    elif kind == "list":
        yield "with null", [None], _SERIALIZATION
        yield from (("too long", [_sample(shape.member)] * (bounds["max"] + 1), constraint),) if "max" in bounds else ()
        yield from (("empty", [], constraint),) if bounds.get("min", 0) > 0 else ()
    elif kind == "map":
        yield "with a number in it", {"x": 7}, _SERIALIZATION
        yield "with null in it", {"x": None}, _SERIALIZATION
    elif kind == "timestamp":
        yield "no time", "yesterday", _SERIALIZATION


def _places(shape, path=()):
    """Every member below a structure: its path and shape; a required one once more, with `None` for its shape."""
    for name, member in shape.members.items():
        if name in shape.required_members:
            yield (*path, name), None
        yield (*path, name), member
        if member.type_name == "structure" and len(path) < 4:
            yield from _places(member, (*path, name))
        elif member.type_name == "list":
            if member.member.type_name == "structure" and len(path) < 4:
                yield from _places(member.member, (*path, name, 0))
            else:
                yield (*path, name, 0), member.member


def _with(shape, base, path, change):
    """A copy of `base` with `change` applied to what is at `path`; what is missing on the way is filled in."""
    copied = copy.deepcopy(base)
    at = copied
    for step in path:
        shape = shape.member if isinstance(step, int) else shape.members[step]
        if isinstance(step, int):
            if not at:
                at.append(_sample(shape))
            at = at[step]
        else:
            at = at.setdefault(step, _sample(shape))
    change(at)
    return copied


def _sample(shape):
    """A value that the model allows."""
    kind = shape.type_name
    if kind == "structure":
        return {name: _sample(shape.members[name]) for name in shape.required_members}
    if kind == "list":
        return [_sample(shape.member)]
    if kind == "map":
        return {"k": _sample(shape.value)}
    if kind == "string":
        return shape.enum[0] if shape.enum else "x" * max(1, shape.metadata.get("min", 1))
    return {"boolean": True, "blob": "eA==", "timestamp": 0}.get(kind, shape.metadata.get("min", 1))


def _name(path):
    return ".".join(str(step) for step in path)


# --- Query

_TYPE = {"rds": ("InvalidParameterValue",), "iam": ("MalformedInput",), "sts": ("MalformedInput",)}
_MISSING = {"rds": ("MissingParameter",), "iam": ("ValidationError",), "sts": ("ValidationError",)}
_RULE = {"rds": ("InvalidParameterValue",), "iam": ("ValidationError",), "sts": ("ValidationError",)}
# In the model, but for clients alone: they make a presigned URL of it and never send it.
_OF_CLIENTS = ("SourceRegion",)
# What RDS says of texts that its model does not bound, by the rules of each parameter (any error of the operation).
_ANY = ()


def _bad_query(service, shape, base):
    yield Bad("bytes", b"\xff\xfe=%ff", ("MalformedQueryString", "InvalidAction"))
    for name in shape.required_members:
        wire = _wire(shape.members[name], name)
        yield Bad(f"{name} missing", _form({key: value for key, value in base.items()
                                            if key != wire and not key.startswith(wire + ".")}), _MISSING[service])
    for wire, member in _fields(shape):
        for what, value, codes in _bad_texts(service, member):
            yield Bad(f"{wire} {what}", _form(base | {wire: value}), codes)


def _fields(shape, prefix=""):
    """Every scalar that a form can hold, with the name that it has there."""
    for name, member in shape.members.items():
        if name in _OF_CLIENTS:
            continue
        wire = prefix + _wire(member, name)
        if member.type_name == "structure":
            yield from _fields(member, wire + ".")
        elif member.type_name == "list":
            item = f"{wire}.{member.member.serialization.get('name', 'member')}.1"
            if member.member.type_name == "structure":
                yield from _fields(member.member, item + ".")
            else:
                yield item, member.member
        elif member.type_name != "map":
            yield wire, member


def _wire(member, name):
    return member.serialization.get("name", name)


def _bad_texts(service, shape):
    kind = shape.type_name
    yield "not UTF-8", NOT_TEXT, ("MalformedQueryString",)
    bounds = {name: shape.metadata[name] for name in ("min", "max") if name in shape.metadata}
    if kind == "string":
        if "max" in bounds:
            yield "too long", "x" * (bounds["max"] + 1), _RULE[service]
        else:
            yield "far too long", "x" * FAR_TOO_LONG, _ANY
        if bounds.get("min", 0) > 0 or shape.enum:
            yield "empty", "", _RULE[service]
        if shape.enum:
            yield "none of its choices", "NO_SUCH_CHOICE", _RULE[service]
        if "pattern" in shape.metadata and service == "iam" and "\\u0020" not in shape.metadata["pattern"]:
            yield "outside of its pattern", "\u00e9\u0007", _RULE[service]
        return
    yield "of the wrong type", "certainly", _TYPE[service]
    yield "empty", "", _TYPE[service]
    if kind in ("integer", "long"):
        yield "larger than any", "9" * 30, _TYPE[service]
        yield "a fraction", "1.5", _TYPE[service]
        if "max" in bounds:
            yield "above its range", str(bounds["max"] + 1), _RULE[service]
        if "min" in bounds:
            yield "below its range", str(bounds["min"] - 1), _RULE[service]


def _form(pairs):
    return urllib.parse.urlencode(pairs).encode().replace(urllib.parse.quote(NOT_TEXT).encode(), b"%FF")
