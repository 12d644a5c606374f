//! `iam:ListGroups`.

use std::sync::Arc;

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use super::shapes::{GroupShape, count};
use crate::{entity::Group, names, page::page, registry::Iam};

pub struct ListGroups;

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
    groups: Vec<GroupShape>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
}

impl Operation for ListGroups {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "ListGroups";
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
        vec![Ask::new("iam:ListGroups", names::arn(call.account(), "group", prefix, "")).on(call.account())]
    }

    async fn act(iam: &Iam, call: &Call, request: Request, _: Authorized<()>) -> Result<Response, Fault> {
        let prefix = request.path_prefix.as_deref().unwrap_or("/");
        let groups =
            iam.of::<Group>(call.account()).into_iter().filter(|group| group.path.starts_with(prefix));
        let key = |group: &Arc<Group>| names::folded(&group.name);
        let list = format!("groups{prefix}");
        let page = page(&list, groups, key, request.marker.as_deref(), count(request.max_items))?;
        let groups = page.items.iter().map(|group| GroupShape::of(group)).collect();
        Ok(Response { groups, is_truncated: page.truncated, marker: page.marker })
    }
}
