//! `iam:ListUsers`.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use super::shapes::{UserShape, count};
use crate::{entity::User, names, page::page, registry::Iam};

pub struct ListUsers;

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
    users: Vec<UserShape>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
}

impl Operation for ListUsers {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "ListUsers";
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
        vec![Ask::new("iam:ListUsers", names::arn(call.account(), "user", prefix, "")).on(call.account())]
    }

    async fn act(iam: &Iam, call: &Call, request: Request, _: Authorized<()>) -> Result<Response, Fault> {
        let prefix = request.path_prefix.as_deref().unwrap_or("/");
        let users = iam.of::<User>(call.account()).into_iter().filter(|user| user.path.starts_with(prefix));
        let key = |user: &std::sync::Arc<User>| names::folded(&user.name);
        let list = format!("users{prefix}");
        let page = page(&list, users, key, request.marker.as_deref(), count(request.max_items))?;
        // A list tells neither tags nor boundaries.
        let users = page.items.iter().map(|user| UserShape {
            permissions_boundary: None,
            tags: Vec::new(),
            ..UserShape::of(iam, user)
        });
        let users = users.collect();
        Ok(Response { users, is_truncated: page.truncated, marker: page.marker })
    }
}
