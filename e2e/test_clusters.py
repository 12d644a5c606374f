"""Clusters and the keys that seal them: S1 to S3, S7, S19 to S28, S31 to S35, M10, A2 to A7 and A14 to A17."""

import re

import pytest

from harness import clients, clusters, trail
from harness.clients import allow, document
from harness.faults import refused
from harness.model import service_model
from harness.operations import SERVED
from harness.program import ACCOUNT, REGION

OWN = allow("kms:*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
RDS = f"rds.{REGION}.amazonaws.com"
NEEDED = ["kms:CreateGrant", "kms:DescribeKey"]
# KMS calls that carry an encryption context.
WITH_CONTEXT = {"Encrypt", "Decrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ReEncrypt"}


def _try(principal, name, key, allowed):
    """Whether RDS can use a key for a caller; leaves no cluster behind."""
    if allowed:
        made = clusters.create_cluster(principal, name, KmsKeyId=key["Arn"])
        assert made["KmsKeyId"] == key["Arn"]
        principal.rds.delete_db_cluster(DBClusterIdentifier=name, SkipFinalSnapshot=True)
        return
    with refused("KMSKeyNotAccessibleFault") as refusal:
        clusters.create_cluster(principal, name, KmsKeyId=key["Arn"])
    assert refusal.message == (f"The specified KMS key [{key['Arn']}] does not exist, is not enabled or you do not "
                               "have permissions to access it.")
    with refused("DBClusterNotFoundFault", f"DBCluster {name} not found."):
        clusters.describe(principal, name)


@pytest.fixture(scope="module")
def uses(root, orders, orders_key):
    """Records of what RDS did with the key of the shared cluster."""
    return [record for record in trail.records(root, "ResourceName", orders_key["Arn"])
            if record["userIdentity"].get("invokedBy") == "rds.amazonaws.com"]


def _contexts(record):
    parameters = record["requestParameters"]
    names = ("encryptionContext", "sourceEncryptionContext", "destinationEncryptionContext")
    return [parameters[name] for name in names if name in parameters]


def test_s01_an_encrypted_cluster_needs_no_setup_and_makes_kms_calls(uses):
    assert {"DescribeKey", "CreateGrant", "Decrypt"} <= {record["eventName"] for record in uses}
    assert {record["eventName"] for record in uses} & {"GenerateDataKey", "GenerateDataKeyWithoutPlaintext"}


def test_s03_a_cluster_is_sealed_under_a_customer_or_the_managed_key(root, key, name):
    customer = clusters.create_cluster(root, f"{name}-cmk", KmsKeyId=key["KeyId"])
    managed = clusters.create_cluster(root, f"{name}-amk")
    managers = [root.kms.describe_key(KeyId=cluster["KmsKeyId"])["KeyMetadata"]["KeyManager"]
                for cluster in (customer, managed)]
    assert managers == ["CUSTOMER", "AWS"]
    for cluster in (customer, managed):
        assert (cluster["StorageEncrypted"], cluster["StorageEncryptionType"]) == (True, "sse-kms")
        root.rds.delete_db_cluster(DBClusterIdentifier=cluster["DBClusterIdentifier"], SkipFinalSnapshot=True)


def test_s07_the_default_key_is_aws_rds(root, user, name):
    nobody_in_kms = user(allow("rds:*"))
    made = clusters.create_cluster(nobody_in_kms, name)
    assert made["KmsKeyId"] == root.kms.describe_key(KeyId="alias/aws/rds")["KeyMetadata"]["Arn"]
    root.rds.delete_db_cluster(DBClusterIdentifier=name, SkipFinalSnapshot=True)


def test_s19_the_grant_is_made_as_the_user_through_rds(dba, orders, uses):
    cluster_id, instance_id = orders.describe()["DbClusterResourceId"], orders.describe_instance()["DbiResourceId"]
    grants = [record for record in uses if record["eventName"] == "CreateGrant"]
    for resource in (cluster_id, instance_id):
        [made] = [record for record in grants if record["requestParameters"]["constraints"] == {
            "encryptionContextSubset": {"aws:rds:db-id": resource}}]
        assert (made["userIdentity"]["arn"], made["userIdentity"]["userName"]) == (dba.arn, "dba")
        assert made["userIdentity"]["invokedBy"] == made["sourceIPAddress"] == made["userAgent"] == "rds.amazonaws.com"
        parameters = made["requestParameters"]
        assert parameters["granteePrincipal"] == parameters["retiringPrincipal"] == RDS
        assert set(parameters["operations"]) == {
            "Decrypt", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo",
            "CreateGrant", "RetireGrant", "DescribeKey"}


def test_s20_the_user_needs_create_grant(key, user, name):
    _try(user(allow("rds:*"), allow("kms:DescribeKey")), name, key, allowed=False)
    _try(user(allow("rds:*"), allow(NEEDED)), name, key, allowed=True)


def test_s21_the_user_needs_describe_key(key, user, name):
    _try(user(allow("rds:*"), allow("kms:CreateGrant")), name, key, allowed=False)


def test_s23_the_permissions_may_come_from_the_key_policy_alone(root, key, user, name):
    named = user(allow("rds:*"))
    _try(named, name, key, allowed=False)
    root.kms.put_key_policy(KeyId=key["KeyId"], Policy=document(OWN, allow(NEEDED, Principal={"AWS": named.arn})))
    _try(named, name, key, allowed=True)


def test_s25_the_permissions_can_be_bound_to_rds(key, user, name):
    bound = user(allow("rds:*"), allow(NEEDED, Condition={"StringEquals": {"kms:ViaService": RDS}}))
    _try(bound, name, key, allowed=True)
    with refused("AccessDeniedException"):
        bound.kms.create_grant(KeyId=key["Arn"], GranteePrincipal=bound.arn, Operations=["Decrypt"])
    with refused("AccessDeniedException"):
        bound.kms.describe_key(KeyId=key["Arn"])


@pytest.mark.parametrize("service", ["rds.eu-central-1.amazonaws.com", f"ec2.{REGION}.amazonaws.com"])
def test_s26_another_service_or_region_does_not_fit(key, user, name, service):
    _try(user(allow("rds:*"), allow(NEEDED, Condition={"StringEquals": {"kms:ViaService": service}})), name, key,
         allowed=False)


@pytest.mark.parametrize(("condition", "allowed"), [
    ({"StringLike": {"kms:EncryptionContext:aws:rds:db-id": "cluster-*"}}, True),
    ({"StringEquals": {"kms:EncryptionContext:aws:rds:db-id": "cluster-OFANOTHER"}}, False),
    ({"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": ["aws:rds:db-id"]}}, True),
    ({"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": ["aws:s3:arn"]}}, False)])
