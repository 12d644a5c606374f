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


def test_a_managed_policy_is_attached_and_detached(root, user, name):
    reader = user()
    named = reader.arn.rsplit("/", 1)[1]
    document = clients.document(allow("kms:ListKeys"))
    made = root.iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:policy/{name}" and made["AttachmentCount"] == 0
    root.iam.attach_user_policy(UserName=named, PolicyArn=made["Arn"])
    reader.kms.list_keys()
    shown = root.iam.get_policy(PolicyArn=made["Arn"])["Policy"]
    assert (shown["AttachmentCount"], shown["DefaultVersionId"]) == (1, "v1")
    version = root.iam.get_policy_version(PolicyArn=made["Arn"], VersionId="v1")["PolicyVersion"]
    assert version["Document"] == json.loads(document) and version["IsDefaultVersion"] is True
    attached = root.iam.list_attached_user_policies(UserName=named)["AttachedPolicies"]
    assert attached == [{"PolicyName": name, "PolicyArn": made["Arn"]}]
    assert made["Arn"] in {policy["Arn"] for policy in root.iam.list_policies(Scope="Local")["Policies"]}
    with refused("DeleteConflict"):
        root.iam.delete_policy(PolicyArn=made["Arn"])
    root.iam.detach_user_policy(UserName=named, PolicyArn=made["Arn"])
    with refused("AccessDeniedException"):
        reader.kms.list_keys()
    root.iam.delete_policy(PolicyArn=made["Arn"])
    with refused("NoSuchEntity"):
        root.iam.get_policy(PolicyArn=made["Arn"])


def test_users_have_tags_that_policies_can_ask_for(root, user):
    tagged = user(allow("kms:ListKeys", Condition={"StringEquals": {"aws:PrincipalTag/team": "green"}}))
    named = tagged.arn.rsplit("/", 1)[1]
    with refused("AccessDeniedException"):
        tagged.kms.list_keys()
    root.iam.tag_user(UserName=named, Tags=[{"Key": "team", "Value": "green"}])
    assert root.iam.list_user_tags(UserName=named)["Tags"] == [{"Key": "team", "Value": "green"}]
    tagged.kms.list_keys()
    root.iam.untag_user(UserName=named, TagKeys=["team"])
    with refused("AccessDeniedException"):
        tagged.kms.list_keys()


def _trust(*principals):
    return clients.document({"Effect": "Allow", "Principal": {"AWS": list(principals)}, "Action": "sts:AssumeRole"})


def test_a_role_is_assumed_by_whom_it_trusts(root, user, key, name):
    trusted, other = user(), user()
    role = root.iam.create_role(RoleName=name, AssumeRolePolicyDocument=_trust(trusted.arn))["Role"]
    assert role["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/{name}" and role["RoleId"].startswith("AROA")
    root.iam.put_role_policy(RoleName=name, PolicyName="use", PolicyDocument=clients.document(
        allow("kms:Encrypt", key["Arn"])))
    with refused("AccessDenied") as refusal:
        other.sts.assume_role(RoleArn=role["Arn"], RoleSessionName="s-1")
    assert refusal.message == (
        f"User: {other.arn} is not authorized to perform: sts:AssumeRole on resource: {role['Arn']}")
    session = trusted.assume(role["Arn"], "s-1")
    assert session.access_key.startswith("ASIA")
    assert session.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/s-1"
    identity = session.sts.get_caller_identity()
    assert (identity["Arn"], identity["UserId"]) == (session.arn, f"{role['RoleId']}:s-1")
    session.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
    with refused("AccessDeniedException"):
        session.kms.describe_key(KeyId=key["Arn"])
    narrowed = trusted.assume(role["Arn"], "s-2", Policy=clients.document(allow("kms:DescribeKey")))
    with refused("AccessDeniedException"):
        narrowed.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
    root.iam.update_assume_role_policy(RoleName=name, PolicyDocument=_trust(other.arn))
    with refused("AccessDenied"):
        trusted.assume(role["Arn"], "s-3")
    root.iam.delete_role_policy(RoleName=name, PolicyName="use")
    with refused("AccessDeniedException"):
        session.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")


def test_a_session_needs_its_token(root, user, name):
    trusted = user()
    role = root.iam.create_role(RoleName=name, AssumeRolePolicyDocument=_trust(trusted.arn))["Role"]
    session = trusted.assume(role["Arn"], "s-1")
    for token in (None, "made-up"):
        thief = clients.Principal(root.url, root.answers, ACCOUNT, "", session.access_key, session.secret_key, token)
        with refused("InvalidClientTokenId"):
            thief.sts.get_caller_identity()


def test_a_role_is_shown_listed_and_removed(root, user, name):
    trust = _trust(user().arn)
    made = root.iam.create_role(RoleName=name, Path="/apps/", AssumeRolePolicyDocument=trust, Description="for tests",
                                MaxSessionDuration=7200)["Role"]
    shown = root.iam.get_role(RoleName=name)["Role"]
    assert shown["AssumeRolePolicyDocument"] == json.loads(trust) and shown["MaxSessionDuration"] == 7200
    assert made["Arn"] in {role["Arn"] for role in root.iam.list_roles(PathPrefix="/apps/")["Roles"]}
    root.iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=clients.document(allow("kms:ListKeys")))
    assert root.iam.list_role_policies(RoleName=name)["PolicyNames"] == ["p"]
    assert root.iam.get_role_policy(RoleName=name, PolicyName="p")["PolicyDocument"]["Version"] == "2012-10-17"
    policy = root.iam.create_policy(PolicyName=name, PolicyDocument=clients.document(allow("kms:ListKeys")))["Policy"]
    root.iam.attach_role_policy(RoleName=name, PolicyArn=policy["Arn"])
    assert root.iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == [
        {"PolicyName": name, "PolicyArn": policy["Arn"]}]
    with refused("DeleteConflict"):
        root.iam.delete_role(RoleName=name)
    root.iam.detach_role_policy(RoleName=name, PolicyArn=policy["Arn"])
    root.iam.delete_role_policy(RoleName=name, PolicyName="p")
    root.iam.delete_role(RoleName=name)
    with refused("NoSuchEntity", f"The role with name {name} cannot be found."):
        root.iam.get_role(RoleName=name)
    with refused("EntityAlreadyExists"):
        root.iam.create_policy(PolicyName=name, PolicyDocument=clients.document(allow("kms:ListKeys")))


def test_a_trust_policy_without_a_principal_is_refused(root, name):
    of_nobody = _trust(f"arn:aws:iam::{ACCOUNT}:user/nobody-here")
    for document in (clients.document(allow("sts:AssumeRole")), "{", of_nobody):
        with refused("MalformedPolicyDocument"):
            root.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)
