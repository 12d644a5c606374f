"""The audit trail: S12, T1 and T3 of the coverage table, and `strongroom why`."""

import datetime
import json

import pytest

from harness import clusters, scan, trail
from harness.clients import allow
from harness.faults import refused
from harness.program import ACCOUNT, REGION


def test_s12_every_call_with_a_key_is_found_by_its_name(root, key):
    calls = [root.kms.describe_key(KeyId=key["KeyId"]), root.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x"),
             root.kms.tag_resource(KeyId=key["KeyId"], Tags=[{"TagKey": "a", "TagValue": "b"}]),
             root.kms.disable_key(KeyId=key["KeyId"])]
    with refused("DisabledException") as refusal:
        root.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")
    found = trail.records(root, "ResourceName", key["Arn"])
    told = [record["requestID"] for record in found]
    for answer in [*calls, refusal.response]:
        assert told.count(answer["ResponseMetadata"]["RequestId"]) == 1
    assert [record["eventName"] for record in found] == [
        "Encrypt", "DisableKey", "TagResource", "Encrypt", "DescribeKey", "CreateKey"], "newest first"
    assert found[0]["errorCode"] == "DisabledException" and found[0]["responseElements"] is None


def test_t01_denied_calls_are_recorded_without_their_parameters(root, key, user):
    nobody = user()
    with refused("AccessDeniedException") as refusal:
        nobody.kms.disable_key(KeyId=key["Arn"])
    record = trail.of_request(root, refusal.response)
    assert (record["errorCode"], record["errorMessage"]) == ("AccessDenied", refusal.message)
    assert record["requestParameters"] is record["responseElements"] is None
    assert record["userIdentity"]["arn"] == nobody.arn and record["readOnly"] is False


def test_t01_no_secret_is_anywhere_in_the_trail_the_state_or_the_log(server, root, key, user, name):
    planted = [b"plaintext-5577006791947779410", b"Reef-Plankton-86510417"]
    sealed = root.kms.encrypt(KeyId=key["KeyId"], Plaintext=planted[0])
    opened = root.kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"])
    made = root.kms.generate_data_key(KeyId=key["KeyId"], KeySpec="AES_256")
    random = root.kms.generate_random(NumberOfBytes=32)["Plaintext"]
    writer = user(allow("kms:*"))
    grant = root.kms.create_grant(KeyId=key["KeyId"], GranteePrincipal=writer.arn, Operations=["Encrypt"])
    writer.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x", GrantTokens=[grant["GrantToken"]])
    clusters.create_cluster(root, name, MasterUserPassword=planted[1].decode())
    with refused():  # a failed call, too
        clusters.create_cluster(root, name, MasterUserPassword=planted[1].decode())
    root.rds.delete_db_cluster(DBClusterIdentifier=name, SkipFinalSnapshot=True)
    assert opened["Plaintext"] == planted[0]
    needles = [form for secret in (*planted, made["Plaintext"], random) for form in scan.renderings(secret)]
    needles += [writer.secret_key.encode(), root.secret_key.encode(), grant["GrantToken"].encode(),
                *scan.renderings(sealed["CiphertextBlob"]), *scan.renderings(made["CiphertextBlob"])]
    assert scan.files_with(server.home / "trail", *needles) == []
    assert scan.files_with(server.log, *needles) == []
    secrets = [needle for needle in needles if needle != grant["GrantToken"].encode()]
    for state in server.home.glob("state.db*"):
        assert scan.files_with(state, *secrets) == []


def test_t01_reads_of_the_trail_and_of_identities_are_recorded_as_well(root):
    for answer, name, region in (
            (root.sts.get_caller_identity(), "GetCallerIdentity", REGION),
            (root.iam.list_users(), "ListUsers", "us-east-1"),
            (root.trail.lookup_events(MaxResults=1), "LookupEvents", REGION),
            (root.rds.describe_db_clusters(), "DescribeDBClusters", REGION)):
        record = trail.of_request(root, answer, region)
        assert (record["eventName"], record["readOnly"]) == (name, True)


def test_a_record_has_the_fields_of_cloudtrail(root, key):
    record = trail.of_request(root, root.kms.update_key_description(KeyId=key["KeyId"], Description="new"))
    assert record.pop("eventTime").endswith("Z") and len(record.pop("eventID")) == 36
    assert record.pop("userAgent").startswith("Boto3/") and record.pop("requestID")
    record.pop("tlsDetails", None)
    assert record == {
        "eventVersion": "1.11",
        "userIdentity": {"type": "Root", "principalId": ACCOUNT, "arn": root.arn, "accountId": ACCOUNT,
                         "accessKeyId": root.access_key},
        "eventSource": "kms.amazonaws.com", "eventName": "UpdateKeyDescription", "awsRegion": REGION,
        "sourceIPAddress": "127.0.0.1", "requestParameters": {"keyId": key["KeyId"], "description": "new"},
        "responseElements": {"keyId": key["Arn"]}, "readOnly": False,
        "resources": [{"accountId": ACCOUNT, "type": "AWS::KMS::Key", "ARN": key["Arn"]}], "eventType": "AwsApiCall",
        "managementEvent": True, "recipientAccountId": ACCOUNT, "eventCategory": "Management"}


