//! `iam:ListPolicies`: the managed policies of the account; there are none of AWS here.

use std::sync::Arc;

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use super::shapes::{PolicyShape, count};
use crate::{entity::ManagedPolicy, names, page::page, registry::Iam};

pub struct ListPolicies;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    scope: Option<String>,
    #[serde(default)]
    only_attached: bool,
    path_prefix: Option<String>,
    policy_usage_filter: Option<String>,
    marker: Option<String>,
    max_items: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    policies: Vec<PolicyShape>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
}

impl Operation for ListPolicies {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "ListPolicies";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] =
        &["Scope", "OnlyAttached", "PathPrefix", "PolicyUsageFilter", "MaxItems"];

    type State = Iam;
    type Request = Request;
    type Target = ();
    type Response = Response;

    async fn resolve(_: &Iam, _: &Call, _: &Request) -> Result<(), Fault> {
        Ok(())
    }

    fn asks(_: &Iam, call: &Call, request: &Request, (): &()) -> Vec<Ask> {
        let prefix = request.path_prefix.as_deref().unwrap_or("/");
        vec![
            Ask::new("iam:ListPolicies", names::arn(call.account(), "policy", prefix, "")).on(call.account()),
        ]
    }

    async fn act(iam: &Iam, call: &Call, request: Request, _: Authorized<()>) -> Result<Response, Fault> {
        let prefix = request.path_prefix.as_deref().unwrap_or("/");
        // No policy is AWS's.
        let none = request.scope.as_deref() == Some("AWS");
        let of_usage = |policy: &ManagedPolicy| match request.policy_usage_filter.as_deref() {
            None => true,
            Some("PermissionsBoundary") => iam.bounded_by(policy) > 0,
            Some(_) => iam.attachments(policy) > 0,
        };
        let policies = iam.of::<ManagedPolicy>(call.account()).into_iter().filter(|policy| {
            !none
                && policy.path.starts_with(prefix)
                && of_usage(policy)
                && (!request.only_attached || iam.attachments(policy) > 0)
        });
        let key = |policy: &Arc<ManagedPolicy>| names::folded(&policy.name);
        let list = format!("policies{prefix}");
        let page = page(&list, policies, key, request.marker.as_deref(), count(request.max_items))?;
        // A list tells neither tags nor descriptions.
        let policies = page.items.iter().map(|policy| PolicyShape {
            tags: Vec::new(),
            description: None,
            ..PolicyShape::of(iam, policy)
        });
        Ok(Response { policies: policies.collect(), is_truncated: page.truncated, marker: page.marker })
    }
}
