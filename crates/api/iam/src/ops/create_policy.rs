//! `iam:CreatePolicy`: a managed policy with its first version (spec/policy.md §9, §12).

use std::collections::BTreeMap;

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::shapes::{PolicyShape, Tag, add_tags, whole_seconds};
use crate::{
    entity::{ManagedPolicy, PolicyVersion},
    fault, names,
    policy::Policy,
    registry::Iam,
};

pub const POLICIES_PER_ACCOUNT: usize = 1500;

pub struct CreatePolicy;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    policy_name: String,
    path: Option<String>,
    policy_document: String,
    description: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    policy: PolicyShape,
}

impl Operation for CreatePolicy {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "CreatePolicy";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] =
        &["PolicyName", "Path", "PolicyDocument", "Description", "Tags"];

    type State = Iam;
    type Request = Request;
    type Target = String;
    type Response = Response;

    async fn resolve(_: &Iam, call: &Call, request: &Request) -> Result<String, Fault> {
        let path = request.path.as_deref().unwrap_or("/");
        Ok(names::arn(call.account(), "policy", path, &request.policy_name))
    }

    fn asks(_: &Iam, call: &Call, request: &Request, arn: &String) -> Vec<Ask> {
        let ask = |action| {
            let keys = request.tags.iter().map(|tag| tag.key.clone());
            let mut ask = Ask::new(action, arn).on(call.account()).with("aws:TagKeys", keys);
            for Tag { key, value } in &request.tags {
                ask = ask.with(format!("aws:RequestTag/{key}"), [value.clone()]);
            }
            ask
        };
        let mut asks = vec![ask("iam:CreatePolicy")];
        if !request.tags.is_empty() {
            asks.push(ask("iam:TagPolicy"));
        }
        asks
    }

    async fn act(iam: &Iam, call: &Call, request: Request, _: Authorized<String>) -> Result<Response, Fault> {
        let policy = Policy::managed(request.policy_document)?;
        let mut tags = BTreeMap::new();
        add_tags(&mut tags, request.tags)?;
        let mut change = iam.begin(&call.event_id).await?;
        if iam.taken::<ManagedPolicy>(call.account(), &request.policy_name) {
            return Err(fault::policy_exists(&request.policy_name));
        }
        if iam.of::<ManagedPolicy>(call.account()).len() >= POLICIES_PER_ACCOUNT {
            return Err(fault::quota("PoliciesPerAccount", POLICIES_PER_ACCOUNT));
        }
        let created = whole_seconds(call.now);
        let managed = ManagedPolicy {
            id: names::unique_id("ANPA"),
            account: call.account().clone(),
            name: request.policy_name,
            path: request.path.unwrap_or_else(|| "/".into()),
            created,
            description: request.description,
            tags,
            versions: vec![PolicyVersion { number: 1, created, policy }],
            default: 1,
            latest: 1,
            updated: created,
        };
        let response = Response { policy: PolicyShape::of(iam, &managed) };
        change.put(managed).await?;
        change.commit().await.map_err(Fault::internal)?;
        Ok(response)
    }

    fn recorded_response(response: &Response) -> Option<Value> {
        Some(json!({"Policy": response.policy.recorded()}))
    }
}
