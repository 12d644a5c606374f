//! `iam:CreateRole`: a role and who may assume it (spec/policy.md §12).

use std::collections::BTreeMap;

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::shapes::{RoleShape, Tag, add_tags, whole_seconds};
use crate::{entity::Role, fault, names, principal::Permissions, registry::Iam};

pub const ROLES_PER_ACCOUNT: usize = 1000;
/// Seconds of the longest session, where the caller does not say.
pub const USUAL_SESSION: u32 = 3600;

pub struct CreateRole;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    role_name: String,
    path: Option<String>,
    assume_role_policy_document: String,
    description: Option<String>,
    max_session_duration: Option<u32>,
    permissions_boundary: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    role: RoleShape,
}

impl Operation for CreateRole {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "CreateRole";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &[
        "RoleName",
        "Path",
        "AssumeRolePolicyDocument",
        "Description",
        "MaxSessionDuration",
        "PermissionsBoundary",
        "Tags",
    ];

    type State = Iam;
    type Request = Request;
    type Target = String;
    type Response = Response;

    async fn resolve(_: &Iam, call: &Call, request: &Request) -> Result<String, Fault> {
        Ok(names::arn(call.account(), "role", request.path.as_deref().unwrap_or("/"), &request.role_name))
    }

    fn asks(_: &Iam, call: &Call, request: &Request, arn: &String) -> Vec<Ask> {
        let ask = |action| {
            let keys = request.tags.iter().map(|tag| tag.key.clone());
            let mut ask = Ask::new(action, arn).on(call.account()).with("aws:TagKeys", keys);
            for Tag { key, value } in &request.tags {
                ask = ask.with(format!("aws:RequestTag/{key}"), [value.clone()]);
            }
            ask.with("iam:PermissionsBoundary", request.permissions_boundary.clone())
        };
        let mut asks = vec![ask("iam:CreateRole")];
        if !request.tags.is_empty() {
            asks.push(ask("iam:TagRole"));
        }
        asks
    }

    async fn act(iam: &Iam, call: &Call, request: Request, _: Authorized<String>) -> Result<Response, Fault> {
        let trust = iam.trust(request.assume_role_policy_document)?;
        let mut tags = BTreeMap::new();
        add_tags(&mut tags, request.tags)?;
        let mut change = iam.begin(&call.event_id).await?;
        let boundary = request.permissions_boundary.as_deref();
        let boundary = boundary.map(|arn| iam.boundary_id(call.account(), arn)).transpose()?;
        if iam.taken::<Role>(call.account(), &request.role_name) {
            return Err(fault::exists("role", &request.role_name));
        }
        if iam.of::<Role>(call.account()).len() >= ROLES_PER_ACCOUNT {
            return Err(fault::quota("RolesPerAccount", ROLES_PER_ACCOUNT));
        }
        let role = Role {
            id: names::unique_id("AROA"),
            account: call.account().clone(),
            name: request.role_name,
            path: request.path.unwrap_or_else(|| "/".into()),
            created: whole_seconds(call.now),
            description: request.description,
            max_session: request.max_session_duration.unwrap_or(USUAL_SESSION),
            trust,
            tags,
            permissions: Permissions::default(),
            boundary,
        };
        // The answer to this call tells neither description nor duration.
        let response = Response {
            role: RoleShape { description: None, max_session_duration: None, ..RoleShape::of(iam, &role) },
        };
        change.put(role).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(response)
    }

    fn recorded_response(response: &Response) -> Option<Value> {
        Some(json!({"Role": response.role.recorded()}))
    }
}
