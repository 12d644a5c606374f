//! `iam:GetGroup`: a group and its members.

use std::sync::Arc;

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use super::shapes::{GroupShape, UserShape, count};
use crate::{
    entity::{Group, User},
    names,
    page::page,
    registry::Iam,
    subject::Subject,
};

pub struct GetGroup;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    group_name: String,
    marker: Option<String>,
    max_items: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    group: GroupShape,
    users: Vec<UserShape>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
}

impl Operation for GetGroup {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "GetGroup";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["GroupName", "MaxItems"];

    type State = Iam;
    type Request = Request;
    type Target = Subject<Group>;
    type Response = Response;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<Group>, Fault> {
        Ok(Subject::of(iam, call, &request.group_name))
    }

    fn asks(_: &Iam, _: &Call, _: &Request, group: &Subject<Group>) -> Vec<Ask> {
        vec![group.ask("iam:GetGroup")]
    }

    async fn act(
        iam: &Iam,
        _: &Call,
        request: Request,
        group: Authorized<Subject<Group>>,
    ) -> Result<Response, Fault> {
        let group = group.now(iam)?;
        let key = |user: &Arc<User>| names::folded(&user.name);
        let list = format!("members/{}", group.id);
        let page =
            page(&list, iam.members(&group), key, request.marker.as_deref(), count(request.max_items))?;
        // A list tells neither tags nor boundaries.
        let users = page.items.iter().map(|user| UserShape {
            permissions_boundary: None,
            tags: Vec::new(),
            ..UserShape::of(iam, user)
        });
        Ok(Response {
            users: users.collect(),
            group: GroupShape::of(&group),
            is_truncated: page.truncated,
            marker: page.marker,
        })
    }
}
