//! `kms:DisableKey` (spec/kms.md §9): no cryptography until the key is enabled again. Trail: management
//! event, write.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::Value;
use wire::{Fault, ServiceId};

use crate::{
    ops::Done,
    registry::Kms,
    target::{Accept, Target, ask, resolve},
};

const ACTION: &str = "kms:DisableKey";

/// Turns a key off.
pub struct DisableKey;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
}

impl Operation for DisableKey {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "DisableKey";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["KeyId"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Done;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        resolve(kms, call, &request.key_id, Accept::OwnKeys, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, _: &Request, target: &Target) -> Vec<Ask> {
        vec![ask(kms, call, ACTION, target)]
    }

    async fn act(kms: &Kms, call: &Call, _: Request, target: Authorized<Target>) -> Result<Done, Fault> {
        kms.change_key(call, target.name(), |key| key.disable()).await?;
        Ok(Done::with(&target))
    }

    fn recorded_response(response: &Done) -> Option<Value> {
        response.recorded()
    }
}
