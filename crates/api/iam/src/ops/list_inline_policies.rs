//! `iam:ListUserPolicies` and `iam:ListRolePolicies`: names of the inline policies.

use std::marker::PhantomData;

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use super::shapes::count;
use crate::{page::page, principal::Principal, registry::Iam, subject::Subject};

pub struct ListInlinePolicies<T>(PhantomData<T>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(alias = "UserName", alias = "GroupName", alias = "RoleName")]
    name: String,
    marker: Option<String>,
    max_items: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    policy_names: Vec<String>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
}

impl<T: Principal> Operation for ListInlinePolicies<T> {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = T::LIST_POLICIES.name;
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = T::LIST_POLICIES.recorded;

    type State = Iam;
    type Request = Request;
    type Target = Subject<T>;
    type Response = Response;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<T>, Fault> {
        Ok(Subject::of(iam, call, &request.name))
    }

    fn asks(_: &Iam, _: &Call, _: &Request, subject: &Subject<T>) -> Vec<Ask> {
        vec![subject.ask(T::LIST_POLICIES.action)]
    }

    async fn act(
        iam: &Iam,
        _: &Call,
        request: Request,
        subject: Authorized<Subject<T>>,
    ) -> Result<Response, Fault> {
        let subject = subject.now(iam)?;
        let list = format!("subject-policies/{}", subject.id());
        let names = subject.permissions().inline.keys().cloned();
        let page = page(&list, names, Clone::clone, request.marker.as_deref(), count(request.max_items))?;
        Ok(Response { policy_names: page.items, is_truncated: page.truncated, marker: page.marker })
    }
}
