"""IAM users, their keys and policies, and STS: spec/policy.md §11 to §14."""

import json

from harness import clients
from harness.clients import allow
from harness.faults import refused
from harness.program import ACCOUNT


def test_everybody_may_ask_who_he_is(root, user):
    identity = root.sts.get_caller_identity()
    assert (identity["UserId"], identity["Account"], identity["Arn"]) == (ACCOUNT, ACCOUNT, root.arn)
    nobody = user({"Effect": "Deny", "Action": "*", "Resource": "*"})
    identity = nobody.sts.get_caller_identity()
    assert identity["UserId"].startswith("AIDA") and len(identity["UserId"]) == 21
    assert (identity["Account"], identity["Arn"]) == (ACCOUNT, nobody.arn)


def test_a_user_is_made_shown_listed_and_removed(root, name):
    made = root.iam.create_user(UserName=name, Path="/staff/")["User"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/staff/{name}"
    assert root.iam.get_user(UserName=name)["User"] == made
    assert made["Arn"] in {user["Arn"] for page in root.iam.get_paginator("list_users").paginate(PathPrefix="/staff/")
                           for user in page["Users"]}
    with refused("EntityAlreadyExists", f"User with name {name} already exists."):
        root.iam.create_user(UserName=name)
    root.iam.delete_user(UserName=name)
    for call in (root.iam.get_user, root.iam.delete_user, root.iam.create_access_key, root.iam.list_user_policies):
        with refused("NoSuchEntity", f"The user with name {name} cannot be found."):
            call(UserName=name)


def test_an_access_key_is_shown_once_and_can_be_switched_off(root, name):
    root.iam.create_user(UserName=name)
    key = root.iam.create_access_key(UserName=name)["AccessKey"]
    assert key["AccessKeyId"].startswith("AKIA") and len(key["AccessKeyId"]) == 20 and len(key["SecretAccessKey"]) == 40
    principal = clients.Principal(root.url, root.answers, ACCOUNT, "", key["AccessKeyId"], key["SecretAccessKey"])
    principal.sts.get_caller_identity()
    root.iam.update_access_key(UserName=name, AccessKeyId=key["AccessKeyId"], Status="Inactive")
    with refused("InvalidClientTokenId"):
        principal.sts.get_caller_identity()
    [listed] = root.iam.list_access_keys(UserName=name)["AccessKeyMetadata"]
    assert listed["Status"] == "Inactive" and "SecretAccessKey" not in listed
    root.iam.update_access_key(UserName=name, AccessKeyId=key["AccessKeyId"], Status="Active")
    principal.sts.get_caller_identity()
    root.iam.create_access_key(UserName=name)
    with refused("LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2"):
        root.iam.create_access_key(UserName=name)
    with refused("DeleteConflict"):
        root.iam.delete_user(UserName=name)
    root.iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    with refused("InvalidClientTokenId"):
        principal.sts.get_caller_identity()


def test_inline_policies_are_kept_and_decide_at_once(root, user, key):
    reader = user()
    named = reader.arn.rsplit("/", 1)[1]
    with refused("AccessDeniedException"):
        reader.kms.list_keys()
    document = clients.document(allow("kms:ListKeys"))
    root.iam.put_user_policy(UserName=named, PolicyName="lists", PolicyDocument=document)
    reader.kms.list_keys()
    assert root.iam.list_user_policies(UserName=named)["PolicyNames"] == ["lists"]
    shown = root.iam.get_user_policy(UserName=named, PolicyName="lists")["PolicyDocument"]
    assert shown == json.loads(document)
    root.iam.delete_user_policy(UserName=named, PolicyName="lists")
    with refused("AccessDeniedException"):
        reader.kms.list_keys()
    with refused("NoSuchEntity"):
        root.iam.get_user_policy(UserName=named, PolicyName="lists")


def test_malformed_policies_are_refused_and_change_nothing(root, user):
    reader = user(allow("kms:ListKeys"))
    named = reader.arn.rsplit("/", 1)[1]
    statement = allow("kms:*")
    for document in ("{", json.dumps({"Version": "2012-10-17"}), clients.document(statement | {"Principal": "*"}),
                     clients.document(statement | {"Effect": "Maybe"}), clients.document(statement | {"Colour": "red"}),
                     clients.document({"Effect": "Allow", "Action": "kms:*"}),
                     clients.document({"Effect": "Allow", "Resource": "*"}),
                     clients.document(statement | {"Sid": "a"}, statement | {"Sid": "a"})):
        with refused("MalformedPolicyDocument"):
            root.iam.put_user_policy(UserName=named, PolicyName="test", PolicyDocument=document)
    reader.kms.list_keys()


def test_iam_itself_needs_permission(user, name):
    limited = user(allow("iam:GetUser"))
    assert limited.iam.get_user()["User"]["Arn"] == limited.arn
    with refused("AccessDenied") as refusal:
        limited.iam.create_user(UserName=name)
    assert refusal.message == (
        f"User: {limited.arn} is not authorized to perform: iam:CreateUser on resource: "
        f"arn:aws:iam::{ACCOUNT}:user/{name} because no identity-based policy allows the iam:CreateUser action")


def test_a_user_made_again_is_somebody_else(root, key, name):
    first = clients.user(root, name)
    root.kms.create_grant(KeyId=key["KeyId"], GranteePrincipal=first.arn, Operations=["Encrypt"])
    policy = json.loads(root.kms.get_key_policy(KeyId=key["KeyId"])["Policy"])
    policy["Statement"].append(allow("kms:Encrypt", Principal={"AWS": first.arn}))
    root.kms.put_key_policy(KeyId=key["KeyId"], Policy=json.dumps(policy))
    first.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
    root.iam.delete_access_key(UserName=name, AccessKeyId=first.access_key)
    root.iam.delete_user(UserName=name)
    second = clients.user(root, name)
    with refused("AccessDeniedException"):
        second.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
    shown = json.loads(root.kms.get_key_policy(KeyId=key["KeyId"])["Policy"])
    assert shown["Statement"][-1]["Principal"]["AWS"].startswith("AIDA"), "who was deleted stands by his unique id"


def test_a_managed_policy_is_attached_and_detached(root, user, name):
    reader = user()
    named = reader.arn.rsplit("/", 1)[1]
    document = clients.document(allow("kms:ListKeys"))
    made = root.iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:policy/{name}" and made["AttachmentCount"] == 0
    root.iam.attach_user_policy(UserName=named, PolicyArn=made["Arn"])
    reader.kms.list_keys()
    shown = root.iam.get_policy(PolicyArn=made["Arn"])["Policy"]
    assert (shown["AttachmentCount"], shown["DefaultVersionId"]) == (1, "v1")
    version = root.iam.get_policy_version(PolicyArn=made["Arn"], VersionId="v1")["PolicyVersion"]
    assert version["Document"] == json.loads(document) and version["IsDefaultVersion"] is True
    attached = root.iam.list_attached_user_policies(UserName=named)["AttachedPolicies"]
    assert attached == [{"PolicyName": name, "PolicyArn": made["Arn"]}]
    assert made["Arn"] in {policy["Arn"] for policy in root.iam.list_policies(Scope="Local")["Policies"]}
    with refused("DeleteConflict"):
        root.iam.delete_policy(PolicyArn=made["Arn"])
    root.iam.detach_user_policy(UserName=named, PolicyArn=made["Arn"])
    with refused("AccessDeniedException"):
        reader.kms.list_keys()
    root.iam.delete_policy(PolicyArn=made["Arn"])
    with refused("NoSuchEntity"):
        root.iam.get_policy(PolicyArn=made["Arn"])


def test_users_have_tags_that_policies_can_ask_for(root, user):
    tagged = user(allow("kms:ListKeys", Condition={"StringEquals": {"aws:PrincipalTag/team": "green"}}))
    named = tagged.arn.rsplit("/", 1)[1]
    with refused("AccessDeniedException"):
        tagged.kms.list_keys()
    root.iam.tag_user(UserName=named, Tags=[{"Key": "team", "Value": "green"}])
    assert root.iam.list_user_tags(UserName=named)["Tags"] == [{"Key": "team", "Value": "green"}]
    tagged.kms.list_keys()
    root.iam.untag_user(UserName=named, TagKeys=["team"])
    with refused("AccessDeniedException"):
        tagged.kms.list_keys()


def _trust(*principals):
    return clients.document({"Effect": "Allow", "Principal": {"AWS": list(principals)}, "Action": "sts:AssumeRole"})


def test_a_role_is_assumed_by_whom_it_trusts(root, user, key, name):
    trusted, other = user(), user()
    role = root.iam.create_role(RoleName=name, AssumeRolePolicyDocument=_trust(trusted.arn))["Role"]
    assert role["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/{name}" and role["RoleId"].startswith("AROA")
    root.iam.put_role_policy(RoleName=name, PolicyName="use", PolicyDocument=clients.document(
        allow("kms:Encrypt", key["Arn"])))
    with refused("AccessDenied") as refusal:
        other.sts.assume_role(RoleArn=role["Arn"], RoleSessionName="s-1")
    assert refusal.message == (
        f"User: {other.arn} is not authorized to perform: sts:AssumeRole on resource: {role['Arn']}")
    session = trusted.assume(role["Arn"], "s-1")
    assert session.access_key.startswith("ASIA")
    assert session.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/s-1"
    identity = session.sts.get_caller_identity()
    assert (identity["Arn"], identity["UserId"]) == (session.arn, f"{role['RoleId']}:s-1")
    session.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
    with refused("AccessDeniedException"):
        session.kms.describe_key(KeyId=key["Arn"])
    narrowed = trusted.assume(role["Arn"], "s-2", Policy=clients.document(allow("kms:DescribeKey")))
    with refused("AccessDeniedException"):
        narrowed.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
    root.iam.update_assume_role_policy(RoleName=name, PolicyDocument=_trust(other.arn))
    with refused("AccessDenied"):
        trusted.assume(role["Arn"], "s-3")
    root.iam.delete_role_policy(RoleName=name, PolicyName="use")
    with refused("AccessDeniedException"):
        session.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")


def test_a_session_needs_its_token(root, user, name):
    trusted = user()
    role = root.iam.create_role(RoleName=name, AssumeRolePolicyDocument=_trust(trusted.arn))["Role"]
    session = trusted.assume(role["Arn"], "s-1")
    for token in (None, "made-up"):
        thief = clients.Principal(root.url, root.answers, ACCOUNT, "", session.access_key, session.secret_key, token)
        with refused("InvalidClientTokenId"):
            thief.sts.get_caller_identity()


def test_a_role_is_shown_listed_and_removed(root, user, name):
    trust = _trust(user().arn)
    made = root.iam.create_role(RoleName=name, Path="/apps/", AssumeRolePolicyDocument=trust, Description="for tests",
                                MaxSessionDuration=7200)["Role"]
    shown = root.iam.get_role(RoleName=name)["Role"]
    assert shown["AssumeRolePolicyDocument"] == json.loads(trust) and shown["MaxSessionDuration"] == 7200
    assert made["Arn"] in {role["Arn"] for role in root.iam.list_roles(PathPrefix="/apps/")["Roles"]}
    root.iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=clients.document(allow("kms:ListKeys")))
    assert root.iam.list_role_policies(RoleName=name)["PolicyNames"] == ["p"]
    assert root.iam.get_role_policy(RoleName=name, PolicyName="p")["PolicyDocument"]["Version"] == "2012-10-17"
    policy = root.iam.create_policy(PolicyName=name, PolicyDocument=clients.document(allow("kms:ListKeys")))["Policy"]
    root.iam.attach_role_policy(RoleName=name, PolicyArn=policy["Arn"])
    assert root.iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == [
        {"PolicyName": name, "PolicyArn": policy["Arn"]}]
    with refused("DeleteConflict"):
        root.iam.delete_role(RoleName=name)
    root.iam.detach_role_policy(RoleName=name, PolicyArn=policy["Arn"])
    root.iam.delete_role_policy(RoleName=name, PolicyName="p")
    root.iam.delete_role(RoleName=name)
    with refused("NoSuchEntity", f"The role with name {name} cannot be found."):
        root.iam.get_role(RoleName=name)
    with refused("EntityAlreadyExists"):
        root.iam.create_policy(PolicyName=name, PolicyDocument=clients.document(allow("kms:ListKeys")))


def test_a_trust_policy_without_a_principal_is_refused(root, name):
    of_nobody = _trust(f"arn:aws:iam::{ACCOUNT}:user/nobody-here")
    for document in (clients.document(allow("sts:AssumeRole")), "{", of_nobody):
        with refused("MalformedPolicyDocument"):
            root.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)