def test_the_password_of_a_cluster_is_blotted_out(root, name):
    clusters.create_cluster(root, name)
    [record] = [record for record in trail.named(root, "CreateDBCluster")
                if (record["requestParameters"] or {}).get("dBClusterIdentifier") == name]
    assert record["requestParameters"]["masterUserPassword"] == "****"
    root.rds.delete_db_cluster(DBClusterIdentifier=name, SkipFinalSnapshot=True)


def test_t03_events_are_looked_up_by_each_attribute(root, key, user):
    writer = user(allow("kms:Encrypt"))
    answer = writer.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
    record = trail.of_request(root, answer)
    for name, value in (("EventId", record["eventID"]), ("EventName", "Encrypt"), ("ReadOnly", "true"),
                        ("Username", record["userIdentity"]["userName"]), ("ResourceType", "AWS::KMS::Key"),
                        ("ResourceName", key["Arn"]), ("EventSource", "kms.amazonaws.com"),
                        ("AccessKeyId", writer.access_key)):
        page = root.trail.lookup_events(LookupAttributes=[{"AttributeKey": name, "AttributeValue": value}])
        assert record["eventID"] in {event["EventId"] for event in page["Events"]}, name
        none = root.trail.lookup_events(LookupAttributes=[{"AttributeKey": name, "AttributeValue": value + "x"}])
        assert none["Events"] == [], name
    [event] = root.trail.lookup_events(LookupAttributes=[
        {"AttributeKey": "EventId", "AttributeValue": record["eventID"]}])["Events"]
    assert (event["EventName"], event["ReadOnly"], event["Username"], event["AccessKeyId"]) == (
        "Encrypt", "true", record["userIdentity"]["userName"], writer.access_key)
    assert {"ResourceType": "AWS::KMS::Key", "ResourceName": key["Arn"]} in event["Resources"]


def test_t03_events_are_looked_up_by_time_in_pages(root, key):
    begin = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=2)
    for _ in range(5):
        root.kms.describe_key(KeyId=key["KeyId"])
    attribute = {"LookupAttributes": [{"AttributeKey": "ResourceName", "AttributeValue": key["Arn"]}]}
    pages = list(root.trail.get_paginator("lookup_events").paginate(
        **attribute, StartTime=begin, PaginationConfig={"PageSize": 2}))
    events = [event for page in pages for event in page["Events"]]
    assert all(len(page["Events"]) <= 2 for page in pages) and len(pages) >= 3
    assert len({event["EventId"] for event in events}) == len(events) == 6  # and CreateKey
    times = [event["EventTime"] for event in events]
    assert times == sorted(times, reverse=True)
    early = begin - datetime.timedelta(days=1)
    assert root.trail.lookup_events(**attribute, StartTime=early, EndTime=early)["Events"] == []
    token = pages[0]["NextToken"]
    with refused("InvalidNextTokenException"):
        root.trail.lookup_events(NextToken=token)
    with refused("InvalidTimeRangeException"):
        root.trail.lookup_events(StartTime=begin, EndTime=early)


@pytest.mark.parametrize("most", [0, 51])
def test_t03_a_page_has_1_to_50_events(root, most):
    with refused("InvalidMaxResultsException"):
        root.trail.lookup_events(MaxResults=most)


def test_t03_at_most_one_attribute_is_given(root):
    one = {"AttributeKey": "EventName", "AttributeValue": "Encrypt"}
    with refused("InvalidLookupAttributesException"):
        root.trail.lookup_events(LookupAttributes=[one, one])


def test_the_trail_of_an_account_and_region_is_its_own(root, foreign_root, user):
    mark = root.kms.generate_random(NumberOfBytes=1)["ResponseMetadata"]["RequestId"]
    for principal, region in ((foreign_root, REGION), (root, "eu-central-1")):
        pages = principal.client("cloudtrail", region).get_paginator("lookup_events").paginate()
        assert mark not in json.dumps([event["CloudTrailEvent"] for page in pages for event in page["Events"]])
    with refused("AccessDeniedException"):
        user().trail.lookup_events()


def test_why_tells_who_used_a_key_and_for_which_database(server, orders, orders_key, dba):
    for named in ("alias/orders", orders_key["KeyId"], orders_key["Arn"]):
        told = server.run("why", named).stdout
        for part in (orders.describe_instance()["DbiResourceId"], orders.describe()["DbClusterResourceId"], "dba",
                     "Decrypt", "vol-"):
            assert part in told, part
    assert server.run("why", "alias/of-nothing", check=False).returncode != 0
