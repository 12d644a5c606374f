//! `iam:GetPolicy`: what is known of a managed policy; the document is its version's.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use super::shapes::PolicyShape;
use crate::{registry::Iam, subject::Managed};

pub struct GetPolicy;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    policy_arn: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    policy: PolicyShape,
}

impl Operation for GetPolicy {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "GetPolicy";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["PolicyArn"];

    type State = Iam;
    type Request = Request;
    type Target = Managed;
    type Response = Response;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Managed, Fault> {
        Managed::of(iam, call, &request.policy_arn)
    }

    fn asks(_: &Iam, _: &Call, _: &Request, policy: &Managed) -> Vec<Ask> {
        vec![policy.ask("iam:GetPolicy")]
    }

    async fn act(iam: &Iam, _: &Call, _: Request, policy: Authorized<Managed>) -> Result<Response, Fault> {
        Ok(Response { policy: PolicyShape::of(iam, &*policy.found(iam)?) })
    }
}
