//! `iam:ListAttachedUserPolicies`: names and ARNs of the managed policies.

use std::sync::Arc;

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use super::shapes::count;
use crate::{
    entity::{Entity as _, ManagedPolicy, User},
    names,
    page::page,
    registry::Iam,
    subject::Subject,
};

pub struct ListAttachedUserPolicies;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    user_name: String,
    path_prefix: Option<String>,
    marker: Option<String>,
    max_items: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    attached_policies: Vec<Attached>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Attached {
    policy_name: String,
    policy_arn: String,
}

impl Operation for ListAttachedUserPolicies {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "ListAttachedUserPolicies";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["UserName", "PathPrefix", "MaxItems"];

    type State = Iam;
    type Request = Request;
    type Target = Subject<User>;
    type Response = Response;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<User>, Fault> {
        Ok(Subject::of(iam, call, &request.user_name))
    }

    fn asks(_: &Iam, _: &Call, _: &Request, user: &Subject<User>) -> Vec<Ask> {
        vec![user.ask("iam:ListAttachedUserPolicies")]
    }

    async fn act(
        iam: &Iam,
        _: &Call,
        request: Request,
        user: Authorized<Subject<User>>,
    ) -> Result<Response, Fault> {
        let user = user.now(iam)?;
        let prefix = request.path_prefix.as_deref().unwrap_or("/");
        let attached = user.attached.iter().filter_map(|id| iam.by_id::<ManagedPolicy>(id));
        let mut attached: Vec<_> = attached.filter(|policy| policy.path.starts_with(prefix)).collect();
        let key = |policy: &Arc<ManagedPolicy>| names::folded(&policy.name);
        attached.sort_by_key(key);
        let list = format!("attached/{}{prefix}", user.id);
        let page = page(&list, attached, key, request.marker.as_deref(), count(request.max_items))?;
        let told = page
            .items
            .iter()
            .map(|policy| Attached { policy_name: policy.name.clone(), policy_arn: policy.arn() });
        Ok(Response { attached_policies: told.collect(), is_truncated: page.truncated, marker: page.marker })
    }
}
