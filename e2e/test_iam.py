"""IAM users, their keys and policies, and STS: spec/policy.md §11 to §14."""

import json

from harness import clients
from harness.clients import allow
from harness.faults import refused
from harness.program import ACCOUNT


def test_everybody_may_ask_who_he_is(root, user):
    identity = root.sts.get_caller_identity()
    assert (identity["UserId"], identity["Account"], identity["Arn"]) == (ACCOUNT, ACCOUNT, root.arn)
    nobody = user({"Effect": "Deny", "Action": "*", "Resource": "*"})
    identity = nobody.sts.get_caller_identity()
    assert identity["UserId"].startswith("AIDA") and len(identity["UserId"]) == 21
    assert (identity["Account"], identity["Arn"]) == (ACCOUNT, nobody.arn)


def test_a_user_is_made_shown_listed_and_removed(root, name):
    made = root.iam.create_user(UserName=name, Path="/staff/")["User"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/staff/{name}"
    assert root.iam.get_user(UserName=name)["User"] == made
    assert made["Arn"] in {user["Arn"] for page in root.iam.get_paginator("list_users").paginate(PathPrefix="/staff/")
                           for user in page["Users"]}
    with refused("EntityAlreadyExists", f"User with name {name} already exists."):
        root.iam.create_user(UserName=name)
    root.iam.delete_user(UserName=name)
    for call in (root.iam.get_user, root.iam.delete_user, root.iam.create_access_key, root.iam.list_user_policies):
        with refused("NoSuchEntity", f"The user with name {name} cannot be found."):
            call(UserName=name)


def test_an_access_key_is_shown_once_and_can_be_switched_off(root, name):
    root.iam.create_user(UserName=name)
    key = root.iam.create_access_key(UserName=name)["AccessKey"]
    assert key["AccessKeyId"].startswith("AKIA") and len(key["AccessKeyId"]) == 20 and len(key["SecretAccessKey"]) == 40
    principal = clients.Principal(root.url, root.answers, ACCOUNT, "", key["AccessKeyId"], key["SecretAccessKey"])
    principal.sts.get_caller_identity()
    root.iam.update_access_key(UserName=name, AccessKeyId=key["AccessKeyId"], Status="Inactive")
    with refused("InvalidClientTokenId"):
        principal.sts.get_caller_identity()
    [listed] = root.iam.list_access_keys(UserName=name)["AccessKeyMetadata"]
    assert listed["Status"] == "Inactive" and "SecretAccessKey" not in listed
    root.iam.update_access_key(UserName=name, AccessKeyId=key["AccessKeyId"], Status="Active")
    principal.sts.get_caller_identity()
    root.iam.create_access_key(UserName=name)
    with refused("LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2"):
        root.iam.create_access_key(UserName=name)
    with refused("DeleteConflict"):
        root.iam.delete_user(UserName=name)
    root.iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    with refused("InvalidClientTokenId"):
        principal.sts.get_caller_identity()


def test_inline_policies_are_kept_and_decide_at_once(root, user, key):
    reader = user()
    named = reader.arn.rsplit("/", 1)[1]
    with refused("AccessDeniedException"):
        reader.kms.list_keys()
    document = clients.document(allow("kms:ListKeys"))
    root.iam.put_user_policy(UserName=named, PolicyName="lists", PolicyDocument=document)
    reader.kms.list_keys()
    assert root.iam.list_user_policies(UserName=named)["PolicyNames"] == ["lists"]
    shown = root.iam.get_user_policy(UserName=named, PolicyName="lists")["PolicyDocument"]
    assert shown == json.loads(document)
    root.iam.delete_user_policy(UserName=named, PolicyName="lists")
    with refused("AccessDeniedException"):
        reader.kms.list_keys()
    with refused("NoSuchEntity"):
        root.iam.get_user_policy(UserName=named, PolicyName="lists")


def test_malformed_policies_are_refused_and_change_nothing(root, user):
    reader = user(allow("kms:ListKeys"))
    named = reader.arn.rsplit("/", 1)[1]
    statement = allow("kms:*")
    for document in ("{", json.dumps({"Version": "2012-10-17"}), clients.document(statement | {"Principal": "*"}),
                     clients.document(statement | {"Effect": "Maybe"}), clients.document(statement | {"Colour": "red"}),
                     clients.document({"Effect": "Allow", "Action": "kms:*"}),
                     clients.document({"Effect": "Allow", "Resource": "*"}),
                     clients.document(statement | {"Sid": "a"}, statement | {"Sid": "a"})):
        with refused("MalformedPolicyDocument"):
            root.iam.put_user_policy(UserName=named, PolicyName="test", PolicyDocument=document)
    reader.kms.list_keys()


def test_iam_itself_needs_permission(user, name):
    limited = user(allow("iam:GetUser"))
    assert limited.iam.get_user()["User"]["Arn"] == limited.arn
    with refused("AccessDenied") as refusal:
        limited.iam.create_user(UserName=name)
    assert refusal.message == (
        f"User: {limited.arn} is not authorized to perform: iam:CreateUser on resource: "
        f"arn:aws:iam::{ACCOUNT}:user/{name} because no identity-based policy allows the iam:CreateUser action")


def test_a_user_made_again_is_somebody_else(root, key, name):
    first = clients.user(root, name)
    root.kms.create_grant(KeyId=key["KeyId"], GranteePrincipal=first.arn, Operations=["Encrypt"])
    policy = json.loads(root.kms.get_key_policy(KeyId=key["KeyId"])["Policy"])
    policy["Statement"].append(allow("kms:Encrypt", Principal={"AWS": first.arn}))
    root.kms.put_key_policy(KeyId=key["KeyId"], Policy=json.dumps(policy))
    first.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
    root.iam.delete_access_key(UserName=name, AccessKeyId=first.access_key)
    root.iam.delete_user(UserName=name)
    second = clients.user(root, name)
    with refused("AccessDeniedException"):
        second.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
