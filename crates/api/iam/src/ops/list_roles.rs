//! `iam:ListRoles`.

use std::sync::Arc;

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use super::shapes::{RoleShape, count};
use crate::{entity::Role, names, page::page, registry::Iam};

pub struct ListRoles;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    path_prefix: Option<String>,
    marker: Option<String>,
    max_items: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    roles: Vec<RoleShape>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
}

impl Operation for ListRoles {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "ListRoles";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["PathPrefix", "MaxItems"];

    type State = Iam;
    type Request = Request;
    type Target = ();
    type Response = Response;

    async fn resolve(_: &Iam, _: &Call, _: &Request) -> Result<(), Fault> {
        Ok(())
    }

    fn asks(_: &Iam, call: &Call, request: &Request, (): &()) -> Vec<Ask> {
        let prefix = request.path_prefix.as_deref().unwrap_or("/");
        vec![Ask::new("iam:ListRoles", names::arn(call.account(), "role", prefix, "")).on(call.account())]
    }

    async fn act(iam: &Iam, call: &Call, request: Request, _: Authorized<()>) -> Result<Response, Fault> {
        let prefix = request.path_prefix.as_deref().unwrap_or("/");
        let roles = iam.of::<Role>(call.account()).into_iter().filter(|role| role.path.starts_with(prefix));
        let key = |role: &Arc<Role>| names::folded(&role.name);
        let list = format!("roles{prefix}");
        let page = page(&list, roles, key, request.marker.as_deref(), count(request.max_items))?;
        // A list tells neither tags nor boundaries.
        let roles = page.items.iter().map(|role| RoleShape {
            permissions_boundary: None,
            tags: Vec::new(),
            ..RoleShape::of(iam, role)
        });
        let roles = roles.collect();
        Ok(Response { roles, is_truncated: page.truncated, marker: page.marker })
    }
}
