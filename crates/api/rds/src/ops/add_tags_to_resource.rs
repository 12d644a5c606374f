//! `rds:AddTagsToResource`. Trail: management event, write.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::tagged::Tagged;
use crate::{
    faults,
    request::{self, Tag},
    service::Rds,
};

pub struct AddTagsToResource;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    resource_name: String,
    tags: Vec<Tag>,
}

impl Operation for AddTagsToResource {
    const SERVICE: ServiceId = ServiceId::Rds;
    const NAME: &'static str = "AddTagsToResource";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["ResourceName", "Tags"];
    type State = Rds;
    type Request = Request;
    type Target = Tagged;
    type Response = Value;

    async fn resolve(rds: &Rds, call: &Call, request: &Request) -> Result<Tagged, Fault> {
        Tagged::find(rds, call, &request.resource_name).await
    }

    fn asks(_: &Rds, call: &Call, request: &Request, target: &Tagged) -> Vec<Ask> {
        let mut ask = target.ask(call, "rds:AddTagsToResource");
        for tag in &request.tags {
            ask = ask.with(format!("aws:RequestTag/{}", tag.key), [tag.value.clone()]);
        }
        vec![ask.with("aws:TagKeys", request.tags.iter().map(|tag| tag.key.clone()))]
    }

    async fn act(
        rds: &Rds,
        call: &Call,
        request: Request,
        target: Authorized<Tagged>,
    ) -> Result<Value, Fault> {
        target.tags()?;
        let new = request::tags(&request.tags)?;
        let change = |tags: &mut std::collections::BTreeMap<String, String>| {
            tags.extend(new);
            clusters::check_tags(tags).map_err(|error| faults::value(error.to_string()))
        };
        target.change(rds, call, change).await?;
        Ok(json!({}))
    }
}
