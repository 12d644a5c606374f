//! `sts:GetCallerIdentity`: needs no permission, and no policy can take it away (spec/policy.md §13).

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use crate::registry::Iam;

pub struct GetCallerIdentity;

#[derive(Deserialize)]
pub struct Request {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    user_id: String,
    account: String,
    arn: String,
}

impl Operation for GetCallerIdentity {
    const SERVICE: ServiceId = ServiceId::Sts;
    const NAME: &'static str = "GetCallerIdentity";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &[];

    type State = Iam;
    type Request = Request;
    type Target = ();
    type Response = Response;

    async fn resolve(_: &Iam, _: &Call, _: &Request) -> Result<(), Fault> {
        Ok(())
    }

    fn asks(_: &Iam, _: &Call, _: &Request, (): &()) -> Vec<Ask> {
        Vec::new()
    }

    async fn act(_: &Iam, call: &Call, _: Request, _: Authorized<()>) -> Result<Response, Fault> {
        let caller = &call.caller;
        Ok(Response { user_id: caller.unique_id(), account: caller.account().to_string(), arn: caller.arn() })
    }
}
