//! `kms:ListKeys` (spec/kms.md §4): the keys of the account in the region. Trail: management event, read.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use crate::{
    page::{Limits, Wanted},
    registry::Kms,
    target::ask_of,
};

/// Lists keys.
pub struct ListKeys;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(flatten)]
    page: Wanted,
    /// Whose keys; keys of others are never shared with the account.
    resource_owners: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    keys: Vec<Key>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Key {
    key_id: String,
    key_arn: String,
}

impl Operation for ListKeys {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "ListKeys";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["Limit", "Marker", "ResourceOwners"];
    type State = Kms;
    type Request = Request;
    type Target = ();
    type Response = Response;

    async fn resolve(_: &Kms, _: &Call, _: &Request) -> Result<(), Fault> {
        Ok(())
    }

    fn asks(_: &Kms, call: &Call, _: &Request, (): &()) -> Vec<Ask> {
        vec![ask_of(call, "kms:ListKeys", "*")]
    }

    async fn act(kms: &Kms, call: &Call, request: Request, _: Authorized<()>) -> Result<Response, Fault> {
        let own = request.resource_owners.is_none_or(|owners| owners.iter().any(|owner| owner == "SELF"));
        let keys = if own { kms.keys_in(call.account(), &call.region) } else { Vec::new() };
        let page = request.page.page(Limits::LONG, keys, |entry| entry.key.name.id.to_string())?;
        let names = page.items.iter().map(|entry| &entry.key.name);
        let keys = names.map(|name| Key { key_id: name.id.to_string(), key_arn: name.to_string() }).collect();
        Ok(Response { keys, truncated: page.next_marker.is_some(), next_marker: page.next_marker })
    }
}
