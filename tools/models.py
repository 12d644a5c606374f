#!/usr/bin/env python3
"""Cuts AWS's service models (as the botocore package ships them) down to what the codecs need.

Usage: tools/models.py <botocore data directory> <output directory>

Kept: protocol, API version, and for the operations listed below their input and output shapes with
types, members, required members, ranges, patterns, enumerations, list and flattening names, and the
`sensitive` mark. Documentation, examples and everything else goes. `*` keeps every operation.
"""
import gzip
import json
import pathlib
import sys

SERVICES = {
    "kms": ("kms", "2014-11-01", ["*"]),
    "cloudtrail": ("cloudtrail", "2013-11-01", ["LookupEvents"]),
    "iam": ("iam", "2010-05-08", [
        "CreateUser", "GetUser", "ListUsers", "DeleteUser", "TagUser", "UntagUser", "ListUserTags",
        "CreateAccessKey", "ListAccessKeys", "UpdateAccessKey", "DeleteAccessKey",
        "PutUserPolicy", "GetUserPolicy", "ListUserPolicies", "DeleteUserPolicy",
        "CreatePolicy", "GetPolicy", "GetPolicyVersion", "ListPolicies", "DeletePolicy",
        "AttachUserPolicy", "DetachUserPolicy", "ListAttachedUserPolicies",
        "CreateRole", "GetRole", "ListRoles", "DeleteRole", "UpdateAssumeRolePolicy",
        "PutRolePolicy", "GetRolePolicy", "ListRolePolicies", "DeleteRolePolicy",
        "AttachRolePolicy", "DetachRolePolicy", "ListAttachedRolePolicies",
        "CreatePolicyVersion", "ListPolicyVersions", "SetDefaultPolicyVersion", "DeletePolicyVersion",
        "ListEntitiesForPolicy", "TagRole", "UntagRole", "ListRoleTags", "TagPolicy", "UntagPolicy", "ListPolicyTags",
        "UpdateRole", "PutUserPermissionsBoundary", "DeleteUserPermissionsBoundary", "PutRolePermissionsBoundary",
        "DeleteRolePermissionsBoundary", "CreateGroup", "GetGroup", "ListGroups", "DeleteGroup", "AddUserToGroup",
        "RemoveUserFromGroup", "ListGroupsForUser", "PutGroupPolicy", "GetGroupPolicy", "ListGroupPolicies",
        "DeleteGroupPolicy", "AttachGroupPolicy", "DetachGroupPolicy", "ListAttachedGroupPolicies",
        "CreateAccountAlias", "ListAccountAliases", "DeleteAccountAlias", "GetAccountSummary",
        "GetAccountAuthorizationDetails", "GetAccessKeyLastUsed", "SimulateCustomPolicy", "SimulatePrincipalPolicy"]),
    "sts": ("sts", "2011-06-15", [
        "GetCallerIdentity", "AssumeRole", "GetSessionToken", "GetFederationToken", "GetAccessKeyInfo",
        "DecodeAuthorizationMessage"]),
    "rds": ("rds", "2014-10-31", [
        "CreateDBCluster", "DescribeDBClusters", "DeleteDBCluster", "StartDBCluster", "StopDBCluster",
        "CreateDBInstance", "DescribeDBInstances", "DeleteDBInstance", "RebootDBInstance",
        "CreateDBClusterSnapshot", "DescribeDBClusterSnapshots", "DeleteDBClusterSnapshot",
        "CopyDBClusterSnapshot", "RestoreDBClusterFromSnapshot", "AddTagsToResource", "RemoveTagsFromResource",
        "ListTagsForResource", "DescribeDBEngineVersions", "DescribeOrderableDBInstanceOptions",
        "DescribeEvents"]),
}
# Shapes whose limits a service answers with errors of its own: the operation holds them, not the model.
OWN_LIMITS = {"cloudtrail": ("MaxResults", "LookupAttributeKey", "LookupAttributeValue", "EventCategory")}
LIMITS = ("min", "max", "pattern", "enum")
SHAPE_KEYS = ("type", "required", "min", "max", "pattern", "enum", "sensitive", "flattened")
REF_KEYS = ("shape", "locationName", "flattened", "queryName")


def reference(member):
    return {key: member[key] for key in REF_KEYS if key in member}


def shape(full):
    kept = {key: full[key] for key in SHAPE_KEYS if key in full}
    if "members" in full:
        kept["members"] = {name: reference(member) for name, member in full["members"].items()}
    for inner in ("member", "key", "value"):
        if inner in full:
            kept[inner] = reference(full[inner])
    return kept


def reachable(model, roots, unlimited):
    seen, todo = {}, list(roots)
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        full = model["shapes"][name]
        seen[name] = shape(full)
        if name in unlimited:
            seen[name] = {key: value for key, value in seen[name].items() if key not in LIMITS}
        todo += [m["shape"] for m in full.get("members", {}).values()]
        todo += [full[inner]["shape"] for inner in ("member", "key", "value") if inner in full]
    return dict(sorted(seen.items()))


def cut(data, service, version, wanted):
    path = pathlib.Path(data, service, version, "service-2.json")
    raw = gzip.decompress(path.with_suffix(".json.gz").read_bytes()) if not path.exists() else path.read_bytes()
    model = json.loads(raw)
    names = sorted(model["operations"]) if wanted == ["*"] else sorted(wanted)
    operations, roots = {}, []
    for name in names:
        full = model["operations"][name]
        operations[name] = {}
        for side in ("input", "output"):
            if side in full:
                operations[name][side] = reference(full[side])
                if "resultWrapper" in full[side]:
                    operations[name]["resultWrapper"] = full[side]["resultWrapper"]
                roots.append(full[side]["shape"])
    metadata = {key: model["metadata"][key] for key in ("apiVersion", "protocol", "targetPrefix", "xmlNamespace")
                if key in model["metadata"]}
    return {"metadata": metadata, "known": sorted(model["operations"]), "operations": operations,
            "shapes": reachable(model, roots, OWN_LIMITS.get(service, ()))}


def main():
    data, output = sys.argv[1:3]
    for name, (service, version, wanted) in SERVICES.items():
        text = json.dumps(cut(data, service, version, wanted), indent=1, sort_keys=True)
        pathlib.Path(output, name + ".json").write_text(text + "\n")


if __name__ == "__main__":
    main()
