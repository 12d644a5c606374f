//! `kms:CancelKeyDeletion` (spec/kms.md §9): back from the waiting period, disabled. Trail: management event,
//! write.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::Value;
use wire::{Fault, ServiceId};

use crate::{
    ops::KeyAnswer,
    registry::Kms,
    target::{Accept, Target, ask, resolve},
};

const ACTION: &str = "kms:CancelKeyDeletion";

/// Keeps a key that was to be deleted.
pub struct CancelKeyDeletion;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
}

impl Operation for CancelKeyDeletion {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "CancelKeyDeletion";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["KeyId"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = KeyAnswer;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        resolve(kms, call, &request.key_id, Accept::OwnKeys, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, _: &Request, target: &Target) -> Vec<Ask> {
        vec![ask(kms, call, ACTION, target)]
    }

    async fn act(kms: &Kms, call: &Call, _: Request, target: Authorized<Target>) -> Result<KeyAnswer, Fault> {
        kms.change_key(call, target.name(), |key| key.cancel_deletion()).await?;
        Ok(KeyAnswer::with(&target))
    }

    fn recorded_response(response: &KeyAnswer) -> Option<Value> {
        response.recorded()
    }
}
