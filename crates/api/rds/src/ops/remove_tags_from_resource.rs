//! `rds:RemoveTagsFromResource`. Trail: management event, write.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::tagged::Tagged;
use crate::service::Rds;

pub struct RemoveTagsFromResource;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    resource_name: String,
    tag_keys: Vec<String>,
}

impl Operation for RemoveTagsFromResource {
    const SERVICE: ServiceId = ServiceId::Rds;
    const NAME: &'static str = "RemoveTagsFromResource";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["ResourceName", "TagKeys"];
    type State = Rds;
    type Request = Request;
    type Target = Tagged;
    type Response = Value;

    async fn resolve(rds: &Rds, call: &Call, request: &Request) -> Result<Tagged, Fault> {
        Tagged::find(rds, call, &request.resource_name).await
    }

    fn asks(_: &Rds, call: &Call, request: &Request, target: &Tagged) -> Vec<Ask> {
        vec![target.ask(call, "rds:RemoveTagsFromResource").with("aws:TagKeys", request.tag_keys.clone())]
    }

    async fn act(
        rds: &Rds,
        call: &Call,
        request: Request,
        target: Authorized<Tagged>,
    ) -> Result<Value, Fault> {
        let change = |tags: &mut std::collections::BTreeMap<String, String>| {
            tags.retain(|key, _| !request.tag_keys.contains(key));
            Ok(())
        };
        target.change(rds, call, change).await?;
        Ok(json!({}))
    }
}
