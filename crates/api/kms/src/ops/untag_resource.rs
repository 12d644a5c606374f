//! `kms:UntagResource` (spec/kms.md §7): removes tags of a key. Trail: management event, write.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::Value;
use wire::{Fault, ServiceId};

use crate::{
    ops::Done,
    registry::Kms,
    target::{Accept, Target, ask, resolve},
};

const ACTION: &str = "kms:UntagResource";

/// Removes tags.
pub struct UntagResource;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
    tag_keys: Vec<String>,
}

impl Operation for UntagResource {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "UntagResource";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["KeyId", "TagKeys"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Done;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        resolve(kms, call, &request.key_id, Accept::OwnKeys, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, request: &Request, target: &Target) -> Vec<Ask> {
        vec![ask(kms, call, ACTION, target).with("aws:TagKeys", request.tag_keys.iter().cloned())]
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        request: Request,
        target: Authorized<Target>,
    ) -> Result<Done, Fault> {
        kms.change_key(call, target.name(), |key| key.untag(&request.tag_keys)).await?;
        Ok(Done::with(&target))
    }

    fn recorded_response(response: &Done) -> Option<Value> {
        response.recorded()
    }
}
