"""Key policies: P1 to P15 and S24 of the coverage table."""

import json

import pytest

from harness import clients, clusters
from harness.clients import allow, deny, document
from harness.faults import refused
from harness.program import ACCOUNT, REGION

ROOT = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
OWN = allow("kms:*", Principal=ROOT)


def _encrypt(principal, key, **more):
    return principal.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x", **more)


def _set(root, key, *statements):
    root.kms.put_key_policy(KeyId=key["KeyId"], PolicyName="default", Policy=document(*statements))


def test_p01_a_key_has_exactly_one_policy(root, key):
    assert root.kms.list_key_policies(KeyId=key["KeyId"])["PolicyNames"] == ["default"]
    with refused("UnsupportedOperationException"):
        root.kms.put_key_policy(KeyId=key["KeyId"], PolicyName="second", Policy=document(OWN))


def test_p02_nobody_has_permission_without_a_policy_not_even_root(root, user, name):
    alice = user(allow("kms:*"))
    key = alice.kms.create_key(Policy=document(allow("kms:*", Principal={"AWS": alice.arn})))["KeyMetadata"]
    with refused("AccessDeniedException", "because no resource-based policy allows the kms:DescribeKey action"):
        root.kms.describe_key(KeyId=key["KeyId"])
    with refused("AccessDeniedException", "because no resource-based policy allows the kms:PutKeyPolicy action"):
        _set(root, key, OWN)
    _encrypt(alice, key)


def test_p03_iam_policies_count_only_where_the_key_policy_lets_them(root, key, user):
    bob = user(allow("kms:Encrypt"))
    _encrypt(bob, key)
    _set(root, key, allow("kms:*", Principal={"AWS": user().arn}), allow("kms:PutKeyPolicy", Principal=ROOT))
    with refused("AccessDeniedException", "because no resource-based policy allows the kms:Encrypt action"):
        _encrypt(bob, key)


def test_p04_a_deny_in_iam_counts_without_delegation(root, key, user):
    named = user(deny("kms:Encrypt"))
    _set(root, key, OWN, allow("kms:Encrypt", Principal={"AWS": named.arn}))
    with refused("AccessDeniedException", "with an explicit deny in an identity-based policy"):
        _encrypt(named, key)


def test_p04_a_deny_in_the_key_policy_beats_every_allow(root, key, user):
    everyone = user(allow("kms:*"))
    root.kms.create_grant(KeyId=key["KeyId"], GranteePrincipal=everyone.arn, Operations=["Encrypt"])
    _encrypt(everyone, key)
    _set(root, key, OWN, deny("kms:Encrypt", Principal={"AWS": everyone.arn}))
    with refused("AccessDeniedException", "with an explicit deny in a resource-based policy"):
        _encrypt(everyone, key)


def test_p05_the_default_policy_gives_the_account_everything(root, key):
    policy = root.kms.get_key_policy(KeyId=key["KeyId"])
    assert policy["PolicyName"] == "default"
    assert json.loads(policy["Policy"]) == {
        "Version": "2012-10-17", "Id": "key-default-1", "Statement": [
            {"Sid": "Enable IAM User Permissions", "Effect": "Allow", "Principal": ROOT, "Action": "kms:*",
             "Resource": "*"}]}


def test_p06_the_account_in_a_policy_gives_its_users_nothing_by_itself(key, user):
    nobody = user()
    with refused("AccessDeniedException") as refusal:
        _encrypt(nobody, key)
    assert refusal.message == (
        f"User: {nobody.arn} is not authorized to perform: kms:Encrypt on resource: {key['Arn']} because no "
        "identity-based policy allows the kms:Encrypt action")


def test_p07_a_policy_has_up_to_32768_bytes_of_the_allowed_characters(root, key):
    policy = document(OWN | {"Sid": "spaces and any (character) are fine"})
    longest = policy + " " * (32768 - len(policy))
    root.kms.put_key_policy(KeyId=key["KeyId"], Policy=longest)
    assert root.kms.get_key_policy(KeyId=key["KeyId"])["Policy"] == longest
    with refused("LimitExceededException"):
        root.kms.put_key_policy(KeyId=key["KeyId"], Policy=longest + " ")
    for illegal in ("\u0100", "\u0000", "\u000b"):
        with refused("ValidationException"):
            root.kms.put_key_policy(KeyId=key["KeyId"], Policy=policy + illegal)
    assert root.kms.get_key_policy(KeyId=key["KeyId"])["Policy"] == longest


