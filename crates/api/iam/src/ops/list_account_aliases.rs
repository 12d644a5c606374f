//! `iam:ListAccountAliases`: an account has one at most.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use super::shapes::count;
use crate::{page::page, registry::Iam};

pub struct ListAccountAliases;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    marker: Option<String>,
    max_items: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    account_aliases: Vec<String>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
}

impl Operation for ListAccountAliases {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "ListAccountAliases";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["MaxItems"];

    type State = Iam;
    type Request = Request;
    type Target = ();
    type Response = Response;

    async fn resolve(_: &Iam, _: &Call, _: &Request) -> Result<(), Fault> {
        Ok(())
    }

    fn asks(_: &Iam, _: &Call, _: &Request, (): &()) -> Vec<Ask> {
        vec![Ask::new("iam:ListAccountAliases", "*")]
    }

    async fn act(iam: &Iam, call: &Call, request: Request, _: Authorized<()>) -> Result<Response, Fault> {
        let aliases = iam.account_alias(call.account());
        let page =
            page("aliases", aliases, Clone::clone, request.marker.as_deref(), count(request.max_items))?;
        Ok(Response { account_aliases: page.items, is_truncated: page.truncated, marker: page.marker })
    }
}
