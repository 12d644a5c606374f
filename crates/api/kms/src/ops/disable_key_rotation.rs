//! `kms:DisableKeyRotation` (spec/kms.md §10): no more automatic rotation, of a primary key and its replicas. Trail:
//! management event, write.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::Value;
use wire::{Fault, ServiceId};

use crate::{
    ops::Done,
    registry::Kms,
    target::{Accept, Target, ask, resolve},
    work::change_shared,
};

const ACTION: &str = "kms:DisableKeyRotation";

/// Turns automatic rotation off.
pub struct DisableKeyRotation;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
}

impl Operation for DisableKeyRotation {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "DisableKeyRotation";
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
        change_shared(kms, call, target.name(), |key| key.disable_rotation()).await?;
        Ok(Done::with(&target))
    }

    fn recorded_response(response: &Done) -> Option<Value> {
        response.recorded()
    }
}
