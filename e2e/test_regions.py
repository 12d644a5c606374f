"""Regions of one server, and multi-Region keys: made in one, used in another, moved, rotated and deleted."""

import base64
import json
import os
import sqlite3
import threading
import time

import botocore.exceptions
import pytest

from harness import clients, clusters, program, trail, waiting
from harness.faults import refused
from harness.program import REGION
from test_imports import Importer

THERE = "eu-west-1"


def described(principal, arn):
    region = arn.split(":")[3]
    return principal.client("kms", region).describe_key(KeyId=arn)["KeyMetadata"]


def settled(principal, arn, state="Enabled"):
    return waiting.until(lambda: described(principal, arn)["KeyState"] == state, f"{arn} to be {state}", pause=0.01)


def replicated(principal, primary, region=THERE, state="Enabled", **more):
    """A replica that can be used; its ARN."""
    kms = principal.client("kms", primary.split(":")[3])
    made = kms.replicate_key(KeyId=primary, ReplicaRegion=region, **more)["ReplicaKeyMetadata"]
    assert (made["KeyState"], made["Enabled"]) == ("Creating", False)
    settled(principal, made["Arn"], state)
    return made["Arn"]


def related(principal, arn):
    """The primary and the replicas that a key tells, and what it is itself."""
    told = described(principal, arn)["MultiRegionConfiguration"]
    return told["PrimaryKey"]["Arn"], {key["Arn"] for key in told["ReplicaKeys"]}, told["MultiRegionKeyType"]


@pytest.fixture
def primary(root):
    """A multi-Region key; its ARN."""
    return root.kms.create_key(MultiRegion=True)["KeyMetadata"]["Arn"]


def test_what_is_sealed_in_one_region_is_opened_in_another(root, primary):
    replica = replicated(root, primary)
    assert replica == primary.replace(REGION, THERE) and "/mrk-" in replica
    here, there = root.kms, root.client("kms", THERE)
    context = {"purpose": "orders"}
    for seals, key, opens, by in ((here, primary, there, replica), (there, replica, here, primary)):
        made = seals.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=context)
        opened = opens.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=context)
        assert (opened["Plaintext"], opened["KeyId"]) == (made["Plaintext"], by)
        with refused("InvalidCiphertextException"):
            opens.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext={})
    blob = here.encrypt(KeyId=primary, Plaintext=b"once")["CiphertextBlob"]
    again = there.re_encrypt(CiphertextBlob=blob, DestinationKeyId=replica)["CiphertextBlob"]
    assert here.decrypt(CiphertextBlob=again)["Plaintext"] == b"once"
    with refused("AccessDeniedException", "does not exist in this Region"):
        root.client("kms", "ap-south-1").decrypt(CiphertextBlob=blob)
    # A key of one region is nothing elsewhere.
    single = here.create_key()["KeyMetadata"]["KeyId"]
    with refused("AccessDeniedException", "does not exist in this Region"):
        there.decrypt(CiphertextBlob=here.encrypt(KeyId=single, Plaintext=b"x")["CiphertextBlob"])
    with refused("UnsupportedOperationException", "is not a multi-region primary key."):
        here.replicate_key(KeyId=single, ReplicaRegion=THERE)
    with refused("AlreadyExistsException"):
        here.replicate_key(KeyId=primary, ReplicaRegion=THERE)


