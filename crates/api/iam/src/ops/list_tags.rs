//! `iam:ListUserTags`, `iam:ListRoleTags` and `iam:ListPolicyTags`.

use std::marker::PhantomData;

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use super::shapes::{Tag, count, tags};
use crate::{page::page, principal::Tagged, registry::Iam, subject::Subject};

pub struct ListTags<T>(PhantomData<T>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(alias = "UserName", alias = "RoleName", alias = "PolicyArn")]
    name: String,
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

impl<T: Tagged> Operation for ListTags<T> {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = T::LIST_TAGS.name;
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = T::LIST_TAGS.recorded;

    type State = Iam;
    type Request = Request;
    type Target = Subject<T>;
    type Response = Response;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<T>, Fault> {
        T::subject(iam, call, &request.name)
    }

    fn asks(_: &Iam, _: &Call, _: &Request, subject: &Subject<T>) -> Vec<Ask> {
        vec![subject.ask(T::LIST_TAGS.action)]
    }

    async fn act(
        iam: &Iam,
        _: &Call,
        request: Request,
        subject: Authorized<Subject<T>>,
    ) -> Result<Response, Fault> {
        let subject = subject.now(iam).map_err(|_| T::missing(&request.name))?;
        let list = format!("tags/{}", subject.id());
        // Keys of tags are longer than a marker: their places are not.
        let placed = tags(subject.tags()).into_iter().enumerate();
        let key = |(place, _): &(usize, Tag)| format!("{place:03}");
        let page = page(&list, placed, key, request.marker.as_deref(), count(request.max_items))?;
        Ok(Response {
            tags: page.items.into_iter().map(|(_, tag)| tag).collect(),
            is_truncated: page.truncated,
            marker: page.marker,
        })
    }
}
