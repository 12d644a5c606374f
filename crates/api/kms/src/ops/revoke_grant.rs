//! `kms:RevokeGrant` (spec/kms.md §11): the key's side takes a grant back, at once. Across accounts. Trail:
//! management event, write.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::Value;
use wire::{Fault, ServiceId};

use crate::{
    fault,
    ops::Done,
    registry::Kms,
    target::{Accept, Target, ask, resolve},
};

const ACTION: &str = "kms:RevokeGrant";

/// Takes a grant back.
pub struct RevokeGrant;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
    grant_id: String,
    #[serde(default)]
    dry_run: bool,
}

impl Operation for RevokeGrant {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "RevokeGrant";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["GrantId", "KeyId"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Done;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        resolve(kms, call, &request.key_id, Accept::Keys, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, _: &Request, target: &Target) -> Vec<Ask> {
        let for_service = call.via.is_some().to_string();
        vec![ask(kms, call, ACTION, target).with("kms:GrantIsForAWSResource", [for_service])]
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        request: Request,
        target: Authorized<Target>,
    ) -> Result<Done, Fault> {
        let mut change = kms.begin(&call.event_id).await?;
        let grant = kms.grant(&request.grant_id).filter(|grant| grant.key == *target.name());
        let grant = grant.ok_or_else(|| fault::no_grant("InvalidGrantIdException", &request.grant_id))?;
        if request.dry_run {
            return Err(fault::dry_run());
        }
        change.delete_grant(grant).await?;
        change.commit().await?;
        Ok(Done::with(&target))
    }

    fn recorded_response(response: &Done) -> Option<Value> {
        response.recorded()
    }
}
