"""Customer managed keys: C1 to C13, S4 and S11 of the coverage table."""

import base64
import datetime

import pytest

from harness import clients, trail
from harness.clients import allow
from harness.faults import refused
from harness.program import ACCOUNT, REGION


def test_c01_a_customer_key_belongs_to_the_account_that_made_it(root, key):
    assert (key["KeyManager"], key["AWSAccountId"]) == ("CUSTOMER", ACCOUNT)
    assert key["Arn"] == f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{key['KeyId']}"
    assert key["KeyId"] in {entry["KeyId"] for page in root.kms.get_paginator("list_keys").paginate()
                            for entry in page["Keys"]}


def test_c02_policies_and_grants_change_access_at_once(root, key, user):
    reader = user()
    with refused("AccessDeniedException"):
        reader.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
    own = allow("kms:*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
    named = allow("kms:Encrypt", Principal={"AWS": reader.arn})
    root.kms.put_key_policy(KeyId=key["KeyId"], Policy=clients.document(own, named))
    reader.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
    root.kms.put_key_policy(KeyId=key["KeyId"], Policy=clients.document(own))
    with refused("AccessDeniedException"):
        reader.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
    grant = root.kms.create_grant(KeyId=key["KeyId"], GranteePrincipal=reader.arn, Operations=["Encrypt"])
    reader.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
    root.kms.revoke_grant(KeyId=key["KeyId"], GrantId=grant["GrantId"])
    with refused("AccessDeniedException"):
        reader.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")


def test_c03_a_disabled_key_does_no_cryptography_until_it_is_enabled(root, key):
    blob = root.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"before")["CiphertextBlob"]
    root.kms.disable_key(KeyId=key["KeyId"])
    root.kms.disable_key(KeyId=key["KeyId"])  # again: no error
    described = root.kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
    assert (described["KeyState"], described["Enabled"]) == ("Disabled", False)
    text = f"{key['Arn']} is disabled."
    uses = [
        lambda: root.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x"),
        lambda: root.kms.decrypt(CiphertextBlob=blob),
        lambda: root.kms.generate_data_key(KeyId=key["KeyId"], KeySpec="AES_256"),
        lambda: root.kms.generate_data_key_without_plaintext(KeyId=key["KeyId"], KeySpec="AES_256"),
        lambda: root.kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=key["KeyId"]),
        lambda: root.kms.create_grant(KeyId=key["KeyId"], GranteePrincipal=root.arn, Operations=["Decrypt"]),
        lambda: root.kms.enable_key_rotation(KeyId=key["KeyId"]),
        lambda: root.kms.rotate_key_on_demand(KeyId=key["KeyId"]),
    ]
    for use in uses:
        with refused("DisabledException", text):
            use()
    root.kms.enable_key(KeyId=key["KeyId"])
    assert root.kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"before"


def test_c05_tags_are_listed_and_can_decide_access(root, key, user):
    on_green = allow("kms:Encrypt", Condition={"StringEquals": {"aws:ResourceTag/team": "green"}})
    tagged_only = user(on_green)
    with refused("AccessDeniedException"):
        tagged_only.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
    root.kms.tag_resource(KeyId=key["KeyId"], Tags=[{"TagKey": "team", "TagValue": "green"},
                                                    {"TagKey": "empty", "TagValue": ""}])
    tags = root.kms.list_resource_tags(KeyId=key["KeyId"])["Tags"]
    assert {tag["TagKey"]: tag["TagValue"] for tag in tags} == {"team": "green", "empty": ""}
    tagged_only.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
    root.kms.untag_resource(KeyId=key["KeyId"], TagKeys=["team"])
    with refused("AccessDeniedException"):
        tagged_only.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
    with refused("TagException"):
        root.kms.tag_resource(KeyId=key["KeyId"], Tags=[{"TagKey": "AWS:x", "TagValue": "y"}])
    with refused("TagException", "Duplicate tag keys"):
        root.kms.tag_resource(KeyId=key["KeyId"], Tags=[{"TagKey": "a", "TagValue": "1"}] * 2)
    many = [{"TagKey": f"k{n}", "TagValue": ""} for n in range(50)]  # with the one it has: 51
    with refused("TagException", "Too many tags"):
        root.kms.tag_resource(KeyId=key["KeyId"], Tags=many)
    assert [tag["TagKey"] for tag in root.kms.list_resource_tags(KeyId=key["KeyId"])["Tags"]] == ["empty"]


