//! `iam:GetAccountAuthorizationDetails`: every user, group, role and managed policy of the account with all its policies, in
//! pages over all four.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::shapes::{BoundaryShape, VersionShape, count, tags};
use crate::{
    entity::{Entity as _, Group, ManagedPolicy, Role, User},
    names,
    page::page,
    principal::Permissions,
    registry::Iam,
};

pub struct GetAccountAuthorizationDetails;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(default)]
    filter: Vec<String>,
    marker: Option<String>,
    max_items: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    user_detail_list: Vec<Value>,
    group_detail_list: Vec<Value>,
    role_detail_list: Vec<Value>,
    policies: Vec<Value>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
}

impl Operation for GetAccountAuthorizationDetails {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "GetAccountAuthorizationDetails";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["Filter", "MaxItems"];

    type State = Iam;
    type Request = Request;
    type Target = ();
    type Response = Response;

    async fn resolve(_: &Iam, _: &Call, _: &Request) -> Result<(), Fault> {
        Ok(())
    }

    fn asks(_: &Iam, _: &Call, _: &Request, (): &()) -> Vec<Ask> {
        vec![Ask::new("iam:GetAccountAuthorizationDetails", "*")]
    }

    async fn act(iam: &Iam, call: &Call, request: Request, _: Authorized<()>) -> Result<Response, Fault> {
        let account = call.account();
        let wanted =
            |kind: &str| request.filter.is_empty() || request.filter.iter().any(|named| named == kind);
        let mut all: Vec<(String, Value)> = Vec::new();
        let place = |kind: &str, name: &str| format!("{kind}/{}", names::folded(name));
        if wanted("Group") {
            let groups = iam.of::<Group>(account);
            all.extend(groups.iter().map(|group| (place(GROUP, &group.name), group_detail(iam, group))));
        }
        if wanted("LocalManagedPolicy") {
            let policies = iam.of::<ManagedPolicy>(account);
            all.extend(
                policies.iter().map(|policy| (place(POLICY, &policy.name), policy_detail(iam, policy))),
            );
        }
        if wanted("Role") {
            let roles = iam.of::<Role>(account);
            all.extend(roles.iter().map(|role| (place(ROLE, &role.name), role_detail(iam, role))));
        }
        if wanted("User") {
            let users = iam.of::<User>(account);
            all.extend(users.iter().map(|user| (place(USER, &user.name), user_detail(iam, user))));
        }
        let key = |(place, _): &(String, Value)| place.clone();
        let page = page("details", all, key, request.marker.as_deref(), count(request.max_items))?;
        let told = |kind: &str| -> Vec<Value> {
            let of_kind = page.items.iter().filter(|(place, _)| place.starts_with(kind));
            of_kind.map(|(_, detail)| detail.clone()).collect()
        };
        Ok(Response {
            user_detail_list: told(USER),
            group_detail_list: told(GROUP),
            role_detail_list: told(ROLE),
            policies: told(POLICY),
            is_truncated: page.truncated,
            marker: page.marker,
        })
    }
}

/// The order of the pages.
const GROUP: &str = "group";
const POLICY: &str = "policy";
const ROLE: &str = "role";
const USER: &str = "user";

fn user_detail(iam: &Iam, user: &User) -> Value {
    let groups: Vec<_> = user.groups.iter().filter_map(|id| iam.by_id::<Group>(id)).collect();
    json!({
        "Path": user.path, "UserName": user.name, "UserId": user.id, "Arn": user.arn(), "CreateDate": user.created,
        "UserPolicyList": inline(&user.permissions), "AttachedManagedPolicies": attached(iam, &user.permissions),
        "GroupList": groups.iter().map(|group| group.name.clone()).collect::<Vec<_>>(),
        "PermissionsBoundary": BoundaryShape::of(iam, user.boundary.as_ref()), "Tags": tags(&user.tags),
    })
}

fn group_detail(iam: &Iam, group: &Group) -> Value {
    json!({
        "Path": group.path, "GroupName": group.name, "GroupId": group.id, "Arn": group.arn(),
        "CreateDate": group.created, "GroupPolicyList": inline(&group.permissions),
        "AttachedManagedPolicies": attached(iam, &group.permissions),
    })
}

fn role_detail(iam: &Iam, role: &Role) -> Value {
    json!({
        "Path": role.path, "RoleName": role.name, "RoleId": role.id, "Arn": role.arn(), "CreateDate": role.created,
        "AssumeRolePolicyDocument": iam.shown_trust(&role.trust), "InstanceProfileList": [],
        "RolePolicyList": inline(&role.permissions), "AttachedManagedPolicies": attached(iam, &role.permissions),
        "PermissionsBoundary": BoundaryShape::of(iam, role.boundary.as_ref()), "Tags": tags(&role.tags),
    })
}

fn policy_detail(iam: &Iam, policy: &ManagedPolicy) -> Value {
    let versions = policy.versions.iter().rev().map(|version| VersionShape::of(policy, version));
    json!({
        "PolicyName": policy.name, "PolicyId": policy.id, "Arn": policy.arn(), "Path": policy.path,
        "DefaultVersionId": format!("v{}", policy.default), "AttachmentCount": iam.attachments(policy),
        "PermissionsBoundaryUsageCount": iam.bounded_by(policy), "IsAttachable": true,
        "Description": policy.description, "CreateDate": policy.created, "UpdateDate": policy.updated,
        "PolicyVersionList": versions.collect::<Vec<_>>(),
    })
}

fn inline(permissions: &Permissions) -> Vec<Value> {
    let each = permissions.inline.iter();
    each.map(|(name, policy)| json!({"PolicyName": name, "PolicyDocument": policy.encoded()})).collect()
}

fn attached(iam: &Iam, permissions: &Permissions) -> Vec<Value> {
    let found = permissions.attached.iter().filter_map(|id| iam.by_id::<ManagedPolicy>(id));
    found.map(|policy| json!({"PolicyName": policy.name, "PolicyArn": policy.arn()})).collect()
}
