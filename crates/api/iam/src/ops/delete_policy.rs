//! `iam:DeletePolicy`: only when nobody has it any more.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use super::shapes::Empty;
use crate::{fault, registry::Iam, subject::Managed};

pub struct DeletePolicy;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    policy_arn: String,
}

impl Operation for DeletePolicy {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "DeletePolicy";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["PolicyArn"];

    type State = Iam;
    type Request = Request;
    type Target = Managed;
    type Response = Empty;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Managed, Fault> {
        Managed::of(iam, call, &request.policy_arn)
    }

    fn asks(_: &Iam, _: &Call, _: &Request, policy: &Managed) -> Vec<Ask> {
        vec![policy.ask("iam:DeletePolicy")]
    }

    async fn act(iam: &Iam, call: &Call, _: Request, policy: Authorized<Managed>) -> Result<Empty, Fault> {
        let mut change = iam.begin(&call.event_id).await?;
        let found = policy.found(iam)?;
        if iam.attachments(&found) + iam.bounded_by(&found) > 0 {
            return Err(fault::policy_attached());
        }
        if found.versions.len() > 1 {
            return Err(fault::in_conflict(
                "This policy has more than one version. Before you delete a policy, you must delete the policy's \
                 versions. The default version is deleted with the policy.",
            ));
        }
        change.delete(&*found).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Empty {})
    }
}