def test_p08_the_resource_of_a_statement_is_this_key_or_nothing(root, key, user):
    reader, other = user(), root.kms.create_key()["KeyMetadata"]
    _set(root, key, OWN, allow("kms:Encrypt", other["Arn"], Principal={"AWS": reader.arn}))
    with refused("AccessDeniedException"):
        _encrypt(reader, key)
    _set(root, key, OWN, allow("kms:Encrypt", "*", Principal={"AWS": reader.arn}))
    _encrypt(reader, key)


def test_p09_a_statement_without_action_or_resource_is_taken_and_does_nothing(root, key, user):
    reader = user()
    full = allow("kms:Encrypt", Principal={"AWS": reader.arn})
    for missing in ("Action", "Resource"):
        _set(root, key, OWN, {name: value for name, value in full.items() if name != missing})
        with refused("AccessDeniedException"):
            _encrypt(reader, key)


@pytest.mark.parametrize("principal", [
    f"arn:aws:iam::{ACCOUNT}:user/nobody-of-this-name", f"arn:aws:iam::{ACCOUNT}:user/*",
    f"arn:aws:iam::{ACCOUNT}:group/some"])
def test_p10_principals_must_exist(root, key, principal):
    before = root.kms.get_key_policy(KeyId=key["KeyId"])["Policy"]
    with refused("MalformedPolicyDocumentException",
                 "Policy contains a statement with one or more invalid principals."):
        _set(root, key, OWN, allow("kms:Encrypt", Principal={"AWS": principal}))
    assert root.kms.get_key_policy(KeyId=key["KeyId"])["Policy"] == before


def test_p11_a_policy_that_locks_its_author_out_needs_the_bypass(root, key, user):
    locked = document(allow("kms:Encrypt", Principal={"AWS": user().arn}))
    text = "The new key policy will not allow you to update the key policy in the future."
    with refused("MalformedPolicyDocumentException", text):
        root.kms.put_key_policy(KeyId=key["KeyId"], Policy=locked)
    with refused("MalformedPolicyDocumentException", text):
        root.kms.create_key(Policy=locked)
    root.kms.put_key_policy(KeyId=key["KeyId"], Policy=locked, BypassPolicyLockoutSafetyCheck=True)
    with refused("AccessDeniedException"):
        root.kms.get_key_policy(KeyId=key["KeyId"])


def test_p12_a_policy_holds_in_the_region_of_its_key(root, key):
    with refused("NotFoundException"):
        root.client("kms", "eu-central-1").get_key_policy(KeyId=key["KeyId"])


def test_p13_grants_for_aws_resources_only_come_through_the_service(root, key, user, name):
    for_resources = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    owner = user(allow("rds:*"))
    _set(root, key, OWN, allow("kms:DescribeKey", Principal={"AWS": owner.arn}),
         allow(["kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"], Principal={"AWS": owner.arn},
               Condition=for_resources))
    with refused("AccessDeniedException"):
        owner.kms.create_grant(KeyId=key["Arn"], GranteePrincipal=owner.arn, Operations=["Decrypt"])
    assert clusters.create_cluster(owner, name, KmsKeyId=key["Arn"])["KmsKeyId"] == key["Arn"]
    owner.rds.delete_db_cluster(DBClusterIdentifier=name, SkipFinalSnapshot=True)


def test_p14_a_condition_on_the_encryption_context_is_held(root, key, user):
    reader = user()
    _set(root, key, OWN, allow("kms:Encrypt", Principal={"AWS": reader.arn},
                               Condition={"StringEquals": {"kms:EncryptionContext:team": "green"}}))
    _encrypt(reader, key, EncryptionContext={"team": "green", "more": "x"})
    for context in ({}, {"team": "red"}, {"other": "green"}):
        with refused("AccessDeniedException"):
            _encrypt(reader, key, EncryptionContext=context)


def test_p14_a_condition_on_the_callers_account_is_held(root, foreign_root, key):
    foreign = clients.user(foreign_root, f"p14-{key['KeyId'][:8]}", allow("kms:*"))
    for account, allowed in ((foreign.account, True), (ACCOUNT, False)):
        _set(root, key, OWN, allow("kms:Encrypt", Principal={"AWS": "*"},
                                   Condition={"StringEquals": {"kms:CallerAccount": account}}))
        if allowed:
            _encrypt(foreign, key)
        else:
            with refused("AccessDeniedException"):
                _encrypt(foreign, key)


