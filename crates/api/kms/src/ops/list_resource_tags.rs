//! `kms:ListResourceTags` (spec/kms.md §7): the tags of a key. Trail: management event, read.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use crate::{
    page::{Limits, Wanted},
    registry::Kms,
    tags::Tag,
    target::{Accept, Target, ask, resolve},
};

const ACTION: &str = "kms:ListResourceTags";

/// Lists the tags of a key.
pub struct ListResourceTags;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
    #[serde(flatten)]
    page: Wanted,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    tags: Vec<Tag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

impl Operation for ListResourceTags {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "ListResourceTags";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["KeyId", "Limit", "Marker"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        resolve(kms, call, &request.key_id, Accept::OwnKeys, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, _: &Request, target: &Target) -> Vec<Ask> {
        vec![ask(kms, call, ACTION, target)]
    }

    async fn act(_: &Kms, _: &Call, request: Request, target: Authorized<Target>) -> Result<Response, Fault> {
        let tag = |(key, value): (&String, &String)| Tag { tag_key: key.clone(), tag_value: value.clone() };
        let tags = target.key().tags.iter().map(tag);
        let page = request.page.page(Limits::TAGS, tags, |tag| tag.tag_key.clone())?;
        Ok(Response {
            tags: page.items,
            truncated: page.next_marker.is_some(),
            next_marker: page.next_marker,
        })
    }
}