def test_s27_the_context_of_rds_can_be_a_condition(key, user, name, condition, allowed):
    _try(user(allow("rds:*"), allow("kms:DescribeKey"), allow("kms:CreateGrant", Condition=condition)), name, key,
         allowed)


def test_s28_every_use_by_rds_has_an_encryption_context(uses):
    with_context = [record for record in uses if record["eventName"] in WITH_CONTEXT]
    assert with_context and all(_contexts(record) and all(_contexts(record)) for record in with_context)


def test_s31_the_context_is_in_the_trail_in_clear(orders, uses):
    pairs = [pair for record in uses if record["eventName"] in WITH_CONTEXT for context in _contexts(record)
             for pair in context.items()]
    assert ("aws:rds:db-id", orders.describe()["DbClusterResourceId"]) in pairs


def test_s32_the_trail_alone_tells_for_which_database_the_key_was_used(orders, uses):
    known = {orders.describe()["DbClusterResourceId"], orders.describe_instance()["DbiResourceId"]}
    told = {context["aws:rds:db-id"] for record in uses if record["eventName"] in WITH_CONTEXT
            for context in _contexts(record)}
    assert told == known


def test_s33_every_context_has_the_resource_id_of_the_database(uses):
    for record in uses:
        for context in _contexts(record) if record["eventName"] in WITH_CONTEXT else ():
            assert re.fullmatch("(cluster|db)-[A-Z2-7]{26}", context["aws:rds:db-id"])


def test_s34_the_use_for_a_volume_names_database_and_volume(orders, uses):
    attached = [record for record in uses if record["eventName"] == "Decrypt" and "aws:ebs:id" in trail.context(record)]
    assert attached
    for record in attached:
        context = trail.context(record)
        assert context.keys() == {"aws:rds:db-id", "aws:ebs:id"}
        assert context["aws:rds:db-id"] == orders.describe_instance()["DbiResourceId"]
        assert re.fullmatch("vol-[0-9a-f]{17}", context["aws:ebs:id"])
        assert record["userIdentity"] == {"type": "AWSService", "invokedBy": "rds.amazonaws.com"}


def test_s35_the_context_names_the_resource_id_and_never_the_name(orders, uses):
    told = {value for record in uses if record["eventName"] in WITH_CONTEXT for context in _contexts(record)
            for value in context.values()}
    assert orders.describe_instance()["DbiResourceId"] in told
    assert not told & {orders.name, orders.instance}


def test_m10_a_key_owned_by_aws_is_not_visible_in_the_account(root, name):
    before = _key_ids(root)
    made = clusters.create_cluster(root, name, StorageEncrypted=False)
    assert "KmsKeyId" not in made and made["StorageEncrypted"] is False and made["StorageEncryptionType"] == "sse-rds"
    assert _key_ids(root) == before
    root.rds.delete_db_cluster(DBClusterIdentifier=name, SkipFinalSnapshot=True)