def test_p14_a_condition_on_the_service_is_held(root, key, user):
    reader = user()
    _set(root, key, OWN, allow("kms:*", Principal={"AWS": reader.arn},
                               Condition={"StringEquals": {"kms:ViaService": f"rds.{REGION}.amazonaws.com"}}))
    with refused("AccessDeniedException"):
        _encrypt(reader, key)


def test_p14_a_condition_on_the_alias_is_held(root, key, user, name):
    root.kms.create_alias(AliasName=f"alias/{name}", TargetKeyId=key["KeyId"])
    by_alias = user(allow("kms:Encrypt", Condition={"StringEquals": {"kms:RequestAlias": f"alias/{name}"}}))
    by_alias.kms.encrypt(KeyId=f"alias/{name}", Plaintext=b"x")
    with refused("AccessDeniedException"):
        _encrypt(by_alias, key)
    any_name = user(allow("kms:Encrypt",
                          Condition={"ForAnyValue:StringEquals": {"kms:ResourceAliases": f"alias/{name}"}}))
    _encrypt(any_name, key)
    root.kms.delete_alias(AliasName=f"alias/{name}")
    with refused("AccessDeniedException"):
        _encrypt(any_name, key)


def test_p14_a_condition_on_tags_is_held(root, key, user):
    reader = user()
    _set(root, key, OWN, allow("kms:Encrypt", Principal={"AWS": reader.arn},
                               Condition={"StringEquals": {"aws:ResourceTag/team": "green"}}))
    with refused("AccessDeniedException"):
        _encrypt(reader, key)
    root.kms.tag_resource(KeyId=key["KeyId"], Tags=[{"TagKey": "team", "TagValue": "green"}])
    _encrypt(reader, key)


def test_p15_an_administrator_of_a_key_may_change_its_policy_and_not_use_it(root, key, user):
    admin = user()
    _set(root, key, OWN, allow(["kms:Create*", "kms:Describe*", "kms:Enable*", "kms:List*", "kms:Put*", "kms:Update*",
                                "kms:Revoke*", "kms:Disable*", "kms:Get*", "kms:Delete*", "kms:TagResource",
                                "kms:UntagResource", "kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion"],
                               Principal={"AWS": admin.arn}))
    for use in (lambda: _encrypt(admin, key), lambda: admin.kms.generate_data_key(KeyId=key["Arn"], KeySpec="AES_256")):
        with refused("AccessDeniedException"):
            use()
    policy = json.loads(admin.kms.get_key_policy(KeyId=key["KeyId"])["Policy"])
    policy["Statement"].append(allow("kms:Encrypt", Principal={"AWS": admin.arn}))
    admin.kms.put_key_policy(KeyId=key["KeyId"], Policy=json.dumps(policy))
    _encrypt(admin, key)


def test_s24_iam_permissions_count_if_the_key_policy_allows_iam(root, key, user, name):
    owner = user(allow("rds:*"), allow(["kms:CreateGrant", "kms:DescribeKey"]))
    _set(root, key, allow("kms:*", Principal={"AWS": user().arn}), allow("kms:PutKeyPolicy", Principal=ROOT))
    with refused("KMSKeyNotAccessibleFault"):
        clusters.create_cluster(owner, name, KmsKeyId=key["Arn"])
    _set(root, key, OWN)
    clusters.create_cluster(owner, name, KmsKeyId=key["Arn"])
    owner.rds.delete_db_cluster(DBClusterIdentifier=name, SkipFinalSnapshot=True)


def test_a_refused_policy_changes_nothing(root, key):
    before = root.kms.get_key_policy(KeyId=key["KeyId"])["Policy"]
    for policy in ("{", "[]", "{}", '{"Version":"2012-10-17"}', document(OWN | {"Effect": "allow"}),
                   document(OWN | {"Colour": "green"}), json.dumps({"Version": "2013-01-01", "Statement": [OWN]}),
                   document({name: value for name, value in OWN.items() if name != "Principal"})):
        with refused("MalformedPolicyDocumentException"):
            root.kms.put_key_policy(KeyId=key["KeyId"], Policy=policy)
        with refused("MalformedPolicyDocumentException"):
            root.kms.create_key(Policy=policy)
    assert root.kms.get_key_policy(KeyId=key["KeyId"])["Policy"] == before
