//! `kms:UpdateAlias` (spec/kms.md §8): an alias stands for another key from now on. Trail: management event,
//! write.

use front::{Ask, Authorized, Call, Effect, Operation};
use kms::{KeySpec, KeyUsage, Row, permits};
use serde::Deserialize;
use serde_json::Value;
use wire::{Fault, ServiceId};

use crate::{
    alias::{self, AliasTarget},
    entries::Alias,
    fault,
    ops::Done,
    registry::Kms,
    target::Target,
};

const ACTION: &str = "kms:UpdateAlias";

/// Points an alias to another key.
pub struct UpdateAlias;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    alias_name: String,
    target_key_id: String,
}

impl Operation for UpdateAlias {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "UpdateAlias";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["AliasName", "TargetKeyId"];
    type State = Kms;
    type Request = Request;
    /// The alias as it is, and the key it will stand for.
    type Target = (AliasTarget, Target);
    type Response = Done;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Self::Target, Fault> {
        let before = alias::find(kms, call, &request.alias_name, ACTION)?;
        Ok((before, alias::new_target(kms, call, &request.target_key_id, ACTION).await?))
    }

    fn asks(kms: &Kms, call: &Call, _: &Request, (before, key): &Self::Target) -> Vec<Ask> {
        alias::asks(kms, call, ACTION, &before.name, [&before.key, key])
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        _: Request,
        target: Authorized<Self::Target>,
    ) -> Result<Done, Fault> {
        let (AliasTarget { name, alias: before, .. }, key) = target.into_inner();
        let mut change = kms.begin(&call.event_id).await?;
        let state = kms.still_there(key.name())?.key.state;
        permits(Row::AliasTarget, state).map_err(|state| fault::blocked(key.name(), state))?;
        // What was allowed is to move this alias away from the key it stood for then.
        let now = kms.alias(&name).filter(|now| now.target == before.target);
        let created = now.ok_or_else(|| fault::no_alias(&name))?.created;
        check_alike(kms.still_there(&before.target)?.key.kind(), key.key().kind())?;
        if before.target != *key.name() {
            alias::check_room(kms, &key)?;
        }
        let moved = Alias { target: key.name().clone(), created, updated: call.now };
        change.put_alias(name, moved).await?;
        change.commit().await?;
        Ok(Done::with(&key))
    }

    fn recorded_response(response: &Done) -> Option<Value> {
        response.recorded()
    }
}

/// An alias moves between keys of one type and one usage only (spec/kms.md §8).
fn check_alike(from: (KeySpec, KeyUsage), to: (KeySpec, KeyUsage)) -> Result<(), Fault> {
    let of_one_type = matches!(
        (from.0, to.0),
        (KeySpec::Symmetric, KeySpec::Symmetric)
            | (KeySpec::Hmac(_), KeySpec::Hmac(_))
            | (KeySpec::Pair(_), KeySpec::Pair(_))
    );
    if of_one_type && from.1 == to.1 {
        return Ok(());
    }
    Err(fault::validation(
        "The current and the new KMS key must be of the same type and have the same key usage.",
    ))
}
