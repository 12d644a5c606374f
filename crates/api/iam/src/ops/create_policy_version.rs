//! `iam:CreatePolicyVersion`: up to five, and none gets the number of one that was deleted.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::shapes::{VersionShape, whole_seconds};
use crate::{entity::PolicyVersion, fault, policy::Policy, registry::Iam, subject::Managed};

/// Versions that a managed policy may have.
pub const VERSIONS_PER_POLICY: usize = 5;

pub struct CreatePolicyVersion;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    policy_arn: String,
    policy_document: String,
    #[serde(default)]
    set_as_default: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    policy_version: VersionShape,
}

impl Operation for CreatePolicyVersion {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "CreatePolicyVersion";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["PolicyArn", "PolicyDocument", "SetAsDefault"];

    type State = Iam;
    type Request = Request;
    type Target = Managed;
    type Response = Response;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Managed, Fault> {
        Managed::of(iam, call, &request.policy_arn)
    }

    fn asks(_: &Iam, _: &Call, _: &Request, policy: &Managed) -> Vec<Ask> {
        vec![policy.ask("iam:CreatePolicyVersion")]
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        request: Request,
        policy: Authorized<Managed>,
    ) -> Result<Response, Fault> {
        let document = Policy::managed(request.policy_document)?;
        let mut change = iam.begin(&call.event_id).await?;
        let mut policy = (*policy.found(iam)?).clone();
        if policy.versions.len() >= VERSIONS_PER_POLICY {
            return Err(fault::limit_exceeded(format!(
                "A managed policy can have up to {VERSIONS_PER_POLICY} versions. Before you create a new version, you \
                 must delete an existing version."
            )));
        }
        policy.latest += 1;
        policy.updated = whole_seconds(call.now);
        let version = PolicyVersion { number: policy.latest, created: policy.updated, policy: document };
        if request.set_as_default {
            policy.default = version.number;
        }
        let policy_version = VersionShape::of(&policy, &version).listed();
        policy.versions.push(version);
        change.put(policy).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(Response { policy_version })
    }

    fn recorded_response(response: &Response) -> Option<Value> {
        Some(json!({"PolicyVersion": response.policy_version.recorded()}))
    }
}
