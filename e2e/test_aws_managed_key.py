"""The AWS managed key aws/rds: S6, S8 to S10 and M1 to M9 of the coverage table."""

import json

import pytest

from harness import clients, clusters, trail
from harness.clients import allow
from harness.faults import refused
from harness.program import ACCOUNT, REGION

ALIAS = "alias/aws/rds"
MANAGE = {
    "DisableKey": {}, "EnableKey": {}, "ScheduleKeyDeletion": {}, "CancelKeyDeletion": {},
    "PutKeyPolicy": {"Policy": clients.document(allow("kms:*", Principal="*"))},
    "UpdateKeyDescription": {"Description": "mine"}, "EnableKeyRotation": {}, "DisableKeyRotation": {},
    "RotateKeyOnDemand": {}, "TagResource": {"Tags": [{"TagKey": "a", "TagValue": "b"}]},
    "UntagResource": {"TagKeys": ["a"]},
    "CreateGrant": {"GranteePrincipal": f"arn:aws:iam::{ACCOUNT}:root", "Operations": ["Decrypt"]},
}


@pytest.fixture(scope="module")
def managed(root):
    """aws/rds, made by its first use: asking for a predefined alias."""
    return root.kms.describe_key(KeyId=ALIAS)["KeyMetadata"]


def _refuse_to_manage(root, managed, operations):
    for operation in operations:
        call = getattr(root.kms, clients.method(operation))
        with refused("AccessDeniedException") as refusal:
            call(KeyId=managed["KeyId"], **MANAGE[operation])
        assert refusal.message == (
            f"User: {root.arn} is not authorized to perform: kms:{operation} on resource: {managed['Arn']} because no "
            f"resource-based policy allows the kms:{operation} action")
    assert root.kms.describe_key(KeyId=managed["KeyId"])["KeyMetadata"] == managed


def test_s06_the_managed_key_is_in_the_account(root, managed):
    assert (managed["KeyManager"], managed["AWSAccountId"], managed["Origin"]) == ("AWS", ACCOUNT, "AWS_KMS")
    assert managed["Description"] == "Default key that protects my RDS database volumes when no other key is defined"
    listed = {entry["KeyId"] for page in root.kms.get_paginator("list_keys").paginate() for entry in page["Keys"]}
    assert managed["KeyId"] in listed


def test_s08_the_managed_key_cannot_be_managed(root, managed):
    _refuse_to_manage(root, managed, MANAGE.keys() - {
        "EnableKeyRotation", "DisableKeyRotation", "RotateKeyOnDemand", "ScheduleKeyDeletion", "CancelKeyDeletion"})


def test_s09_the_managed_key_cannot_be_rotated_by_its_users(root, managed):
    _refuse_to_manage(root, managed, ["EnableKeyRotation", "DisableKeyRotation", "RotateKeyOnDemand"])


def test_s10_the_managed_key_cannot_be_deleted(root, managed):
    _refuse_to_manage(root, managed, ["ScheduleKeyDeletion", "CancelKeyDeletion"])


def test_m01_the_managed_key_is_known_by_its_alias(root, managed):
    aliases = {entry["AliasName"]: entry for page in root.kms.get_paginator("list_aliases").paginate()
               for entry in page["Aliases"]}
    assert aliases[ALIAS]["TargetKeyId"] == managed["KeyId"]
    assert aliases[ALIAS]["AliasArn"] == f"arn:aws:kms:{REGION}:{ACCOUNT}:{ALIAS}"


def test_m02_there_is_one_managed_key_an_account_and_region(root, foreign_root, managed, name):
    first = clusters.create_cluster(root, f"{name}-a")
    second = clusters.create_cluster(root, f"{name}-b")
    assert first["KmsKeyId"] == second["KmsKeyId"] == managed["Arn"]
    elsewhere = root.client("kms", "eu-central-1").describe_key(KeyId=ALIAS)["KeyMetadata"]
    assert elsewhere["KeyId"] != managed["KeyId"] and ":eu-central-1:" in elsewhere["Arn"]
    assert foreign_root.kms.describe_key(KeyId=ALIAS)["KeyMetadata"]["KeyId"] != managed["KeyId"]
    for cluster in (first, second):
        root.rds.delete_db_cluster(DBClusterIdentifier=cluster["DBClusterIdentifier"], SkipFinalSnapshot=True)


def test_m03_the_managed_key_its_policy_and_its_use_can_be_viewed(root, managed, user):
    viewer = user(allow(["kms:Describe*", "kms:Get*", "kms:List*", "cloudtrail:LookupEvents"]))
    assert viewer.kms.describe_key(KeyId=ALIAS)["KeyMetadata"]["KeyId"] == managed["KeyId"]
    assert viewer.kms.get_key_policy(KeyId=managed["KeyId"])["Policy"]
    assert viewer.kms.list_grants(KeyId=managed["KeyId"])["Truncated"] in (True, False)
    assert trail.records(viewer, "ResourceName", managed["Arn"])
    with refused("AccessDeniedException"):
        user(allow("rds:*")).kms.get_key_policy(KeyId=managed["KeyId"])


def test_m04_properties_rotation_policy_and_deletion_are_not_the_accounts_to_change(root, managed):
    _refuse_to_manage(root, managed, MANAGE)


def test_m05_the_managed_key_does_no_cryptography_for_users_but_does_through_rds(root, managed, name):
    for operation, more in (("Encrypt", {"Plaintext": b"x"}), ("GenerateDataKey", {"KeySpec": "AES_256"})):
        with refused("AccessDeniedException", "because no resource-based policy allows"):
            getattr(root.kms, clients.method(operation))(KeyId=ALIAS, **more)
    assert clusters.create_cluster(root, name)["KmsKeyId"] == managed["Arn"]
    root.rds.delete_db_cluster(DBClusterIdentifier=name, SkipFinalSnapshot=True)


def test_m06_the_policy_of_the_managed_key_is_the_fixed_document(root, managed):
    assert json.loads(root.kms.get_key_policy(KeyId=managed["KeyId"], PolicyName="default")["Policy"]) == {
        "Version": "2012-10-17", "Id": "auto-rds-2", "Statement": [
            {"Sid": "Allow access through RDS for all principals in the account that are authorized to use RDS",
             "Effect": "Allow", "Principal": {"AWS": "*"},
             "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant",
                        "kms:ListGrants", "kms:DescribeKey"],
             "Resource": "*",
             "Condition": {"StringEquals": {"kms:ViaService": f"rds.{REGION}.amazonaws.com",
                                            "kms:CallerAccount": ACCOUNT}}},
            {"Sid": "Allow direct access to key metadata to the account", "Effect": "Allow",
             "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
             "Action": ["kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant"], "Resource": "*"}]}


def test_m07_the_rotation_of_the_managed_key_is_always_on(root, managed):
    status = root.kms.get_key_rotation_status(KeyId=managed["KeyId"])
    assert status["KeyRotationEnabled"] is True


def test_m08_users_make_no_aliases_that_begin_with_aws(root, key):
    for call, arguments in ((root.kms.create_alias, {"AliasName": "alias/aws/x", "TargetKeyId": key["KeyId"]}),
                            (root.kms.update_alias, {"AliasName": ALIAS, "TargetKeyId": key["KeyId"]}),
                            (root.kms.delete_alias, {"AliasName": ALIAS})):
        with refused("NotAuthorizedException"):
            call(**arguments)