def test_c06_aliases_name_keys_and_can_be_moved(root, key, name):
    other = root.kms.create_key()["KeyMetadata"]
    alias = f"alias/{name}"
    root.kms.create_alias(AliasName=alias, TargetKeyId=key["KeyId"])
    blob = root.kms.encrypt(KeyId=alias, Plaintext=b"x")
    assert blob["KeyId"] == key["Arn"]
    with refused("AlreadyExistsException", f"An alias with the name arn:aws:kms:{REGION}:{ACCOUNT}:{alias} already"):
        root.kms.create_alias(AliasName=alias, TargetKeyId=other["KeyId"])
    root.kms.update_alias(AliasName=alias, TargetKeyId=other["Arn"])
    assert root.kms.describe_key(KeyId=f"arn:aws:kms:{REGION}:{ACCOUNT}:{alias}")["KeyMetadata"]["Arn"] == other["Arn"]
    assert [entry["AliasName"] for entry in root.kms.list_aliases(KeyId=other["KeyId"])["Aliases"]] == [alias]
    assert root.kms.list_aliases(KeyId=key["KeyId"])["Aliases"] == []
    root.kms.delete_alias(AliasName=alias)
    for call in (root.kms.delete_alias, lambda AliasName: root.kms.update_alias(AliasName=AliasName,
                                                                              TargetKeyId=key["KeyId"])):
        with refused("NotFoundException", f"Alias arn:aws:kms:{REGION}:{ACCOUNT}:{alias} is not found."):
            call(AliasName=alias)
    with refused("NotFoundException"):
        root.kms.encrypt(KeyId=alias, Plaintext=b"x")
    with refused("ValidationException", 'Alias must start with the prefix "alias/"'):
        root.kms.create_alias(AliasName="orders", TargetKeyId=key["KeyId"])
    with refused("InvalidAliasNameException"):
        root.kms.create_alias(AliasName="alias/a:b", TargetKeyId=key["KeyId"])
    with refused("ValidationException", "Aliases must refer to keys. Not aliases"):
        root.kms.create_alias(AliasName=alias, TargetKeyId="alias/orders-of-nobody")


@pytest.mark.parametrize("days", [6, 31])
def test_c07_deletion_waits_7_to_30_days(root, key, days):
    with refused("ValidationException"):
        root.kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=days)
    assert root.kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] == "Enabled"


def test_c07_deletion_can_be_cancelled_and_leaves_the_key_disabled(root, key):
    now = datetime.datetime.now(datetime.timezone.utc)
    planned = root.kms.schedule_key_deletion(KeyId=key["KeyId"])
    assert (planned["KeyId"], planned["KeyState"], planned["PendingWindowInDays"]) == (
        key["Arn"], "PendingDeletion", 30)
    assert abs(planned["DeletionDate"] - now - datetime.timedelta(days=30)) < datetime.timedelta(minutes=5)
    pending = f"{key['Arn']} is pending deletion."
    for call in (root.kms.enable_key, root.kms.disable_key, root.kms.schedule_key_deletion):
        with refused("KMSInvalidStateException", pending):
            call(KeyId=key["KeyId"])
    assert root.kms.cancel_key_deletion(KeyId=key["KeyId"])["KeyId"] == key["Arn"]
    described = root.kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
    assert described["KeyState"] == "Disabled" and "DeletionDate" not in described
    with refused("KMSInvalidStateException", f"{key['Arn']} is not pending deletion."):
        root.kms.cancel_key_deletion(KeyId=key["KeyId"])


def test_c08_a_user_uses_a_key_directly_and_the_trail_shows_it(root, key, user):
    writer = user(allow("kms:Encrypt", key["Arn"]))
    answer = writer.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x", EncryptionContext={"purpose": "test"})
    record = trail.of_request(root, answer)
    assert (record["eventName"], record["userIdentity"]["arn"]) == ("Encrypt", writer.arn)
    assert record["resources"] == [{"accountId": ACCOUNT, "type": "AWS::KMS::Key", "ARN": key["Arn"]}]
    assert record["requestParameters"] == {
        "keyId": key["KeyId"], "encryptionAlgorithm": "SYMMETRIC_DEFAULT", "encryptionContext": {"purpose": "test"}}