def test_a_managed_policy_has_versions_of_which_one_decides(root, user, name):
    reader = user()
    named = reader.arn.rsplit("/", 1)[1]
    policy = root.iam.create_policy(PolicyName=name, PolicyDocument=clients.document(allow("kms:ListKeys")))["Policy"]
    arn = policy["Arn"]
    root.iam.attach_user_policy(UserName=named, PolicyArn=arn)
    reader.kms.list_keys()
    made = root.iam.create_policy_version(
        PolicyArn=arn, PolicyDocument=clients.document(allow("kms:ListAliases")), SetAsDefault=True)["PolicyVersion"]
    assert (made["VersionId"], made["IsDefaultVersion"]) == ("v2", True)
    reader.kms.list_aliases()
    with refused("AccessDeniedException"):
        reader.kms.list_keys()
    root.iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    reader.kms.list_keys()
    assert [v["VersionId"] for v in root.iam.list_policy_versions(PolicyArn=arn)["Versions"]] == ["v2", "v1"]
    with refused("DeleteConflict", "Cannot delete the default version of a policy."):
        root.iam.delete_policy_version(PolicyArn=arn, VersionId="v1")
    root.iam.delete_policy_version(PolicyArn=arn, VersionId="v2")
    assert root.iam.list_entities_for_policy(PolicyArn=arn)["PolicyUsers"][0]["UserName"] == named
    root.iam.tag_policy(PolicyArn=arn, Tags=[{"Key": "a", "Value": "b"}])
    assert root.iam.list_policy_tags(PolicyArn=arn)["Tags"] == [{"Key": "a", "Value": "b"}]
    root.iam.untag_policy(PolicyArn=arn, TagKeys=["a"])
    assert root.iam.get_policy(PolicyArn=arn)["Policy"].get("Tags", []) == []


