"""Keys used from another account: X1 to X10 of the coverage table."""

import json

import pytest

from harness import clients, clusters, trail
from harness.clients import allow, document
from harness.faults import refused
from harness.program import ACCOUNT, REGION

OWN = allow("kms:*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
HIDDEN = ("on this resource because the resource does not exist in this Region, no resource-based policies allow "
          "access, or a resource-based policy explicitly denies access")


@pytest.fixture
def foreign(foreign_root, name):
    """Makes a user of the second account."""
    made = []

    def make(*statements):
        made.append(name)
        return clients.user(foreign_root, f"{name}-foreign-{len(made)}", *statements)
    return make


def _share(root, key, principal, actions="kms:*"):
    root.kms.put_key_policy(KeyId=key["KeyId"], Policy=document(OWN, allow(actions, Principal={"AWS": principal})))


@pytest.mark.parametrize("in_key_policy", [False, True])
@pytest.mark.parametrize("in_iam", [False, True])
def test_x01_both_accounts_must_allow(root, foreign, foreign_root, key, in_key_policy, in_iam):
    caller = foreign(*([allow("kms:Encrypt", key["Arn"])] if in_iam else []))
    if in_key_policy:
        _share(root, key, foreign_root.account)
    if in_key_policy and in_iam:
        assert caller.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")["KeyId"] == key["Arn"]
        return
    why = "on this resource because no identity-based policy allows the kms:Encrypt action" if in_key_policy else HIDDEN
    with refused("AccessDeniedException") as refusal:
        caller.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
    assert refusal.message == f"User: {caller.arn} is not authorized to perform: kms:Encrypt {why}"


def test_x02_a_policy_may_name_the_account_or_single_users(root, foreign, key):
    named, other = foreign(allow("kms:*")), foreign(allow("kms:*"))
    _share(root, key, named.arn)
    named.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
    with refused("AccessDeniedException", HIDDEN):
        other.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
    _share(root, key, f"arn:aws:iam::{other.account}:root")
    other.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")


def test_x03_only_the_operations_for_it_work_across_accounts(root, foreign, foreign_root, key):
    caller = foreign(allow("kms:*"))
    _share(root, key, foreign_root.account)
    blob = caller.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")["CiphertextBlob"]
    assert caller.kms.decrypt(CiphertextBlob=blob, KeyId=key["Arn"])["Plaintext"] == b"x"
    caller.kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=key["Arn"])
    caller.kms.generate_data_key(KeyId=key["Arn"], KeySpec="AES_256")
    caller.kms.describe_key(KeyId=key["Arn"])
    caller.kms.get_key_rotation_status(KeyId=key["Arn"])
    grant = caller.kms.create_grant(KeyId=key["Arn"], GranteePrincipal=caller.arn, Operations=["Decrypt"])["GrantId"]
    assert [entry["GrantId"] for entry in caller.kms.list_grants(KeyId=key["Arn"])["Grants"]] == [grant]
    caller.kms.revoke_grant(KeyId=key["Arn"], GrantId=grant)
    for operation, more in (("disable_key", {}), ("enable_key", {}), ("get_key_policy", {}), ("list_key_policies", {}),
                            ("put_key_policy", {"Policy": document(OWN)}), ("schedule_key_deletion", {}),
                            ("update_key_description", {"Description": "theirs"}), ("list_resource_tags", {}),
                            ("enable_key_rotation", {}), ("rotate_key_on_demand", {}), ("list_key_rotations", {}),
                            ("tag_resource", {"Tags": [{"TagKey": "a", "TagValue": "b"}]})):
        with refused("AccessDeniedException"):
            getattr(caller.kms, operation)(KeyId=key["Arn"], **more)
    assert root.kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] == key


