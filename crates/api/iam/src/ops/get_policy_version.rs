//! `iam:GetPolicyVersion`: the document, percent-encoded.

use front::{Ask, Authorized, Call, Effect, Operation};
use ids::Timestamp;
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use super::shapes::ONLY_VERSION;
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
    policy_version: Version,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    document: String,
    version_id: String,
    is_default_version: bool,
    create_date: Timestamp,
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
        let found = policy.now(iam).ok_or_else(|| fault::no_managed_policy(policy.arn()))?;
        let version = request.version_id;
        if version != ONLY_VERSION {
            let arn = policy.arn();
            return Err(fault::missing(format!(
                "Policy {arn} version {version} does not exist or is not attachable."
            )));
        }
        let document = found.policy.encoded();
        let policy_version =
            Version { document, version_id: version, is_default_version: true, create_date: found.created };
        Ok(Response { policy_version })
    }
}