def test_a_permissions_boundary_limits_a_user_and_a_role(root, user, name):
    limited = user(allow("kms:*"))
    named = limited.arn.rsplit("/", 1)[1]
    boundary = root.iam.create_policy(PolicyName=name, PolicyDocument=clients.document(allow("kms:ListKeys")))["Policy"]
    limited.kms.list_aliases()
    root.iam.put_user_permissions_boundary(UserName=named, PermissionsBoundary=boundary["Arn"])
    assert root.iam.get_user(UserName=named)["User"]["PermissionsBoundary"] == {
        "PermissionsBoundaryType": "PermissionsBoundaryPolicy", "PermissionsBoundaryArn": boundary["Arn"]}
    limited.kms.list_keys()
    with refused("AccessDeniedException", "because no permissions boundary allows the kms:ListAliases action"):
        limited.kms.list_aliases()
    root.iam.delete_user_permissions_boundary(UserName=named)
    limited.kms.list_aliases()
    role = root.iam.create_role(RoleName=name, AssumeRolePolicyDocument=_trust(limited.arn),
                                PermissionsBoundary=boundary["Arn"])["Role"]
    root.iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=clients.document(allow("kms:*")))
    session = limited.assume(role["Arn"], "s-1")
    session.kms.list_keys()
    with refused("AccessDeniedException", "because no permissions boundary allows the kms:ListAliases action"):
        session.kms.list_aliases()
    with refused("DeleteConflict"):
        root.iam.delete_policy(PolicyArn=boundary["Arn"])
    root.iam.delete_role_permissions_boundary(RoleName=name)
    session.kms.list_aliases()
    root.iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=boundary["Arn"])