def test_x04_foreign_keys_are_named_by_arn_or_alias_arn(root, foreign, foreign_root, key, name):
    caller = foreign(allow("kms:*"))
    _share(root, key, foreign_root.account)
    root.kms.create_alias(AliasName=f"alias/{name}", TargetKeyId=key["KeyId"])
    alias = f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/{name}"
    assert caller.kms.encrypt(KeyId=alias, Plaintext=b"x")["KeyId"] == key["Arn"]
    with refused("NotFoundException", f"Key 'arn:aws:kms:{REGION}:{caller.account}:key/{key['KeyId']}' does not exist"):
        caller.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")
    with refused("NotFoundException", f"Alias arn:aws:kms:{REGION}:{caller.account}:alias/{name} is not found."):
        caller.kms.encrypt(KeyId=f"alias/{name}", Plaintext=b"x")


def test_x05_foreign_keys_are_in_no_list(root, foreign, foreign_root, key):
    caller = foreign(allow("kms:*"))
    _share(root, key, foreign_root.account)
    listed = [entry["KeyArn"] for page in caller.kms.get_paginator("list_keys").paginate() for entry in page["Keys"]]
    assert key["Arn"] not in listed and all(f":{caller.account}:" in arn for arn in listed)


def test_x06_the_use_is_recorded_in_both_accounts_with_one_shared_id(root, foreign, foreign_root, key):
    caller = foreign(allow("kms:*"))
    _share(root, key, foreign_root.account)
    answer = caller.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x", EncryptionContext={"for": "both"})
    theirs, ours = trail.of_request(foreign_root, answer), trail.of_request(root, answer)
    assert theirs["sharedEventID"] == ours["sharedEventID"] and theirs["eventID"] != ours["eventID"]
    assert (theirs["recipientAccountId"], ours["recipientAccountId"]) == (caller.account, ACCOUNT)
    assert theirs["userIdentity"]["arn"] == caller.arn
    assert ours["userIdentity"]["type"] == "AWSAccount" and ours["userIdentity"]["accountId"] == caller.account
    assert "userName" not in ours["userIdentity"]
    assert trail.context(theirs) == trail.context(ours) == {"for": "both"}


def test_x07_a_cluster_can_use_a_foreign_key(root, foreign, foreign_root, key, name):
    caller = foreign(allow("rds:*"), allow(["kms:CreateGrant", "kms:DescribeKey"], key["Arn"]))
    with refused("KMSKeyNotAccessibleFault"):
        clusters.create_cluster(caller, name, KmsKeyId=key["Arn"])
    _share(root, key, foreign_root.account)
    assert clusters.create_cluster(caller, name, KmsKeyId=key["Arn"])["KmsKeyId"] == key["Arn"]
    grants = root.kms.list_grants(KeyId=key["KeyId"])["Grants"]
    assert [grant["IssuingAccount"] for grant in grants] == [f"arn:aws:iam::{caller.account}:root"]
    caller.rds.delete_db_cluster(DBClusterIdentifier=name, SkipFinalSnapshot=True)


def test_x08_a_foreign_key_that_is_missing_looks_like_a_forbidden_one(foreign, key):
    caller = foreign(allow("kms:*"))
    missing = key["Arn"][:-12] + "0" * 12
    texts = set()
    for arn in (key["Arn"], missing):
        with refused("AccessDeniedException") as refusal:
            caller.kms.describe_key(KeyId=arn)
        texts.add(refusal.message)
    assert texts == {f"User: {caller.arn} is not authorized to perform: kms:DescribeKey {HIDDEN}"}


def test_x09_a_managed_key_is_never_used_by_another_account(root, foreign, name):
    managed = root.kms.describe_key(KeyId="alias/aws/rds")["KeyMetadata"]
    caller = foreign(allow("rds:*"), allow("kms:*"))
    with refused("AccessDeniedException"):
        caller.kms.encrypt(KeyId=managed["Arn"], Plaintext=b"x")
    with refused("KMSKeyNotAccessibleFault"):
        clusters.create_cluster(caller, name, KmsKeyId=managed["Arn"])
    assert "kms:CallerAccount" in json.loads(root.kms.get_key_policy(KeyId=managed["KeyId"])["Policy"])[
        "Statement"][0]["Condition"]["StringEquals"]
