//! `iam:SetDefaultPolicyVersion`: which version decides, from the next request on.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::Empty;
use crate::{fault, registry::Iam, subject::Managed};

pub struct SetDefaultPolicyVersion;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    policy_arn: String,
    version_id: String,
}

impl Operation for SetDefaultPolicyVersion {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "SetDefaultPolicyVersion";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["PolicyArn", "VersionId"];

    type State = Iam;
    type Request = Request;
    type Target = Managed;
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Managed, Fault> {
        Managed::of(iam, call, &request.policy_arn)
    }

    fn asks(_: &Iam, _: &Call, _: &Request, policy: &Managed) -> Vec<Ask> {
        vec![policy.ask("iam:SetDefaultPolicyVersion")]
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        request: Request,
        policy: Authorized<Managed>,
    ) -> Result<Empty, Fault> {
        let mut change = iam.begin(&call.event_id).await?;
        let mut policy = (*policy.found(iam)?).clone();
        let version = policy.version(&request.version_id);
        let version =
            version.ok_or_else(|| fault::no_policy_version(&request.policy_arn, &request.version_id))?;
        policy.default = version.number;
        change.put(policy).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