def test_the_members_of_a_group_have_its_permissions(root, user, name):
    member = user()
    named = member.arn.rsplit("/", 1)[1]
    group = root.iam.create_group(GroupName=name, Path="/teams/")["Group"]
    assert group["Arn"] == f"arn:aws:iam::{ACCOUNT}:group/teams/{name}" and group["GroupId"].startswith("AGPA")
    root.iam.put_group_policy(GroupName=name, PolicyName="p", PolicyDocument=clients.document(allow("kms:ListKeys")))
    policy = root.iam.create_policy(PolicyName=name, PolicyDocument=clients.document(allow("kms:ListAliases")))["Policy"]
    root.iam.attach_group_policy(GroupName=name, PolicyArn=policy["Arn"])
    with refused("AccessDeniedException"):
        member.kms.list_keys()
    root.iam.add_user_to_group(GroupName=name, UserName=named)
    member.kms.list_keys()
    member.kms.list_aliases()
    assert [one["UserName"] for one in root.iam.get_group(GroupName=name)["Users"]] == [named]
    assert [one["GroupName"] for one in root.iam.list_groups_for_user(UserName=named)["Groups"]] == [name]
    assert name in {one["GroupName"] for one in root.iam.list_groups(PathPrefix="/teams/")["Groups"]}
    assert root.iam.list_group_policies(GroupName=name)["PolicyNames"] == ["p"]
    assert root.iam.get_group_policy(GroupName=name, PolicyName="p")["PolicyDocument"]["Version"] == "2012-10-17"
    assert root.iam.list_attached_group_policies(GroupName=name)["AttachedPolicies"][0]["PolicyArn"] == policy["Arn"]
    with refused("DeleteConflict"):
        root.iam.delete_group(GroupName=name)
    root.iam.remove_user_from_group(GroupName=name, UserName=named)
    with refused("AccessDeniedException"):
        member.kms.list_keys()
    root.iam.delete_group_policy(GroupName=name, PolicyName="p")
    root.iam.detach_group_policy(GroupName=name, PolicyArn=policy["Arn"])
    root.iam.delete_group(GroupName=name)


