//! `iam:ListUserPolicies`: names of the inline policies.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use super::shapes::count;
use crate::{entity::User, page::page, registry::Iam, subject::Subject};

pub struct ListUserPolicies;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    user_name: String,
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

impl Operation for ListUserPolicies {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "ListUserPolicies";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["UserName", "MaxItems"];

    type State = Iam;
    type Request = Request;
    type Target = Subject<User>;
    type Response = Response;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Subject<User>, Fault> {
        Ok(Subject::of(iam, call, &request.user_name))
    }

    fn asks(_: &Iam, _: &Call, _: &Request, user: &Subject<User>) -> Vec<Ask> {
        vec![user.ask("iam:ListUserPolicies")]
    }

    async fn act(
        iam: &Iam,
        _: &Call,
        request: Request,
        user: Authorized<Subject<User>>,
    ) -> Result<Response, Fault> {
        let user = user.now(iam)?;
        let list = format!("user-policies/{}", user.id);
        let names = user.policies.keys().cloned();
        let page = page(&list, names, Clone::clone, request.marker.as_deref(), count(request.max_items))?;
        Ok(Response { policy_names: page.items, is_truncated: page.truncated, marker: page.marker })
    }
}
