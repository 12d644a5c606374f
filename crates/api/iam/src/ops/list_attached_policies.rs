//! `iam:ListAttachedUserPolicies` and `iam:ListAttachedRolePolicies`: names and ARNs of the managed policies.

use std::{marker::PhantomData, sync::Arc};

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use super::shapes::count;
use crate::{
    entity::{Entity as _, ManagedPolicy},
    names,
    page::page,
    principal::Principal,
    registry::Iam,
    subject::Subject,
};

pub struct ListAttachedPolicies<T>(PhantomData<T>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(alias = "UserName", alias = "GroupName", alias = "RoleName")]
    name: String,
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

impl<T: Principal> Operation for ListAttachedPolicies<T> {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = T::LIST_ATTACHED_POLICIES.name;
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = T::LIST_ATTACHED_POLICIES.recorded;

    type State = Iam;
    type Request = Request;
    type Target = Subject<T>;
    type Response = Response;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<T>, Fault> {
        Ok(Subject::of(iam, call, &request.name))
    }

    fn asks(_: &Iam, _: &Call, _: &Request, subject: &Subject<T>) -> Vec<Ask> {
        vec![subject.ask(T::LIST_ATTACHED_POLICIES.action)]
    }

    async fn act(
        iam: &Iam,
        _: &Call,
        request: Request,
        subject: Authorized<Subject<T>>,
    ) -> Result<Response, Fault> {
        let subject = subject.now(iam)?;
        let prefix = request.path_prefix.as_deref().unwrap_or("/");
        let attached = subject.permissions().attached.iter().filter_map(|id| iam.by_id::<ManagedPolicy>(id));
        let mut attached: Vec<_> = attached.filter(|policy| policy.path.starts_with(prefix)).collect();
        let key = |policy: &Arc<ManagedPolicy>| names::folded(&policy.name);
        attached.sort_by_key(key);
        let list = format!("attached/{}{prefix}", subject.id());
        let page = page(&list, attached, key, request.marker.as_deref(), count(request.max_items))?;
        let told = page
            .items
            .iter()
            .map(|policy| Attached { policy_name: policy.name.clone(), policy_arn: policy.arn() });
        Ok(Response { attached_policies: told.collect(), is_truncated: page.truncated, marker: page.marker })
    }
}