def test_a_role_is_tagged_and_changed(root, user, name):
    trusted = user()
    role = root.iam.create_role(RoleName=name, AssumeRolePolicyDocument=_trust(trusted.arn))["Role"]
    root.iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=clients.document(
        allow("kms:ListKeys", Condition={"StringEquals": {"aws:PrincipalTag/team": "green"}})))
    with refused("AccessDeniedException"):
        trusted.assume(role["Arn"], "s-1").kms.list_keys()
    root.iam.tag_role(RoleName=name, Tags=[{"Key": "team", "Value": "green"}])
    assert root.iam.list_role_tags(RoleName=name)["Tags"] == [{"Key": "team", "Value": "green"}]
    trusted.assume(role["Arn"], "s-1").kms.list_keys()
    root.iam.untag_role(RoleName=name, TagKeys=["team"])
    root.iam.update_role(RoleName=name, Description="changed", MaxSessionDuration=7200)
    shown = root.iam.get_role(RoleName=name)["Role"]
    assert (shown["Description"], shown["MaxSessionDuration"]) == ("changed", 7200)


def test_an_account_has_an_alias_a_summary_and_details(root, user, name):
    member = user(allow("kms:ListKeys"))
    named = member.arn.rsplit("/", 1)[1]
    root.iam.create_account_alias(AccountAlias=f"alias-of-{name}")
    assert root.iam.list_account_aliases()["AccountAliases"] == [f"alias-of-{name}"]
    with refused("EntityAlreadyExists"):
        root.iam.create_account_alias(AccountAlias=f"alias-of-{name}")
    root.iam.delete_account_alias(AccountAlias=f"alias-of-{name}")
    with refused("NoSuchEntity"):
        root.iam.delete_account_alias(AccountAlias=f"alias-of-{name}")
    summary = root.iam.get_account_summary()["SummaryMap"]
    assert summary["Users"] >= 1 and summary["AccessKeysPerUserQuota"] == 2
    pages = root.iam.get_paginator("get_account_authorization_details").paginate(
        Filter=["User"], PaginationConfig={"PageSize": 3})
    details = {one["UserName"]: one for page in pages for one in page["UserDetailList"]}
    assert details[named]["UserPolicyList"][0]["PolicyDocument"]["Statement"][0]["Action"] == "kms:ListKeys"


def test_the_last_use_of_an_access_key_is_told(root, user):
    caller = user(allow("kms:ListKeys"))
    before = root.iam.get_access_key_last_used(AccessKeyId=caller.access_key)["AccessKeyLastUsed"]
    assert (before["ServiceName"], before["Region"]) == ("N/A", "N/A")
    caller.client("kms", "eu-west-1").list_keys()
    used = root.iam.get_access_key_last_used(AccessKeyId=caller.access_key)
    assert used["UserName"] == caller.arn.rsplit("/", 1)[1]
    assert (used["AccessKeyLastUsed"]["ServiceName"], used["AccessKeyLastUsed"]["Region"]) == ("kms", "eu-west-1")


