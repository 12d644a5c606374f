//! `kms:TagResource` (spec/kms.md §7): sets tags of a key. Trail: management event, write.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::Value;
use wire::{Fault, ServiceId};

use crate::{
    ops::Done,
    registry::Kms,
    tags::{Tag, pairs, with_tags},
    target::{Accept, Target, ask, resolve},
};

const ACTION: &str = "kms:TagResource";

/// Sets tags.
pub struct TagResource;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
    tags: Vec<Tag>,
}

impl Operation for TagResource {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "TagResource";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["KeyId", "Tags"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Done;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        resolve(kms, call, &request.key_id, Accept::OwnKeys, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, request: &Request, target: &Target) -> Vec<Ask> {
        vec![with_tags(ask(kms, call, ACTION, target), &request.tags)]
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        request: Request,
        target: Authorized<Target>,
    ) -> Result<Done, Fault> {
        kms.change_key(call, target.name(), |key| key.tag(pairs(request.tags))).await?;
        Ok(Done::with(&target))
    }

    fn recorded_response(response: &Done) -> Option<Value> {
        response.recorded()
    }
}