def _key_ids(root):
    return {entry["KeyId"] for page in root.kms.get_paginator("list_keys").paginate() for entry in page["Keys"]}


def test_a02_the_volume_key_has_256_bits(uses):
    [made] = [record for record in uses if record["eventName"].startswith("GenerateDataKey")]
    assert made["requestParameters"]["keySpec"] == "AES_256"


def test_a03_every_instance_uses_the_key_of_its_cluster(orders, orders_key):
    instance = orders.describe_instance()
    assert instance["KmsKeyId"] == orders.describe()["KmsKeyId"] == orders_key["Arn"]
    assert instance["StorageEncrypted"] is True


@pytest.mark.parametrize("parameter", ["KmsKeyId", "StorageEncrypted"])
def test_a04_a05_no_operation_changes_key_or_encryption_of_a_cluster(parameter):
    taking = {operation for operation in SERVED["rds"]
              if parameter in (service_model("rds").operation_model(operation).input_shape.members)}
    assert taking <= {"CopyDBClusterSnapshot", "CreateDBCluster", "CreateDBInstance", "RestoreDBClusterFromSnapshot"}


def test_a14_the_grant_lasts_when_the_users_permission_is_gone(root, key, user, name):
    owner = user(allow("rds:*"), allow(NEEDED))
    cluster = clusters.running(owner, name, KmsKeyId=key["Arn"])
    ids = {cluster.describe()["DbClusterResourceId"], cluster.describe_instance()["DbiResourceId"]}
    grants = root.kms.list_grants(KeyId=key["KeyId"])["Grants"]
    assert {grant["Constraints"]["EncryptionContextSubset"]["aws:rds:db-id"] for grant in grants} == ids
    assert {grant["GranteePrincipal"] for grant in grants} == {RDS}
    clients.grant_user(root, owner.arn.rsplit("/", 1)[1], allow("rds:*"))
    owner.rds.reboot_db_instance(DBInstanceIdentifier=cluster.instance)
    cluster.wait()
    assert cluster.execute("select 1") == [(1,)]
    owner.rds.stop_db_cluster(DBClusterIdentifier=name)
    cluster.wait("stopped")
    owner.rds.start_db_cluster(DBClusterIdentifier=name)
    cluster.wait()
    cluster.delete()
    assert root.kms.list_grants(KeyId=key["KeyId"])["Grants"] == []


def test_a16_a_key_is_named_by_id_arn_alias_or_alias_arn(root, key, name):
    alias = f"alias/{name}"
    root.kms.create_alias(AliasName=alias, TargetKeyId=key["KeyId"])
    for given in (key["KeyId"], key["Arn"], alias, f"arn:aws:kms:{REGION}:{ACCOUNT}:{alias}"):
        assert clusters.create_cluster(root, name, KmsKeyId=given)["KmsKeyId"] == key["Arn"]
        root.rds.delete_db_cluster(DBClusterIdentifier=name, SkipFinalSnapshot=True)
        clusters.waiting.until(lambda: name not in clusters.cluster_names(root), f"{name} to be gone")
    for given in ("alias/of-nothing", key["Arn"].replace(REGION, "eu-central-1"), "nonsense",
                  "11111111-2222-4333-8444-555555555555"):
        with refused("KMSKeyNotAccessibleFault"):
            clusters.create_cluster(root, name, KmsKeyId=given)


def test_a17_a_cluster_tells_the_kind_of_its_encryption(root, orders, name):
    shown = orders.describe()
    assert (shown["StorageEncrypted"], shown["StorageEncryptionType"]) == (True, "sse-kms")
    with refused("InvalidParameterCombination",
                 "You must enable StorageEncrypted when you specify KmsKeyId for DB engine aurora-postgresql"):
        clusters.create_cluster(root, name, KmsKeyId=shown["KmsKeyId"], StorageEncrypted=False)


def test_a_cluster_shows_what_its_users_need(root, dba, orders, orders_key):
    shown = orders.describe()
    assert shown["DBClusterArn"] == f"arn:aws:rds:{REGION}:{ACCOUNT}:cluster:orders"
    assert shown["DBClusterMembers"] == [{"DBInstanceIdentifier": "orders-1", "IsClusterWriter": True,
                                          "DBClusterParameterGroupStatus": "in-sync", "PromotionTier": 1}]
    assert (shown["Engine"], shown["MasterUsername"], shown["DatabaseName"]) == (
        clusters.ENGINE, clusters.USERNAME, "orders")
    assert dba.rds.describe_db_clusters(DBClusterIdentifier=shown["DBClusterArn"])["DBClusters"][0] == shown
    assert dba.rds.describe_db_clusters(DBClusterIdentifier="ORDERS")["DBClusters"][0] == shown
    assert orders.psql("select current_user, 6 * 7") == f"{clusters.USERNAME}|42"