def _decisions(answer):
    return [(one["EvalActionName"], one["EvalDecision"]) for one in answer["EvaluationResults"]]


def test_policies_are_simulated(root, user, key):
    document = clients.document(
        allow("kms:Decrypt", key["Arn"], Condition={"StringEquals": {"kms:ViaService": "rds.us-west-2.amazonaws.com"}}),
        clients.deny("kms:DisableKey"))
    actions = ["kms:Decrypt", "kms:DisableKey", "kms:Encrypt"]
    answer = root.iam.simulate_custom_policy(PolicyInputList=[document], ActionNames=actions, ResourceArns=[key["Arn"]])
    assert _decisions(answer) == [(actions[0], "implicitDeny"), (actions[1], "explicitDeny"), (actions[2], "implicitDeny")]
    assert answer["EvaluationResults"][0]["MissingContextValues"] == ["kms:viaservice"]
    [denied] = answer["EvaluationResults"][1]["MatchedStatements"]
    start, end = denied["StartPosition"]["Column"] - 1, denied["EndPosition"]["Column"] - 1
    assert denied["SourcePolicyId"] == "PolicyInputList.1"
    assert json.loads(document[start:end]) == clients.deny("kms:DisableKey")
    via = {"ContextKeyName": "kms:ViaService", "ContextKeyType": "string",
           "ContextKeyValues": ["rds.us-west-2.amazonaws.com"]}
    answer = root.iam.simulate_custom_policy(PolicyInputList=[document], ActionNames=actions[:1],
                                             ResourceArns=[key["Arn"]], ContextEntries=[via])
    assert _decisions(answer) == [("kms:Decrypt", "allowed")]
    somebody = user(allow("kms:Encrypt", Condition={"StringEquals": {"aws:username": "${aws:username}"}}))
    answer = root.iam.simulate_principal_policy(PolicySourceArn=somebody.arn, ActionNames=["kms:Encrypt", "kms:Decrypt"])
    assert _decisions(answer) == [("kms:Encrypt", "allowed"), ("kms:Decrypt", "implicitDeny")]
    boundary = clients.document(allow("kms:Decrypt"))
    answer = root.iam.simulate_principal_policy(PolicySourceArn=somebody.arn, ActionNames=["kms:Encrypt"],
                                                PermissionsBoundaryPolicyInputList=[boundary])
    assert answer["EvaluationResults"][0]["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": False}
    answer = root.iam.simulate_custom_policy(
        PolicyInputList=[clients.document(allow("s3:*"))], ActionNames=["kms:Encrypt"], CallerArn=somebody.arn,
        ResourceArns=[key["Arn"]], ResourcePolicy=clients.document(
            allow("kms:Encrypt", Principal={"AWS": somebody.arn})))
    assert _decisions(answer) == [("kms:Encrypt", "allowed")]
    for wrong in ({"ActionNames": ["kms"]}, {"ResourceArns": ["key"]}, {"PolicyInputList": ["{"]}):
        with refused("InvalidInput"):
            root.iam.simulate_custom_policy(**{"PolicyInputList": [document], "ActionNames": actions} | wrong)


def test_credentials_of_a_user_for_a_while_and_for_somebody_else(root, user, key):
    lender = user(allow(["kms:*", "sts:*", "iam:*"]))

    def principal(made, arn):
        keys = made["Credentials"]
        return clients.Principal(root.url, root.answers, ACCOUNT, arn, keys["AccessKeyId"], keys["SecretAccessKey"],
                                 keys["SessionToken"])

    own = principal(lender.sts.get_session_token(DurationSeconds=900), lender.arn)
    assert own.sts.get_caller_identity()["Arn"] == lender.arn
    own.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
    with refused("InvalidClientTokenId"):
        own.iam.list_users()
    with refused("AccessDenied", "Cannot call GetSessionToken with session credentials"):
        own.sts.get_session_token()
    made = lender.sts.get_federation_token(Name="ci", Policy=clients.document(allow("kms:Encrypt")))
    assert made["FederatedUser"] == {"FederatedUserId": f"{ACCOUNT}:ci",
                                     "Arn": f"arn:aws:sts::{ACCOUNT}:federated-user/ci"}
    lent = principal(made, made["FederatedUser"]["Arn"])
    lent.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
    with refused("AccessDeniedException", "because no session policy allows the kms:DescribeKey action"):
        lent.kms.describe_key(KeyId=key["Arn"])
    policy = json.loads(root.kms.get_key_policy(KeyId=key["KeyId"])["Policy"])
    policy["Statement"].append(allow("kms:DescribeKey", Principal={"AWS": lent.arn}))
    root.kms.put_key_policy(KeyId=key["KeyId"], Policy=json.dumps(policy))
    lent.kms.describe_key(KeyId=key["Arn"])
    assert root.sts.get_access_key_info(AccessKeyId=lent.access_key)["Account"] == ACCOUNT
    with refused("AccessDenied"):
        lent.sts.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/any", RoleSessionName="s-1")