def test_c11_a_key_pending_deletion_is_unusable_from_the_first_moment(root, key):
    blob = root.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    root.kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    for use in (lambda: root.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x"),
                lambda: root.kms.decrypt(CiphertextBlob=blob),
                lambda: root.kms.generate_data_key(KeyId=key["KeyId"], KeySpec="AES_256")):
        with refused("KMSInvalidStateException", f"{key['Arn']} is pending deletion."):
            use()


def test_c12_id_arn_and_description_last_through_every_state(root, key):
    def names():
        described = root.kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
        return described["KeyId"], described["Arn"], described["Description"], described["CreationDate"]
    first = names()
    root.kms.rotate_key_on_demand(KeyId=key["KeyId"])
    assert names() == first
    root.kms.disable_key(KeyId=key["KeyId"])
    assert names() == first
    root.kms.schedule_key_deletion(KeyId=key["KeyId"])
    assert names() == first
    root.kms.cancel_key_deletion(KeyId=key["KeyId"])
    assert names() == first


def test_c13_describe_key_tells_manager_state_origin_spec_and_usage(root, key):
    described = root.kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
    described.pop("CreationDate")
    assert described == {
        "AWSAccountId": ACCOUNT, "KeyId": key["KeyId"], "Arn": key["Arn"], "Enabled": True,
        "Description": key["Description"], "KeyUsage": "ENCRYPT_DECRYPT", "KeyState": "Enabled", "Origin": "AWS_KMS",
        "KeyManager": "CUSTOMER", "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT", "KeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"], "MultiRegion": False,
        "CurrentKeyMaterialId": described["CurrentKeyMaterialId"]}
    assert len(described["CurrentKeyMaterialId"]) == 64


def test_s04_an_administrator_has_full_control_of_a_customer_key(root, user, name):
    admin = user(allow("kms:*"))
    key = admin.kms.create_key(Description="first")["KeyMetadata"]["KeyId"]
    admin.kms.update_key_description(KeyId=key, Description="second")
    assert admin.kms.describe_key(KeyId=key)["KeyMetadata"]["Description"] == "second"
    admin.kms.put_key_policy(KeyId=key, Policy=admin.kms.get_key_policy(KeyId=key)["Policy"])
    admin.kms.tag_resource(KeyId=key, Tags=[{"TagKey": "a", "TagValue": "b"}])
    admin.kms.untag_resource(KeyId=key, TagKeys=["a"])
    admin.kms.create_alias(AliasName=f"alias/{name}", TargetKeyId=key)
    admin.kms.delete_alias(AliasName=f"alias/{name}")
    admin.kms.enable_key_rotation(KeyId=key)
    admin.kms.rotate_key_on_demand(KeyId=key)
    admin.kms.disable_key_rotation(KeyId=key)
    grant = admin.kms.create_grant(KeyId=key, GranteePrincipal=admin.arn, Operations=["Decrypt"])["GrantId"]
    admin.kms.revoke_grant(KeyId=key, GrantId=grant)
    admin.kms.disable_key(KeyId=key)
    admin.kms.enable_key(KeyId=key)
    admin.kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    admin.kms.cancel_key_deletion(KeyId=key)


def test_s11_the_stock_command_line_manages_and_uses_keys(root, name, tmp_path):
    key = root.aws("kms", "create-key", "--description", name)["KeyMetadata"]["KeyId"]
    alias = f"alias/{name}"
    root.aws("kms", "create-alias", "--alias-name", alias, "--target-key-id", key)
    plain = tmp_path / "plain"
    plain.write_bytes(b"from the command line")
    context = ["--encryption-context", "purpose=cli"]
    blob = root.aws("kms", "encrypt", "--key-id", alias, "--plaintext", f"fileb://{plain}", *context)["CiphertextBlob"]
    sealed = tmp_path / "sealed"
    sealed.write_bytes(base64.b64decode(blob))
    opened = root.aws("kms", "decrypt", "--ciphertext-blob", f"fileb://{sealed}", *context)
    assert opened["KeyId"].endswith(key)
    assert root.aws("kms", "generate-data-key", "--key-id", alias, "--key-spec", "AES_256")["Plaintext"]
    assert root.aws("kms", "get-key-rotation-status", "--key-id", key)["KeyRotationEnabled"] is False
    assert root.aws("kms", "get-key-policy", "--key-id", key, "--policy-name", "default")["Policy"]
    root.aws("kms", "disable-key", "--key-id", key)
    denied = root.aws("kms", "encrypt", "--key-id", alias, "--plaintext", f"fileb://{plain}", check=False)
    assert denied.returncode != 0 and "DisabledException" in denied.stderr
    root.aws("kms", "enable-key", "--key-id", key)
    assert alias in {entry["AliasName"] for entry in root.aws("kms", "list-aliases")["Aliases"]}


