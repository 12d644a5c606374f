//! `kms:CreateAlias` (spec/kms.md §8): a name for a key. Trail: management event, write.

use front::{Ask, Authorized, Call, Effect, Operation};
use kms::{AliasName, Row, permits};
use serde::Deserialize;
use serde_json::Value;
use wire::{Fault, ServiceId};

use crate::{alias, entries::Alias, fault, ops::Done, registry::Kms, target::Target};

const ACTION: &str = "kms:CreateAlias";

/// Makes an alias.
pub struct CreateAlias;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    alias_name: String,
    target_key_id: String,
}

impl Operation for CreateAlias {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "CreateAlias";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["AliasName", "TargetKeyId"];
    type State = Kms;
    type Request = Request;
    type Target = (AliasName, Target);
    type Response = Done;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Self::Target, Fault> {
        let name = alias::own_name(call, &request.alias_name)?;
        Ok((name, alias::new_target(kms, call, &request.target_key_id, ACTION).await?))
    }

    fn asks(kms: &Kms, call: &Call, _: &Request, (name, key): &Self::Target) -> Vec<Ask> {
        alias::asks(kms, call, ACTION, name, [key])
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        _: Request,
        target: Authorized<Self::Target>,
    ) -> Result<Done, Fault> {
        let (name, key) = target.into_inner();
        let mut change = kms.begin(&call.event_id).await?;
        let state = kms.still_there(key.name())?.key.state;
        permits(Row::CreateAlias, state).map_err(|state| fault::blocked(key.name(), state))?;
        if kms.alias(&name).is_some() {
            let text = format!("An alias with the name {} already exists", name.arn());
            return Err(Fault::client("AlreadyExistsException", text));
        }
        alias::check_room(kms, &key)?;
        let alias = Alias { target: key.name().clone(), created: call.now, updated: call.now };
        change.put_alias(name, alias).await?;
        change.commit().await?;
        Ok(Done::with(&key))
    }

    fn recorded_response(response: &Done) -> Option<Value> {
        response.recorded()
    }
}