def test_a_source_identity_goes_on_and_cannot_be_changed(root, user, name):
    trusted = user()
    trust = clients.document({"Effect": "Allow", "Principal": {"AWS": [trusted.arn, f"arn:aws:iam::{ACCOUNT}:root"]},
                              "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"]})
    role = root.iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]
    root.iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=clients.document(
        allow(["sts:*"]), allow("kms:ListKeys", Condition={"StringEquals": {"aws:SourceIdentity": "alice"}})))
    with refused("AccessDeniedException"):
        trusted.assume(role["Arn"], "s-1").kms.list_keys()
    session = trusted.assume(role["Arn"], "s-1", SourceIdentity="alice")
    session.kms.list_keys()
    chained = session.assume(role["Arn"], "s-2")
    chained.kms.list_keys()
    with refused("AccessDenied"):
        session.assume(role["Arn"], "s-2", SourceIdentity="bob")
    root.iam.update_assume_role_policy(RoleName=name, PolicyDocument=_trust(trusted.arn))
    with refused("AccessDenied"):
        trusted.assume(role["Arn"], "s-3", SourceIdentity="alice")


def test_another_accounts_role_is_recorded_in_both_accounts(root, foreign_root, name):
    foreign = clients.user(foreign_root, name, allow("sts:AssumeRole"))
    role = root.iam.create_role(RoleName=name, AssumeRolePolicyDocument=_trust(foreign.arn))["Role"]
    foreign.assume(role["Arn"], "visit")
    copies = []
    for reader in (root, foreign_root):
        events = reader.trail.lookup_events(LookupAttributes=[
            {"AttributeKey": "EventName", "AttributeValue": "AssumeRole"}])["Events"]
        records = [json.loads(event["CloudTrailEvent"]) for event in events]
        copies += [one for one in records if any(r["ARN"] == role["Arn"] for r in one.get("resources", []))]
    assert {one["recipientAccountId"] for one in copies} == {root.account, foreign_root.account}
    assert len({one["sharedEventID"] for one in copies}) == 1
    [owners] = [one for one in copies if one["recipientAccountId"] == root.account]
    assert owners["userIdentity"]["type"] == "AWSAccount" and "authorization" not in owners


def test_a_denial_is_explained_to_those_who_may_know(server, root, user, key):
    reader = user(allow("kms:Decrypt", Condition={"Bool": {"aws:SecureTransport": "true"}}))
    with refused("AccessDeniedException") as refusal:
        reader.kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")
    headers = refusal.response["ResponseMetadata"]["HTTPHeaders"]
    message = headers["x-strongroom-authorization-message"]
    decoded = json.loads(root.sts.decode_authorization_message(EncodedMessage=message)["DecodedMessage"])
    assert (decoded["allowed"], decoded["explicitDeny"]) == (False, False)
    assert decoded["context"]["principal"]["arn"] == reader.arn
    assert (decoded["context"]["action"], decoded["context"]["resource"]) == ("kms:Encrypt", key["Arn"])
    with refused("AccessDenied"):
        reader.sts.decode_authorization_message(EncodedMessage=message)
    with refused("InvalidAuthorizationMessageException"):
        root.sts.decode_authorization_message(EncodedMessage=message[:-2])
    told = server.run("explain", headers["x-amzn-requestid"]).stdout
    assert f"kms:Encrypt on {key['Arn']}" in told and "denied because no identity-based policy allows" in told
    allowed = root.kms.describe_key(KeyId=key["Arn"])["ResponseMetadata"]["RequestId"]
    told = server.run("explain", allowed).stdout
    assert "allowed by statement Enable IAM User Permissions of key policy (resource-based policy)" in told
