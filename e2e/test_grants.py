"""Grants: spec/kms.md §11."""

import pytest

from harness.clients import allow
from harness.faults import refused
from harness.program import ACCOUNT

SUBSET = {"EncryptionContextSubset": {"team": "green"}}
EQUALS = {"EncryptionContextEquals": {"team": "green"}}


def _create(root, key, grantee, operations=("Encrypt", "Decrypt"), **more):
    return root.kms.create_grant(KeyId=key["KeyId"], GranteePrincipal=grantee.arn, Operations=list(operations), **more)


def _encrypt(principal, key, **context):
    return principal.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x", EncryptionContext=context)


def test_a_grant_gives_its_operations_and_no_other(root, key, user):
    reader = user()
    grant = _create(root, key, reader, ["Encrypt"], Name="one")
    blob = _encrypt(reader, key)["CiphertextBlob"]
    with refused("AccessDeniedException"):
        reader.kms.decrypt(CiphertextBlob=blob, KeyId=key["Arn"])
    [listed] = root.kms.list_grants(KeyId=key["KeyId"])["Grants"]
    listed.pop("CreationDate")
    assert listed == {
        "KeyId": key["Arn"], "GrantId": grant["GrantId"], "Name": "one", "GranteePrincipal": reader.arn,
        "IssuingAccount": f"arn:aws:iam::{ACCOUNT}:root", "Operations": ["Encrypt"]}
    assert len(grant["GrantId"]) == 64


def test_a_subset_constraint_wants_its_pairs_and_allows_more(root, key, user):
    reader = user()
    _create(root, key, reader, Constraints=SUBSET)
    _encrypt(reader, key, team="green")
    _encrypt(reader, key, team="green", more="x")
    for context in ({}, {"team": "Green"}, {"more": "x"}):
        with refused("AccessDeniedException"):
            _encrypt(reader, key, **context)


def test_an_equals_constraint_wants_exactly_its_pairs(root, key, user):
    reader = user()
    _create(root, key, reader, Constraints=EQUALS)
    _encrypt(reader, key, team="green")
    for context in ({}, {"team": "green", "more": "x"}):
        with refused("AccessDeniedException"):
            _encrypt(reader, key, **context)


def test_a_name_makes_the_creation_repeatable(root, key, user):
    reader = user()
    first, again = _create(root, key, reader, Name="same"), _create(root, key, reader, Name="same")
    assert first["GrantId"] == again["GrantId"] and first["GrantToken"] != again["GrantToken"]
    other = _create(root, key, reader, ["Encrypt"], Name="same")
    assert other["GrantId"] != first["GrantId"]
    assert _create(root, key, reader)["GrantId"] != _create(root, key, reader)["GrantId"]


def test_a_token_is_taken_from_the_grantee_and_helps_nobody_else(root, key, user):
    reader, other = user(), user()
    token = _create(root, key, reader)["GrantToken"]
    reader.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x", GrantTokens=[token])
    with refused("AccessDeniedException"):
        other.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x", GrantTokens=[token])
    with refused("InvalidGrantTokenException"):
        reader.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x", GrantTokens=["bm90IGEgdG9rZW4="])


def test_a_grant_made_under_a_grant_gives_no_more(root, key, user):
    parent, child = user(), user()
    _create(root, key, parent, ["Encrypt", "CreateGrant"], Constraints=SUBSET)
    def pass_on(operations, constraints):
        return parent.kms.create_grant(KeyId=key["Arn"], GranteePrincipal=child.arn, Operations=operations,
                                       **({"Constraints": constraints} if constraints else {}))
    for operations, constraints in ((["Encrypt"], None), (["Decrypt"], SUBSET),
                                    (["Encrypt"], {"EncryptionContextSubset": {"team": "red"}})):
        with refused("AccessDeniedException"):
            pass_on(operations, constraints)
    pass_on(["Encrypt"], {"EncryptionContextSubset": {"team": "green", "more": "x"}})
    _encrypt(child, key, team="green", more="x")
    with refused("AccessDeniedException"):
        _encrypt(child, key, team="green")


def test_a_grant_is_retired_by_those_whom_it_names(root, key, user):
    reader, retirer, other = user(), user(), user()
    made = _create(root, key, reader, RetiringPrincipal=retirer.arn)
    for principal in (reader, other):
        with refused("AccessDeniedException"):
            principal.kms.retire_grant(KeyId=key["Arn"], GrantId=made["GrantId"])
    listed = root.kms.list_retirable_grants(RetiringPrincipal=retirer.arn)["Grants"]
    assert [grant["GrantId"] for grant in listed] == [made["GrantId"]]
    retirer.kms.retire_grant(KeyId=key["Arn"], GrantId=made["GrantId"])
    own = _create(root, key, reader, ["Encrypt", "RetireGrant"])
    reader.kms.retire_grant(GrantToken=own["GrantToken"])
    assert root.kms.list_grants(KeyId=key["KeyId"])["Grants"] == []
    with refused("NotFoundException"):
        root.kms.retire_grant(KeyId=key["Arn"], GrantId=made["GrantId"])
    with refused("InvalidGrantIdException"):
        root.kms.revoke_grant(KeyId=key["KeyId"], GrantId=made["GrantId"])
    with refused("ValidationException"):
        root.kms.retire_grant()


def test_grants_are_listed_in_pages_and_by_grantee(root, key, user):
    first, second = user(), user()
    made = {_create(root, key, first)["GrantId"] for _ in range(3)} | {_create(root, key, second)["GrantId"]}
    pages = root.kms.get_paginator("list_grants").paginate(KeyId=key["KeyId"], PaginationConfig={"PageSize": 2})
    assert {grant["GrantId"] for page in pages for grant in page["Grants"]} == made
    assert len(root.kms.list_grants(KeyId=key["KeyId"], GranteePrincipal=second.arn)["Grants"]) == 1
    one = next(iter(made))
    assert [grant["GrantId"] for grant in root.kms.list_grants(KeyId=key["KeyId"], GrantId=one)["Grants"]] == [one]


@pytest.mark.parametrize("operations", [["ListGrants"], ["Sign"], ["DisableKey"]])
def test_operations_that_no_grant_on_such_a_key_can_give_are_refused(root, key, operations):
    with refused("ValidationException"):
        root.kms.create_grant(KeyId=key["KeyId"], GranteePrincipal=root.arn, Operations=operations)


def test_a_grantee_must_exist(root, key):
    nobody = f"arn:aws:iam::{ACCOUNT}:user/nobody-of-this-name"
    with refused("InvalidArnException", f"ARN does not refer to a valid principal: {nobody}"):
        root.kms.create_grant(KeyId=key["KeyId"], GranteePrincipal=nobody, Operations=["Decrypt"])


def test_a_condition_on_grants_is_held(root, key, user):
    condition = {"ForAllValues:StringEquals": {"kms:GrantOperations": ["Encrypt", "Decrypt"]},
                 "StringEquals": {"kms:GrantConstraintType": "EncryptionContextSubset"}}
    giver = user(allow("kms:CreateGrant", Condition=condition))
    arguments = {"KeyId": key["Arn"], "GranteePrincipal": giver.arn}
    giver.kms.create_grant(**arguments, Operations=["Encrypt"], Constraints=SUBSET)
    for more in ({"Operations": ["Encrypt"]}, {"Operations": ["GenerateDataKey"], "Constraints": SUBSET}):
        with refused("AccessDeniedException"):
            giver.kms.create_grant(**arguments, **more)
