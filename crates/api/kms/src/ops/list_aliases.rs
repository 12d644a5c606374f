//! `kms:ListAliases` (spec/kms.md §8): the aliases of the account in the region, or those of one key. Trail:
//! management event, read.

use front::{Ask, Authorized, Call, Effect, Operation};
use ids::Timestamp;
use kms::KeyName;
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use crate::{
    page::{Limits, Wanted},
    registry::Kms,
    target::{Accept, ask_of, resolve},
};

const ACTION: &str = "kms:ListAliases";

/// Lists aliases.
pub struct ListAliases;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: Option<String>,
    #[serde(flatten)]
    page: Wanted,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    aliases: Vec<Alias>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Alias {
    alias_name: String,
    alias_arn: String,
    target_key_id: String,
    creation_date: Timestamp,
    last_updated_date: Timestamp,
}

impl Operation for ListAliases {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "ListAliases";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["KeyId", "Limit", "Marker"];
    type State = Kms;
    type Request = Request;
    /// The key whose aliases are wanted.
    type Target = Option<KeyName>;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Self::Target, Fault> {
        let Some(key_id) = &request.key_id else { return Ok(None) };
        let key = resolve(kms, call, key_id, Accept::OwnKeys, ACTION).await?;
        Ok(Some(key.name().clone()))
    }

    fn asks(_: &Kms, call: &Call, _: &Request, _: &Self::Target) -> Vec<Ask> {
        vec![ask_of(call, ACTION, "*")]
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        request: Request,
        key: Authorized<Self::Target>,
    ) -> Result<Response, Fault> {
        let mut aliases = kms.aliases_in(call.account(), &call.region);
        if let Some(key) = &*key {
            aliases.retain(|(_, alias)| alias.target == *key);
        }
        let page = request.page.page(Limits::SHORT, aliases, |(name, _)| name.name.clone())?;
        let list = page.items.into_iter().map(|(name, alias)| Alias {
            alias_arn: name.arn().to_string(),
            alias_name: name.name,
            target_key_id: alias.target.id.to_string(),
            creation_date: alias.created,
            last_updated_date: alias.updated,
        });
        Ok(Response {
            aliases: list.collect(),
            truncated: page.next_marker.is_some(),
            next_marker: page.next_marker,
        })
    }
}