def test_macs_and_signatures_are_the_same_in_every_region(root):
    here, there = root.kms, root.client("kms", THERE)
    key = here.create_key(MultiRegion=True, KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["Arn"]
    asked = {"Message": b"orders", "MacAlgorithm": "HMAC_SHA_256"}
    mac = here.generate_mac(KeyId=key, **asked)["Mac"]
    assert there.verify_mac(KeyId=replicated(root, key), Mac=mac, **asked)["MacValid"] is True
    key = here.create_key(MultiRegion=True, KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    asked = {"Message": b"orders", "SigningAlgorithm": "ECDSA_SHA_256"}
    signature = there.sign(KeyId=replicated(root, key), **asked)["Signature"]
    assert here.verify(KeyId=key, Signature=signature, **asked)["SignatureValid"] is True


def test_r11_multi_region_keys_are_rotated_on_the_primary_alone(root, primary):
    replica = replicated(root, primary)
    here, there = root.kms, root.client("kms", THERE)
    before = there.encrypt(KeyId=replica, Plaintext=b"before")["CiphertextBlob"]
    for rotate in (there.enable_key_rotation, there.disable_key_rotation, there.rotate_key_on_demand):
        with refused("UnsupportedOperationException", f"{replica} is not a multi-region primary key."):
            rotate(KeyId=replica)
    here.enable_key_rotation(KeyId=primary, RotationPeriodInDays=90)
    status = there.get_key_rotation_status(KeyId=replica)
    assert (status["KeyRotationEnabled"], status["RotationPeriodInDays"]) == (True, 90)
    here.rotate_key_on_demand(KeyId=primary)
    current = {described(root, key)["CurrentKeyMaterialId"] for key in (primary, replica)}
    assert len(current) == 1
    [rotation] = there.list_key_rotations(KeyId=replica)["Rotations"]
    assert (rotation["RotationType"], {rotation["KeyMaterialId"]}) == ("ON_DEMAND", current)
    after = there.encrypt(KeyId=replica, Plaintext=b"after")["CiphertextBlob"]
    assert [here.decrypt(CiphertextBlob=blob)["Plaintext"] for blob in (before, after)] == [b"before", b"after"]
    here.disable_key_rotation(KeyId=primary)
    assert there.get_key_rotation_status(KeyId=replica)["KeyRotationEnabled"] is False


def test_what_belongs_to_one_key_stays_with_it(root, primary, name):
    here, there = root.kms, root.client("kms", THERE)
    replica = replicated(root, primary, Description="theirs", Tags=[{"TagKey": "team", "TagValue": "b"}])
    assert (described(root, replica)["Description"], described(root, primary)["Description"]) == ("theirs", "")
    assert there.list_resource_tags(KeyId=replica)["Tags"] and not here.list_resource_tags(KeyId=primary)["Tags"]
    there.create_alias(AliasName=f"alias/{name}", TargetKeyId=replica)
    with refused("NotFoundException"):
        here.describe_key(KeyId=f"alias/{name}")
    here.create_alias(AliasName=f"alias/{name}", TargetKeyId=primary)
    there.disable_key(KeyId=replica)
    blob = here.encrypt(KeyId=f"alias/{name}", Plaintext=b"x")["CiphertextBlob"]
    with refused("DisabledException", f"{replica} is disabled."):
        there.decrypt(CiphertextBlob=blob)
    there.enable_key(KeyId=replica)
    there.create_grant(KeyId=replica, GranteePrincipal=root.arn, Operations=["Decrypt"])
    assert there.list_grants(KeyId=replica)["Grants"] and not here.list_grants(KeyId=primary)["Grants"]
    with refused("NotFoundException", f"Invalid arn {REGION}"):
        there.describe_key(KeyId=primary)


def test_the_primary_moves_and_goes_after_its_replicas(root, primary):
    here, there = root.kms, root.client("kms", THERE)
    replica = replicated(root, primary)
    third = replicated(root, primary, "ap-south-1")
    here.update_primary_region(KeyId=primary, PrimaryRegion=THERE)
    for key in (primary, replica):
        there.encrypt(KeyId=replica, Plaintext=b"x")
        settled(root, key)
    for key, kind in ((primary, "REPLICA"), (replica, "PRIMARY"), (third, "REPLICA")):
        assert related(root, key) == (replica, {primary, third}, kind)
    with refused("UnsupportedOperationException", f"{primary} is not a multi-region primary key."):
        here.update_primary_region(KeyId=primary, PrimaryRegion=THERE)
    told = there.schedule_key_deletion(KeyId=replica, PendingWindowInDays=7)
    assert (told["KeyState"], told["PendingWindowInDays"]) == ("PendingReplicaDeletion", 7)
    assert "DeletionDate" not in told
    assert described(root, replica)["PendingDeletionWindowInDays"] == 7
    with refused("KMSInvalidStateException", f"{replica} is pending replica deletion."):
        there.encrypt(KeyId=replica, Plaintext=b"x")
    there.cancel_key_deletion(KeyId=replica)
    assert described(root, replica)["KeyState"] == "Disabled"
    told = here.schedule_key_deletion(KeyId=primary, PendingWindowInDays=7)
    assert told["KeyState"] == "PendingDeletion" and told["DeletionDate"]


def test_imported_material_comes_to_each_region_by_itself(root, tmp_path):
    material = os.urandom(32)
    key = root.kms.create_key(MultiRegion=True, Origin="EXTERNAL")["KeyMetadata"]["Arn"]
    made = Importer(root.kms, tmp_path)(key, material)
    replica = replicated(root, key, state="PendingImport")
    there = Importer(root.client("kms", THERE), tmp_path)
    with refused("IncorrectKeyMaterialException"):
        there(replica, os.urandom(32))
    assert there(replica, material)["KeyMaterialId"] == made["KeyMaterialId"]
    blob = root.kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    assert there.kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"


def test_policies_decide_who_may_replicate_where(root, user, primary):
    condition = {"StringEquals": {"kms:ReplicaRegion": THERE}}
    limited = user(clients.allow("kms:ReplicateKey", primary, Condition=condition))
    with refused("AccessDeniedException", "kms:CreateKey"):
        limited.kms.replicate_key(KeyId=primary, ReplicaRegion=THERE)
    clients.grant_user(root, limited.arn.split("/")[-1], clients.allow("kms:ReplicateKey", primary, Condition=condition),
                       clients.allow("kms:CreateKey", Condition={"StringEquals": {
                           "aws:RequestedRegion": THERE, "kms:MultiRegionKeyType": "REPLICA"}}))
    with refused("AccessDeniedException", "kms:ReplicateKey"):
        limited.kms.replicate_key(KeyId=primary, ReplicaRegion="ap-south-1")
    made = limited.kms.replicate_key(KeyId=primary, ReplicaRegion=THERE)["ReplicaKeyMetadata"]
    settled(root, made["Arn"])
    with refused("AccessDeniedException", "kms:UpdatePrimaryRegion"):
        limited.kms.update_primary_region(KeyId=primary, PrimaryRegion=THERE)


def test_the_trail_of_each_region_has_its_share(root, primary):
    answer = root.kms.replicate_key(KeyId=primary, ReplicaRegion=THERE)
    replica = answer["ReplicaKeyMetadata"]["Arn"]
    settled(root, replica)
    asked, made = trail.of_request(root, answer), trail.of_request(root, answer, THERE)
    assert (asked["eventName"], asked["awsRegion"]) == ("ReplicateKey", REGION)
    assert (made["eventName"], made["awsRegion"]) == ("CreateKey", THERE)
    assert made["resources"][0]["ARN"] == replica and made["userIdentity"]["arn"] == root.arn
    synchronized = [record for record in trail.named(root, "SynchronizeMultiRegionKey")
                    if record["resources"][0]["ARN"] == primary]
    assert len(synchronized) == 1 and synchronized[0]["eventType"] == "AwsServiceEvent"
    answer = root.kms.update_primary_region(KeyId=primary, PrimaryRegion=THERE)
    for region in (REGION, THERE):
        record = trail.of_request(root, answer, region)
        assert (record["eventName"], record["awsRegion"]) == ("UpdatePrimaryRegion", region)


def test_the_stock_command_line_works_in_two_regions(root, tmp_path):
    made = root.aws("kms", "create-key", "--multi-region", "--description", "orders")["KeyMetadata"]
    root.aws("kms", "replicate-key", "--key-id", made["KeyId"], "--replica-region", THERE)
    replica = made["Arn"].replace(REGION, THERE)
    settled(root, replica)
    sealed = tmp_path / "sealed"
    (tmp_path / "plain").write_bytes(b"once")
    blob = root.aws("kms", "encrypt", "--key-id", made["KeyId"], "--plaintext", f"fileb://{tmp_path}/plain")
    sealed.write_bytes(base64.b64decode(blob["CiphertextBlob"]))
    opened = root.aws("--region", THERE, "kms", "decrypt", "--ciphertext-blob", f"fileb://{sealed}")
    assert (base64.b64decode(opened["Plaintext"]), opened["KeyId"]) == (b"once", replica)
    root.aws("kms", "update-primary-region", "--key-id", made["KeyId"], "--primary-region", THERE)
    settled(root, made["Arn"])
    told = root.aws("kms", "describe-key", "--key-id", made["KeyId"], "--region", THERE)["KeyMetadata"]
    assert told["MultiRegionConfiguration"]["MultiRegionKeyType"] == "PRIMARY"
    listed = root.aws("kms", "list-keys", "--region", THERE)["Keys"]
    assert made["KeyId"] in {key["KeyId"] for key in listed}


def test_only_regions_that_are_served_are_answered(answers):
    server = program.Server(regions=[THERE]).serve()
    try:
        root = clients.root_of(server, answers, program.ACCOUNT)
        primary = root.kms.create_key(MultiRegion=True)["KeyMetadata"]["Arn"]
        replicated(root, primary)
        elsewhere = "Credential should be scoped to a valid region, not 'us-east-1'."
        with refused("InvalidSignatureException", elsewhere):
            root.client("kms", "us-east-1").list_keys()
        with refused("InvalidSignatureException", elsewhere):
            root.client("cloudtrail", "us-east-1").lookup_events()
        with refused("SignatureDoesNotMatch", elsewhere):
            root.client("rds", "us-east-1").describe_db_clusters()
        with refused("UnsupportedOperationException", "us-east-1"):
            root.kms.replicate_key(KeyId=primary, ReplicaRegion="us-east-1")
        # IAM and STS are global.
        for region in (REGION, THERE, "us-east-1"):
            assert root.client("sts", region).get_caller_identity()["Account"] == program.ACCOUNT
            root.client("iam", region).list_users()
        with refused("SignatureDoesNotMatch", "not 'ap-south-1'"):
            root.client("sts", "ap-south-1").get_caller_identity()
    finally:
        server.close()


def test_a_home_from_before_opens_and_its_keys_are_of_one_region(own_server, own_root):
    key = own_root.kms.create_key()["KeyMetadata"]["Arn"]
    elsewhere = own_root.client("kms", "cellar-1").create_key
    with refused("InvalidSignatureException", "not 'cellar-1'"):
        elsewhere()
    blob = own_root.kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    own_server.stop()
    with sqlite3.connect(own_server.home / "state.db") as state:
        [[body]] = state.execute("SELECT body FROM kms_keys WHERE arn = ?", [key])
        before = json.loads(body)
        for member in ("multi_region", "deletion_window"):
            del before[member]
        state.execute("UPDATE kms_keys SET body = ? WHERE arn = ?", [json.dumps(before), key])
        # A server that answered for every region could have one here.
        other = before | {"name": before["name"] | {"region": "cellar-1"}}
        other["materials"], other["origin"], other["state"] = [], "EXTERNAL", "PendingImport"
        state.execute("INSERT INTO kms_keys (arn, body) VALUES (?, ?)",
                      [key.replace(REGION, "cellar-1"), json.dumps(other)])
    state.close()
    own_server.serve()
    assert own_root.kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
    told = described(own_root, key)
    assert told["MultiRegion"] is False and "MultiRegionConfiguration" not in told
    assert described(own_root, key.replace(REGION, "cellar-1"))["KeyState"] == "PendingImport"


def _killed_in(server, pause, call):
    """Kills the server a moment after a call has begun, and starts it again."""
    def attempt():
        try:
            call()
        except botocore.exceptions.BotoCoreError:
            pass
    caller = threading.Thread(target=attempt)
    caller.start()
    time.sleep(pause)
    server.kill()
    caller.join()
    server.serve()


def test_a_kill_leaves_a_whole_replica_or_none_and_one_primary(own_server, own_root):
    """Every region says the same of what is where, whenever the server dies."""
    kms = own_root.kms
    done = set()
    for number in range(12):
        pause = number * 0.002
        primary = kms.create_key(MultiRegion=True)["KeyMetadata"]["Arn"]
        blob = kms.encrypt(KeyId=primary, Plaintext=b"kept")["CiphertextBlob"]
        _killed_in(own_server, pause, lambda: kms.replicate_key(KeyId=primary, ReplicaRegion=THERE))
        replica, there = primary.replace(REGION, THERE), own_root.client("kms", THERE)
        _, replicas, _ = related(own_root, primary)
        made = replica in replicas
        done.add(("replica", made))
        assert made == (replica in {key["KeyArn"] for key in there.get_paginator("list_keys").paginate().search("Keys")})
        records = [record for record in trail.records(own_root, "ResourceName", primary)
                   if record["eventName"] == "ReplicateKey"]
        assert [record.get("errorCode") for record in records] in ([[None]] if made else [[], ["InternalFailure"]])
        if not made:
            replicated(own_root, primary)
        settled(own_root, replica)
        assert there.decrypt(CiphertextBlob=blob)["Plaintext"] == b"kept"
        _killed_in(own_server, pause, lambda: kms.update_primary_region(KeyId=primary, PrimaryRegion=THERE))
        for key in (primary, replica):
            settled(own_root, key)
        lead, others, kind = related(own_root, primary)
        moved = lead == replica
        done.add(("primary", moved))
        assert {lead} | others == {primary, replica} and lead not in others
        assert kind == ("REPLICA" if moved else "PRIMARY")
        assert related(own_root, replica) == (lead, others, "PRIMARY" if moved else "REPLICA")
        leads = own_root.client("kms", lead.split(":")[3])
        leads.rotate_key_on_demand(KeyId=lead)
        now = leads.encrypt(KeyId=lead, Plaintext=b"new")["CiphertextBlob"]
        assert kms.decrypt(CiphertextBlob=now)["Plaintext"] == there.decrypt(CiphertextBlob=now)["Plaintext"] == b"new"
    assert len(done) > 2, f"the moments were all alike: {done}"


def test_a_database_goes_on_while_its_key_changes_places(root, primary, name):
    replicated(root, primary)
    cluster = clusters.running(root, name, KmsKeyId=primary)
    try:
        with cluster.connect() as connection:
            for region in (THERE, REGION):
                lead = related(root, primary)[0]
                root.client("kms", lead.split(":")[3]).update_primary_region(KeyId=lead, PrimaryRegion=region)
                settled(root, primary)
            time.sleep(5)  # longer than the server takes between two checks of a key
            assert connection.execute("select 1").fetchone() == (1,)
        assert cluster.describe()["Status"] == "available"
    finally:
        cluster.delete()
