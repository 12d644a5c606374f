//! `rds:ListTagsForResource`. Trail: management event, read.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::tagged::Tagged;
use crate::{
    answers,
    request::{self, Filter},
    service::Rds,
};

pub struct ListTagsForResource;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    resource_name: String,
    #[serde(default)]
    filters: Vec<Filter>,
}

impl Operation for ListTagsForResource {
    const SERVICE: ServiceId = ServiceId::Rds;
    const NAME: &'static str = "ListTagsForResource";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["Filters", "ResourceName"];
    type State = Rds;
    type Request = Request;
    type Target = Tagged;
    type Response = Value;

    async fn resolve(rds: &Rds, call: &Call, request: &Request) -> Result<Tagged, Fault> {
        Tagged::find(rds, call, &request.resource_name).await
    }

    fn asks(_: &Rds, call: &Call, _: &Request, target: &Tagged) -> Vec<Ask> {
        vec![target.ask(call, "rds:ListTagsForResource")]
    }

    async fn act(_: &Rds, _: &Call, request: Request, target: Authorized<Tagged>) -> Result<Value, Fault> {
        // As on AWS, there is no filter that this operation knows.
        request::filter(Vec::<()>::new(), &request.filters, &[], |(), _| Vec::new())?;
        Ok(json!({"TagList": answers::tag_list(target.tags()?)}))
    }
}
