"""Rotation of key material: R1 to R10 of the coverage table."""

import datetime

import pytest

from harness import clusters, trail
from harness.clients import allow
from harness.faults import refused


@pytest.mark.parametrize("days", [89, 2561])
def test_r01_a_rotation_period_has_90_to_2560_days(root, key, days):
    with refused("ValidationException"):
        root.kms.enable_key_rotation(KeyId=key["KeyId"], RotationPeriodInDays=days)
    assert root.kms.get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"] is False


def test_r01_rotation_is_off_until_it_is_enabled_and_then_yearly(root, key):
    off = root.kms.get_key_rotation_status(KeyId=key["KeyId"])
    assert off["KeyRotationEnabled"] is False and "NextRotationDate" not in off and "RotationPeriodInDays" not in off
    now = datetime.datetime.now(datetime.timezone.utc)
    for period, asked in ((365, {}), (90, {"RotationPeriodInDays": 90}), (2560, {"RotationPeriodInDays": 2560})):
        root.kms.enable_key_rotation(KeyId=key["KeyId"], **asked)
        status = root.kms.get_key_rotation_status(KeyId=key["KeyId"])
        assert (status["KeyRotationEnabled"], status["RotationPeriodInDays"]) == (True, period)
        assert abs(status["NextRotationDate"] - now - datetime.timedelta(days=period)) < datetime.timedelta(minutes=5)
    root.kms.disable_key_rotation(KeyId=key["KeyId"])
    assert root.kms.get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"] is False


def test_c04_r02_old_ciphertext_opens_with_its_material_and_new_is_made_with_the_new(root, key):
    first = root.kms.generate_data_key(KeyId=key["KeyId"], KeySpec="AES_256")
    root.kms.rotate_key_on_demand(KeyId=key["KeyId"])
    second = root.kms.generate_data_key(KeyId=key["KeyId"], KeySpec="AES_256")
    assert first["KeyMaterialId"] == key["CurrentKeyMaterialId"] != second["KeyMaterialId"]
    assert root.kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["CurrentKeyMaterialId"] == second["KeyMaterialId"]
    for made in (first, second):
        opened = root.kms.decrypt(CiphertextBlob=made["CiphertextBlob"])
        assert (opened["Plaintext"], opened["KeyMaterialId"]) == (made["Plaintext"], made["KeyMaterialId"])


def test_r03_rotation_changes_no_name_no_policy_and_no_alias(root, key, name):
    root.kms.create_alias(AliasName=f"alias/{name}", TargetKeyId=key["KeyId"])
    def around():
        described = root.kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
        described.pop("CurrentKeyMaterialId")
        return (described, root.kms.get_key_policy(KeyId=key["KeyId"])["Policy"],
                root.kms.list_aliases(KeyId=key["KeyId"])["Aliases"])
    before = around()
    root.kms.rotate_key_on_demand(KeyId=key["KeyId"])
    assert around() == before


def test_r05_a_key_is_rotated_on_demand_up_to_25_times_and_the_schedule_stays(root, key):
    root.kms.enable_key_rotation(KeyId=key["KeyId"])
    planned = root.kms.get_key_rotation_status(KeyId=key["KeyId"])["NextRotationDate"]
    for _ in range(25):
        assert root.kms.rotate_key_on_demand(KeyId=key["KeyId"])["KeyId"] == key["Arn"]
    with refused("LimitExceededException", "The on-demand rotations limit has been reached for the given keyId."):
        root.kms.rotate_key_on_demand(KeyId=key["KeyId"])
    assert root.kms.get_key_rotation_status(KeyId=key["KeyId"])["NextRotationDate"] == planned


def test_r07_a_key_pending_deletion_is_not_rotated(root, key):
    root.kms.enable_key_rotation(KeyId=key["KeyId"])
    root.kms.schedule_key_deletion(KeyId=key["KeyId"])
    assert root.kms.get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"] is False
    for call in (root.kms.rotate_key_on_demand, root.kms.enable_key_rotation, root.kms.disable_key_rotation):
        with refused("KMSInvalidStateException"):
            call(KeyId=key["KeyId"])
    root.kms.cancel_key_deletion(KeyId=key["KeyId"])
    assert root.kms.get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"] is True
    with refused("DisabledException"):
        root.kms.rotate_key_on_demand(KeyId=key["KeyId"])


def test_r08_status_and_history_are_visible(root, key):
    assert root.kms.list_key_rotations(KeyId=key["KeyId"])["Rotations"] == []
    for _ in range(2):
        root.kms.rotate_key_on_demand(KeyId=key["KeyId"])
    rotations = root.kms.list_key_rotations(KeyId=key["KeyId"])["Rotations"]
    assert {rotation["RotationType"] for rotation in rotations} == {"ON_DEMAND"} and len(rotations) == 2
    every = [entry for page in root.kms.get_paginator("list_key_rotations").paginate(
        KeyId=key["KeyId"], IncludeKeyMaterial="ALL_KEY_MATERIAL", PaginationConfig={"PageSize": 1})
        for entry in page["Rotations"]]
    assert sorted(entry["KeyMaterialState"] for entry in every) == ["CURRENT", "NON_CURRENT", "NON_CURRENT"]
    first = [entry for entry in every if "RotationType" not in entry]
    assert [entry["KeyMaterialId"] for entry in first] == [key["CurrentKeyMaterialId"]]


def test_r09_a_rotation_is_recorded(root, key):
    answer = root.kms.rotate_key_on_demand(KeyId=key["KeyId"])
    assert trail.of_request(root, answer)["eventName"] == "RotateKeyOnDemand"
    rotated = [record for record in trail.named(root, "RotateKey")
               if record["serviceEventDetails"]["keyId"] == key["KeyId"]]
    assert len(rotated) == 1
    current = root.kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["CurrentKeyMaterialId"]
    assert rotated[0]["eventType"] == "AwsServiceEvent" and "requestID" not in rotated[0]
    assert rotated[0]["serviceEventDetails"] == {
        "rotationType": "ON_DEMAND", "keyOrigin": "AWS_KMS", "previousKeyMaterialId": key["CurrentKeyMaterialId"],
        "currentKeyMaterialId": current, "keyId": key["KeyId"]}


def test_r10_a_moved_alias_is_for_new_clusters_and_old_ones_keep_their_key(root, key, name):
    alias, other = f"alias/{name}", root.kms.create_key()["KeyMetadata"]
    root.kms.create_alias(AliasName=alias, TargetKeyId=key["KeyId"])
    clusters.create_cluster(root, f"{name}-old", KmsKeyId=alias)
    root.kms.update_alias(AliasName=alias, TargetKeyId=other["KeyId"])
    assert clusters.create_cluster(root, f"{name}-new", KmsKeyId=alias)["KmsKeyId"] == other["Arn"]
    assert clusters.describe(root, f"{name}-old")["KmsKeyId"] == key["Arn"]
    for cluster in (f"{name}-old", f"{name}-new"):
        root.rds.delete_db_cluster(DBClusterIdentifier=cluster, SkipFinalSnapshot=True)


def test_rotation_needs_its_own_permission(key, user):
    with refused("AccessDeniedException"):
        user(allow("kms:EnableKeyRotation")).kms.rotate_key_on_demand(KeyId=key["Arn"])
