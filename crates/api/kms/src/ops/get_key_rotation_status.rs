//! `kms:GetKeyRotationStatus` (spec/kms.md §10): whether and when a key is rotated by itself. Across
//! accounts. Trail: management event, read.

use front::{Ask, Authorized, Call, Effect, Operation};
use ids::Timestamp;
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use crate::{
    fault,
    registry::Kms,
    target::{Accept, Target, ask, resolve},
};

const ACTION: &str = "kms:GetKeyRotationStatus";

/// Tells the schedule of automatic rotation.
pub struct GetKeyRotationStatus;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    key_id: String,
    key_rotation_enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_period_in_days: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_rotation_date: Option<Timestamp>,
}

impl Operation for GetKeyRotationStatus {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "GetKeyRotationStatus";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["KeyId"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        resolve(kms, call, &request.key_id, Accept::Keys, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, _: &Request, target: &Target) -> Vec<Ask> {
        vec![ask(kms, call, ACTION, target)]
    }

    async fn act(_: &Kms, _: &Call, _: Request, target: Authorized<Target>) -> Result<Response, Fault> {
        let key = target.key();
        key.check_automatic().map_err(|refusal| fault::refused(&key.name, &refusal))?;
        let on = key.rotation_shown();
        Ok(Response {
            key_id: target.arn(),
            key_rotation_enabled: on,
            rotation_period_in_days: on.then_some(key.rotation.period_days),
            next_rotation_date: key.rotation.next.filter(|_| on),
        })
    }
}
