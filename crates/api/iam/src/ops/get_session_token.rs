//! `sts:GetSessionToken`: temporary credentials of a user with his own permissions; IAM does not take them (spec/policy.md
//! §13).

use front::{Ask, Authorized, Call, Caller, Effect, Operation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::temporary::{Begun, Credentials, denied, user_duration, wrong_code};
use crate::{registry::Iam, session::Session};

pub struct GetSessionToken;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    duration_seconds: Option<u32>,
    serial_number: Option<String>,
    token_code: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    credentials: Credentials,
}

impl Operation for GetSessionToken {
    const SERVICE: ServiceId = ServiceId::Sts;
    const NAME: &'static str = "GetSessionToken";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["DurationSeconds"];

    type State = Iam;
    type Request = Request;
    /// The user's id, or the account of the root user.
    type Target = (String, bool);
    type Response = Response;

    async fn resolve(_: &Iam, call: &Call, _: &Request) -> Result<(String, bool), Fault> {
        match &call.caller {
            Caller::User(user) if user.session_began.is_none() => Ok((user.id.clone(), false)),
            Caller::Root { account, access_key_id } if !access_key_id.starts_with("ASIA") => {
                Ok((account.to_string(), true))
            }
            _ => Err(denied("Cannot call GetSessionToken with session credentials")),
        }
    }

    fn asks(_: &Iam, _: &Call, _: &Request, _: &(String, bool)) -> Vec<Ask> {
        // A user needs no permission to act as himself.
        Vec::new()
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        request: Request,
        target: Authorized<(String, bool)>,
    ) -> Result<Response, Fault> {
        if request.serial_number.is_some() || request.token_code.is_some() {
            return Err(wrong_code());
        }
        let (principal, root) = target.into_inner();
        let seconds = user_duration(request.duration_seconds, root);
        let Begun { session, credentials } =
            Begun::new(call, seconds, |drawn| Session { principal, ..drawn });
        let mut change = iam.begin(&call.event_id).await?;
        change.put_session(session, call.now).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Response { credentials })
    }

    fn recorded_response(response: &Response) -> Option<Value> {
        Some(json!({"Credentials": response.credentials.recorded()}))
    }
}
