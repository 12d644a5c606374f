//! `iam:ListGroupsForUser`.

use std::sync::Arc;

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use super::shapes::{GroupShape, count};
use crate::{
    entity::{Group, User},
    names,
    page::page,
    registry::Iam,
    subject::Subject,
};

pub struct ListGroupsForUser;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    user_name: String,
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

impl Operation for ListGroupsForUser {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "ListGroupsForUser";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["UserName", "MaxItems"];

    type State = Iam;
    type Request = Request;
    type Target = Subject<User>;
    type Response = Response;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<User>, Fault> {
        Ok(Subject::of(iam, call, &request.user_name))
    }

    fn asks(_: &Iam, _: &Call, _: &Request, user: &Subject<User>) -> Vec<Ask> {
        vec![user.ask("iam:ListGroupsForUser")]
    }

    async fn act(
        iam: &Iam,
        _: &Call,
        request: Request,
        user: Authorized<Subject<User>>,
    ) -> Result<Response, Fault> {
        let user = user.now(iam)?;
        let key = |group: &Arc<Group>| names::folded(&group.name);
        let mut groups: Vec<_> = user.groups.iter().filter_map(|id| iam.by_id::<Group>(id)).collect();
        groups.sort_by_key(key);
        let list = format!("groups-of/{}", user.id);
        let page = page(&list, groups, key, request.marker.as_deref(), count(request.max_items))?;
        let groups = page.items.iter().map(|group| GroupShape::of(group)).collect();
        Ok(Response { groups, is_truncated: page.truncated, marker: page.marker })
    }
}
