//! `kms:DeleteAlias` (spec/kms.md §8): the name goes, the key stays. Trail: management event, write.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::Value;
use wire::{Fault, ServiceId};

use crate::{
    alias::{self, AliasTarget},
    fault,
    ops::Done,
    registry::Kms,
};

const ACTION: &str = "kms:DeleteAlias";

/// Removes an alias.
pub struct DeleteAlias;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    alias_name: String,
}

impl Operation for DeleteAlias {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "DeleteAlias";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["AliasName"];
    type State = Kms;
    type Request = Request;
    type Target = AliasTarget;
    type Response = Done;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<AliasTarget, Fault> {
        alias::find(kms, call, &request.alias_name, ACTION)
    }

    fn asks(kms: &Kms, call: &Call, _: &Request, target: &AliasTarget) -> Vec<Ask> {
        alias::asks(kms, call, ACTION, &target.name, [&target.key])
    }

    async fn act(kms: &Kms, call: &Call, _: Request, target: Authorized<AliasTarget>) -> Result<Done, Fault> {
        let AliasTarget { name, alias, key } = target.into_inner();
        let mut change = kms.begin(&call.event_id).await?;
        // What was allowed is to take this alias away from the key it stood for then.
        if kms.alias(&name).is_none_or(|now| now.target != alias.target) {
            return Err(fault::no_alias(&name));
        }
        change.delete_alias(name, &alias.target).await?;
        change.commit().await?;
        Ok(Done::with(&key))
    }

    fn recorded_response(response: &Done) -> Option<Value> {
        response.recorded()
    }
}