def test_names_are_checked_and_taken_once(root, orders, name):
    for wrong in ("1st", "two--hyphens", "ends-", "under_score", "x" * 64):
        with refused("InvalidParameterValue"):
            clusters.create_cluster(root, wrong)
    with refused("DBClusterAlreadyExistsFault"):
        clusters.create_cluster(root, "Orders")
    with refused("DBInstanceAlreadyExists"):
        clusters.create_instance(root, "orders", "orders-1")
    with refused("DBClusterNotFoundFault", f"DBCluster {name} not found."):
        clusters.describe(root, name)
    with refused("DBInstanceNotFound", f"DBInstance {name} not found."):
        root.rds.describe_db_instances(DBInstanceIdentifier=name)
    with refused("InvalidDBClusterStateFault",
                 "Cluster cannot be deleted, it still contains DB instances in non-deleting state."):
        root.rds.delete_db_cluster(DBClusterIdentifier="orders", SkipFinalSnapshot=True)


def test_a_member_gets_no_key_and_no_password_of_its_own(root, orders, orders_key):
    arguments = {"DBInstanceIdentifier": "second", "DBInstanceClass": "db.r6g.large", "Engine": clusters.ENGINE,
                 "DBClusterIdentifier": "orders"}
    with refused("InvalidParameterCombination", "The requested DB Instance will be a member of a DB Cluster and its "
                                                "storage encryption key should not be set directly."):
        root.rds.create_db_instance(**arguments, KmsKeyId=orders_key["Arn"])
    with refused("InvalidParameterCombination"):
        root.rds.create_db_instance(**arguments, MasterUserPassword=clusters.PASSWORD)


def test_a_running_cluster_cannot_be_started(orders, root):
    with refused("InvalidDBClusterStateFault", "DbCluster orders is in available state but expected it to be one of "
                                               "stopped,inaccessible-encryption-credentials-recoverable."):
        root.rds.start_db_cluster(DBClusterIdentifier="orders")


def test_tags_are_kept_for_clusters_instances_and_snapshots(root, orders):
    arns = [orders.describe()["DBClusterArn"], orders.describe_instance()["DBInstanceArn"]]
    for arn in arns:
        tags = [{"Key": "team", "Value": "green"}, {"Key": "x", "Value": ""}]
        root.rds.add_tags_to_resource(ResourceName=arn, Tags=tags)
        root.rds.remove_tags_from_resource(ResourceName=arn, TagKeys=["x"])
        assert root.rds.list_tags_for_resource(ResourceName=arn)["TagList"] == [{"Key": "team", "Value": "green"}]
        root.rds.remove_tags_from_resource(ResourceName=arn, TagKeys=["team"])


def test_engines_and_classes_are_offered_as_found(root, orders):
    versions = root.rds.describe_db_engine_versions(Engine=clusters.ENGINE)["DBEngineVersions"]
    assert orders.describe()["EngineVersion"] in {version["EngineVersion"] for version in versions}
    options = root.rds.describe_orderable_db_instance_options(Engine=clusters.ENGINE)["OrderableDBInstanceOptions"]
    assert "db.r6g.large" in {option["DBInstanceClass"] for option in options}
    with refused("InvalidParameterCombination", f"Cannot find version 3.1 for {clusters.ENGINE}"):
        clusters.create_cluster(root, "ancient", EngineVersion="3.1")
    with refused("InvalidParameterValue"):
        clusters.create_cluster(root, "other", Engine="oracle-ee")


def test_events_tell_what_happened_to_a_cluster(root, orders):
    events = root.rds.describe_events(SourceType="db-cluster", SourceIdentifier="orders")["Events"]
    assert "DB cluster created" in " ".join(event["Message"] for event in events)
    events = root.rds.describe_events(SourceType="db-instance", SourceIdentifier="orders-1")["Events"]
    assert "DB instance created" in " ".join(event["Message"] for event in events)
    with refused("InvalidParameterCombination", "Cannot specify source identifier without source type"):
        root.rds.describe_events(SourceIdentifier="orders")


def test_rds_itself_needs_permission(user, name):
    reader = user(allow("rds:Describe*"))
    reader.rds.describe_db_clusters()
    with refused("AccessDenied") as refusal:
        clusters.create_cluster(reader, name)
    assert refusal.message == (
        f"User: {reader.arn} is not authorized to perform: rds:CreateDBCluster on resource: "
        f"arn:aws:rds:{REGION}:{ACCOUNT}:cluster:{name} because no identity-based policy allows the "
        "rds:CreateDBCluster action")
