//! `iam:GetPolicyVersion`: the document, percent-encoded.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use super::shapes::VersionShape;
use crate::{fault, registry::Iam, subject::Managed};

pub struct GetPolicyVersion;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    policy_arn: String,
    version_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    policy_version: VersionShape,
}

impl Operation for GetPolicyVersion {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "GetPolicyVersion";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["PolicyArn", "VersionId"];

    type State = Iam;
    type Request = Request;
    type Target = Managed;
    type Response = Response;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Managed, Fault> {
        Managed::of(iam, call, &request.policy_arn)
    }

    fn asks(_: &Iam, _: &Call, _: &Request, policy: &Managed) -> Vec<Ask> {
        vec![policy.ask("iam:GetPolicyVersion")]
    }

    async fn act(
        iam: &Iam,
        _: &Call,
        request: Request,
        policy: Authorized<Managed>,
    ) -> Result<Response, Fault> {
        let found = policy.found(iam)?;
        let version = found.version(&request.version_id);
        let version = version.ok_or_else(|| fault::no_policy_version(policy.arn(), &request.version_id))?;
        Ok(Response { policy_version: VersionShape::of(&found, version) })
    }
}
