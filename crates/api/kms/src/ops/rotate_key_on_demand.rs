//! `kms:RotateKeyOnDemand` (spec/kms.md §10): a new material now; the schedule stays. Trail: management
//! event, write, and an event of the service's own for the rotation.

use std::time::Duration;

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::Value;
use wire::{Fault, ServiceId};

use crate::{
    fault,
    ops::KeyAnswer,
    registry::Kms,
    target::{Accept, Target, ask, resolve},
    work::rotate_on_demand,
};

const ACTION: &str = "kms:RotateKeyOnDemand";
/// So close to an automatic rotation there is none on demand.
const NEAR: Duration = Duration::from_secs(20 * 60);

/// Rotates a key at once.
pub struct RotateKeyOnDemand;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
}

impl Operation for RotateKeyOnDemand {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "RotateKeyOnDemand";
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
        rotate_on_demand(kms, call, target.name(), |key| {
            key.may_rotate_on_demand(kms.quotas.on_demand_rotations)
                .map_err(|refusal| fault::refused(&key.name, &refusal))?;
            if key.rotation_near(call.now, NEAR) {
                let text = format!("An automatic rotation of {} is about to happen.", key.name);
                return Err(Fault::client("ConflictException", text));
            }
            Ok(())
        })
        .await?;
        Ok(KeyAnswer::with(&target))
    }

    fn recorded_response(response: &KeyAnswer) -> Option<Value> {
        response.recorded()
    }
}
