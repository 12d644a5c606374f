"""Bad input: every parameter of every operation, missing, of the wrong type, too long, empty, no UTF-8.

Each is refused by an error that AWS's model or the specification has for it, and changes nothing.
"""

import pytest

from harness import clients, clusters, inputs, program
from harness.clients import allow, document
from harness.model import service_model
from harness.operations import served
from harness.signing import Raw

# Parameters that only select: what nothing matches is an empty answer, or nothing to do, however long it is.
SELECTS_NOTHING = {
    ("DescribeDBEngineVersions", "EngineVersion"), ("DescribeDBEngineVersions", "DBParameterGroupFamily"),
    ("DescribeOrderableDBInstanceOptions", "EngineVersion"), ("DescribeOrderableDBInstanceOptions", "DBInstanceClass"),
    ("DescribeDBClusterSnapshots", "DBClusterIdentifier"), ("DescribeDBClusterSnapshots", "DbClusterResourceId"),
    ("DescribeEvents", "EventCategories.EventCategory.1"), ("RemoveTagsFromResource", "TagKeys.member.1"),
    ("DescribeOrderableDBInstanceOptions", "LicenseModel"),
    ("DescribeOrderableDBInstanceOptions", "AvailabilityZoneGroup"),
}


@pytest.fixture(scope="module")
def small(answers):
    """A server with one of each thing, so that all of its state can be compared."""
    server = program.Server().serve()
    root = clients.root_of(server, answers, program.ACCOUNT)
    key = root.kms.create_key(Description="one")["KeyMetadata"]
    root.kms.create_alias(AliasName="alias/one", TargetKeyId=key["KeyId"])
    user = clients.user(root, "one", allow("kms:ListKeys"))
    macs = root.kms.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["Arn"]
    signer = root.kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    external = root.kms.create_key(Origin="EXTERNAL")["KeyMetadata"]["Arn"]
    grant = root.kms.create_grant(KeyId=key["KeyId"], GranteePrincipal=user.arn, Operations=["Decrypt"])["GrantId"]
    blob = root.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    role = root.iam.create_role(RoleName="one", AssumeRolePolicyDocument=document(
        {"Effect": "Allow", "Principal": {"AWS": user.arn}, "Action": "sts:AssumeRole"}))["Role"]
    root.iam.put_role_policy(RoleName="one", PolicyName="test", PolicyDocument=document(allow("kms:ListKeys")))
    managed = root.iam.create_policy(PolicyName="one", PolicyDocument=document(allow("kms:ListKeys")))["Policy"]
    root.iam.attach_user_policy(UserName="one", PolicyArn=managed["Arn"])
    root.iam.attach_role_policy(RoleName="one", PolicyArn=managed["Arn"])
    root.iam.create_group(GroupName="one")
    root.iam.put_group_policy(GroupName="one", PolicyName="test", PolicyDocument=document(allow("kms:ListKeys")))
    cluster = clusters.running(root, "one", KmsKeyId=key["Arn"])
    clusters.snapshot(root, "one", "one-snapshot")
    yield root, dict(
        key=key["Arn"], macs=macs, signer=signer, external=external, alias="alias/one", grant=grant, blob=blob, user="one", principal=user.arn,
        user_arn=user.arn, group="one",
        access_key=user.access_key, policy="test", role="one", role_arn=role["Arn"], policy_arn=managed["Arn"],
        cluster="one", instance=cluster.instance, snapshot="one-snapshot",
        arn=cluster.describe()["DBClusterArn"])
    server.close()


def _everything(root):
    """All state that the services show."""
    keys = sorted(entry["KeyId"] for entry in root.kms.list_keys()["Keys"])
    users = root.iam.list_users()["Users"]
    return {
        "keys": [(root.kms.describe_key(KeyId=key)["KeyMetadata"], root.kms.get_key_policy(KeyId=key)["Policy"],
                  root.kms.list_grants(KeyId=key)["Grants"], root.kms.list_resource_tags(KeyId=key)["Tags"],
                  _rotation(root, key)) for key in keys],
        "aliases": root.kms.list_aliases()["Aliases"],
        "users": [(user, root.iam.list_access_keys(UserName=user["UserName"])["AccessKeyMetadata"],
                   root.iam.list_user_policies(UserName=user["UserName"])["PolicyNames"]) for user in users],
        "policies": root.iam.list_policies(Scope="Local")["Policies"],
        "roles": root.iam.list_roles()["Roles"],
        "groups": [root.iam.list_groups()["Groups"], root.iam.get_group(GroupName="one")["Users"],
                   root.iam.list_group_policies(GroupName="one")["PolicyNames"]],
        "aliases of the account": root.iam.list_account_aliases()["AccountAliases"],
        "of one": [root.iam.get_user_policy(UserName="one", PolicyName="test")["PolicyDocument"],
                   root.iam.get_role_policy(RoleName="one", PolicyName="test")["PolicyDocument"],
                   root.iam.list_user_tags(UserName="one")["Tags"],
                   root.iam.list_role_policies(RoleName="one")["PolicyNames"],
                   root.iam.list_attached_user_policies(UserName="one")["AttachedPolicies"],
                   root.iam.list_attached_role_policies(RoleName="one")["AttachedPolicies"]],
        "clusters": root.rds.describe_db_clusters()["DBClusters"],
        "instances": root.rds.describe_db_instances()["DBInstances"],
        "snapshots": root.rds.describe_db_cluster_snapshots()["DBClusterSnapshots"],
        "events": root.rds.describe_events()["Events"],
    }


def _rotation(root, key):
    described = root.kms.describe_key(KeyId=key)["KeyMetadata"]
    if (described["KeySpec"], described["Origin"]) != ("SYMMETRIC_DEFAULT", "AWS_KMS"):
        return None  # it has none
    status = root.kms.get_key_rotation_status(KeyId=key)
    status.pop("ResponseMetadata")
    return status


@pytest.mark.parametrize("served_operation", sorted(served()), ids="-".join)
def test_bad_input_is_refused_and_changes_nothing(small, served_operation):
    root, things = small
    service, operation = served_operation
    make = Raw.json if service_model(service).metadata["protocol"] == "json" else Raw.query
    before, wrong = _everything(root), []
    for case in inputs.bad(service, operation, root.account, **things):
        answer = make(root, service, operation, case.body).sign().send()
        if answer.status == 200 and (operation, case.what.split()[0]) in SELECTS_NOTHING:
            continue
        expected = case.codes or (answer.code,)
        # A name that is taken would show that an earlier case was let through.
        if not 400 <= answer.status < 500 or answer.code not in expected or "AlreadyExists" in (answer.code or ""):
            wrong.append(f"{case.what}: {answer.status} {answer.code} {answer.message}, not {expected}")
    after = _everything(root)
    assert not wrong, f"{service}:{operation}\n" + "\n".join(wrong)
    assert after == before
    assert _good_is_taken(root, service, operation, things)


def _good_is_taken(root, service, operation, things):
    """The input that was spoilt is good in itself: it reads, or at least gets past the checks of its form."""
    reads = ("Describe", "List", "Get", "Lookup", "Generate", "Encrypt", "Decrypt")
    if not operation.startswith(reads):
        return True
    make = Raw.json if service_model(service).metadata["protocol"] == "json" else Raw.query
    good = inputs.good(service, operation, root.account, **things)
    answer = make(root, service, operation, inputs.body(service, operation, good)).sign().send()
    return answer.status == 200
