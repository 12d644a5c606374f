//! `iam:ListPolicyVersions`: newest first, without the documents.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use super::shapes::{VersionShape, count};
use crate::{entity::PolicyVersion, page::page, registry::Iam, subject::Managed};

pub struct ListPolicyVersions;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    policy_arn: String,
    marker: Option<String>,
    max_items: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    versions: Vec<VersionShape>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
}

impl Operation for ListPolicyVersions {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "ListPolicyVersions";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["PolicyArn", "MaxItems"];

    type State = Iam;
    type Request = Request;
    type Target = Managed;
    type Response = Response;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Managed, Fault> {
        Managed::of(iam, call, &request.policy_arn)
    }

    fn asks(_: &Iam, _: &Call, _: &Request, policy: &Managed) -> Vec<Ask> {
        vec![policy.ask("iam:ListPolicyVersions")]
    }

    async fn act(
        iam: &Iam,
        _: &Call,
        request: Request,
        policy: Authorized<Managed>,
    ) -> Result<Response, Fault> {
        let policy = policy.found(iam)?;
        let newest_first = |version: &&PolicyVersion| format!("{:010}", u32::MAX - version.number);
        let versions = policy.versions.iter().rev();
        let list = format!("versions/{}", policy.id);
        let page = page(&list, versions, newest_first, request.marker.as_deref(), count(request.max_items))?;
        let told = page.items.iter().map(|version| VersionShape::of(&policy, version).listed());
        Ok(Response { versions: told.collect(), is_truncated: page.truncated, marker: page.marker })
    }
}