def test_lists_of_keys_and_aliases_come_in_pages(root, key, name):
    for number in range(5):
        root.kms.create_alias(AliasName=f"alias/{name}/{number}", TargetKeyId=key["KeyId"])
    pages = list(root.kms.get_paginator("list_aliases").paginate(KeyId=key["KeyId"], PaginationConfig={"PageSize": 2}))
    assert [len(page["Aliases"]) for page in pages] == [2, 2, 1]
    assert [page["Truncated"] for page in pages] == [True, True, False]
    assert sorted(entry["AliasName"] for page in pages for entry in page["Aliases"]) == [
        f"alias/{name}/{number}" for number in range(5)]
    everything = root.kms.get_paginator("list_keys")
    small = [entry["KeyId"] for page in everything.paginate(PaginationConfig={"PageSize": 3}) for entry in page["Keys"]]
    assert len(small) == len(set(small)) and key["KeyId"] in small
    with refused("InvalidMarkerException"):
        root.kms.list_keys(Marker="no marker of ours")


def test_a_dry_run_decides_everything_and_does_nothing(root, key, user):
    text = "The request would have succeeded, but the DryRun option is set."
    with refused("DryRunOperationException", text):
        root.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x", DryRun=True)
    with refused("DryRunOperationException", text):
        root.kms.create_grant(KeyId=key["KeyId"], GranteePrincipal=root.arn, Operations=["Decrypt"], DryRun=True)
    assert root.kms.list_grants(KeyId=key["KeyId"])["Grants"] == []
    with refused("AccessDeniedException"):
        user().kms.encrypt(KeyId=key["Arn"], Plaintext=b"x", DryRun=True)
    root.kms.disable_key(KeyId=key["KeyId"])
    with refused("DisabledException"):
        root.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x", DryRun=True)


def test_keys_that_do_not_exist_are_told_as_aws_tells_them(root):
    missing = "11111111-2222-4333-8444-555555555555"
    arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{missing}"
    with refused("NotFoundException", f"Key '{arn}' does not exist"):
        root.kms.describe_key(KeyId=missing)
    with refused("NotFoundException", "Invalid keyId 'nonsense'"):
        root.kms.describe_key(KeyId="nonsense")
    with refused("NotFoundException", "Invalid arn eu-central-1"):
        root.kms.describe_key(KeyId=arn.replace(REGION, "eu-central-1"))
    with refused("NotFoundException", "is not found."):
        root.kms.encrypt(KeyId="alias/never-made", Plaintext=b"x")


def test_the_last_use_of_a_key_is_told(root, key):
    assert root.kms.get_key_last_usage(KeyId=key["KeyId"])["KeyLastUsage"] == {}
    answer = root.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")
    last = root.kms.get_key_last_usage(KeyId=key["KeyId"])["KeyLastUsage"]
    assert (last["Operation"], last["KmsRequestId"]) == ("Encrypt", answer["ResponseMetadata"]["RequestId"])
    assert last["CloudTrailEventId"] == trail.of_request(root, answer)["eventID"]


def test_random_bytes_are_as_many_as_asked_for(root):
    assert len(root.kms.generate_random(NumberOfBytes=1024)["Plaintext"]) == 1024
    assert root.kms.generate_random(NumberOfBytes=32)["Plaintext"] != root.kms.generate_random(NumberOfBytes=32)[
        "Plaintext"]
    with refused("ValidationException", "NumberOfBytes is required."):
        root.kms.generate_random()
