//! `iam:ListUserTags`.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use super::shapes::{Tag, count, tags};
use crate::{entity::User, page::page, registry::Iam, subject::Subject};

pub struct ListUserTags;

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
    tags: Vec<Tag>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
}

impl Operation for ListUserTags {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "ListUserTags";
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
        vec![user.ask("iam:ListUserTags")]
    }

    async fn act(
        iam: &Iam,
        _: &Call,
        request: Request,
        user: Authorized<Subject<User>>,
    ) -> Result<Response, Fault> {
        let user = user.now(iam)?;
        let list = format!("user-tags/{}", user.id);
        // Keys of tags are longer than a marker: their places are not.
        let placed = tags(&user.tags).into_iter().enumerate();
        let key = |(place, _): &(usize, Tag)| format!("{place:03}");
        let page = page(&list, placed, key, request.marker.as_deref(), count(request.max_items))?;
        Ok(Response {
            tags: page.items.into_iter().map(|(_, tag)| tag).collect(),
            is_truncated: page.truncated,
            marker: page.marker,
        })
    }
}
