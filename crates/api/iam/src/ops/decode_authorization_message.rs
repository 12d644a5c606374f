//! `sts:DecodeAuthorizationMessage`: why a call was denied, for whoever may know. The message comes with the denial, in
//! the header `x-strongroom-authorization-message`, and means nothing to anybody else.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use trail::{Authorization, DecidedBy, Record};
use wire::{Fault, ServiceId};

use crate::witness::Witness;

pub struct DecodeAuthorizationMessage;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    encoded_message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    decoded_message: String,
}

impl Operation for DecodeAuthorizationMessage {
    const SERVICE: ServiceId = ServiceId::Sts;
    const NAME: &'static str = "DecodeAuthorizationMessage";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &[];

    type State = Witness;
    type Request = Request;
    type Target = ();
    type Response = Response;

    async fn resolve(_: &Witness, _: &Call, _: &Request) -> Result<(), Fault> {
        Ok(())
    }

    fn asks(_: &Witness, _: &Call, _: &Request, (): &()) -> Vec<Ask> {
        vec![Ask::new("sts:DecodeAuthorizationMessage", "*")]
    }

    async fn act(
        witness: &Witness,
        call: &Call,
        request: Request,
        _: Authorized<()>,
    ) -> Result<Response, Fault> {
        let record = witness.denial(call.account(), &request.encoded_message).await?;
        let decoded = record.as_ref().and_then(decoded).ok_or_else(|| {
            Fault::client("InvalidAuthorizationMessageException", "Message could not be decoded")
        })?;
        Ok(Response { decoded_message: decoded.to_string() })
    }
}

/// The question that was answered no, in the form of AWS.
fn decoded(record: &Record) -> Option<Value> {
    let denied = record.authorization.iter().find(|asked| !asked.allowed)?;
    let Authorization { action, resource, by, reason, near_misses, context, .. } = denied;
    let identity = &record.user_identity;
    let conditions = context.iter().map(|(key, values)| {
        let values: Vec<_> = values.iter().map(|value| json!({"value": value})).collect();
        json!({"key": key, "values": {"items": values}})
    });
    let missed = near_misses.iter().map(|miss| {
        let mut told = statement(&miss.statement);
        told["failures"] =
            json!({"items": miss.why.iter().map(|why| json!({"value": why})).collect::<Vec<_>>()});
        told
    });
    Some(json!({
        "allowed": false,
        "explicitDeny": !by.is_empty(),
        "reason": reason,
        "matchedStatements": {"items": by.iter().map(statement).collect::<Vec<_>>()},
        "failures": {"items": missed.collect::<Vec<_>>()},
        "context": {
            "principal": {"id": identity.principal_id, "arn": identity.arn},
            "action": action,
            "resource": resource,
            "conditions": {"items": conditions.collect::<Vec<_>>()},
        },
    }))
}

fn statement(by: &DecidedBy) -> Value {
    json!({"statementId": by.statement, "sourcePolicyType": by.kind, "sourcePolicy": by.policy})
}
