//! `kms:EnableKeyRotation` (spec/kms.md §10): automatic rotation, or another period of it, for a primary key and its
//! replicas. Trail: management event, write.

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

const ACTION: &str = "kms:EnableKeyRotation";

/// Turns automatic rotation on.
pub struct EnableKeyRotation;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
    rotation_period_in_days: Option<u32>,
}

impl Operation for EnableKeyRotation {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "EnableKeyRotation";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["KeyId", "RotationPeriodInDays"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Done;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        resolve(kms, call, &request.key_id, Accept::OwnKeys, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, request: &Request, target: &Target) -> Vec<Ask> {
        vec![
            ask(kms, call, ACTION, target).with(
                "kms:RotationPeriodInDays",
                request.rotation_period_in_days.map(|days| days.to_string()),
            ),
        ]
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        request: Request,
        target: Authorized<Target>,
    ) -> Result<Done, Fault> {
        change_shared(kms, call, target.name(), |key| {
            key.enable_rotation(request.rotation_period_in_days, call.now)
        })
        .await?;
        Ok(Done::with(&target))
    }

    fn recorded_response(response: &Done) -> Option<Value> {
        response.recorded()
    }
}
