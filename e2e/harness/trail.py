"""Reading the audit trail as its users do."""

import json

from .program import REGION


def records(principal, key=None, value=None, **more):
    """Records that LookupEvents finds, newest first, as parsed JSON."""
    attributes = {"LookupAttributes": [{"AttributeKey": key, "AttributeValue": value}]} if key else {}
    pages = principal.trail.get_paginator("lookup_events").paginate(**attributes, **more)
    return [json.loads(event["CloudTrailEvent"]) for page in pages for event in page["Events"]]


def named(principal, event_name, **fields):
    """Records of one operation whose top-level fields have these values."""
    found = records(principal, "EventName", event_name)
    return [record for record in found if all(record.get(name) == value for name, value in fields.items())]


def of_request(principal, answer, region=REGION):
    """The record of one call just made, by the request id of its answer (a response, or a ClientError)."""
    request_id = getattr(answer, "response", answer)["ResponseMetadata"]["RequestId"]
    for page in principal.client("cloudtrail", region).get_paginator("lookup_events").paginate():
        for event in page["Events"]:
            record = json.loads(event["CloudTrailEvent"])
            if record.get("requestID") == request_id:
                return record
    raise AssertionError(f"no record of request {request_id}")


def context(record):
    """The encryption context of a record of a cryptographic call."""
    return (record.get("requestParameters") or {}).get("encryptionContext")
