//! `iam:ListAccessKeys`: ids and states, never a secret.

use std::sync::Arc;

use front::{Ask, Authorized, Call, Effect, Operation};
use ids::Timestamp;
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use super::shapes::{count, whole_seconds};
use crate::{entity::AccessKey, page::page, registry::Iam, subject::Owner};

pub struct ListAccessKeys;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    user_name: Option<String>,
    marker: Option<String>,
    max_items: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    access_key_metadata: Vec<Listed>,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<String>,
    access_key_id: String,
    status: &'static str,
    create_date: Timestamp,
}

impl Operation for ListAccessKeys {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "ListAccessKeys";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["UserName", "MaxItems"];

    type State = Iam;
    type Request = Request;
    type Target = Owner;
    type Response = Response;

    async fn resolve(iam: &Iam, call: &Call, request: &Request) -> Result<Owner, Fault> {
        Owner::of(iam, call, request.user_name.as_deref())
    }

    fn asks(_: &Iam, _: &Call, _: &Request, owner: &Owner) -> Vec<Ask> {
        vec![owner.ask("iam:ListAccessKeys")]
    }

    async fn act(
        iam: &Iam,
        call: &Call,
        request: Request,
        owner: Authorized<Owner>,
    ) -> Result<Response, Fault> {
        let user = owner.user(iam)?;
        let owner = user.as_ref().map(|user| user.id.as_str());
        let keys = iam.access_keys_of(call.account(), owner);
        // Oldest first, and instants are written with as many digits for centuries.
        let order = |key: &Arc<AccessKey>| format!("{:015}/{}", key.created.as_millis(), key.id);
        let list = format!("access-keys/{}", owner.unwrap_or("root"));
        let page = page(&list, keys, order, request.marker.as_deref(), count(request.max_items))?;
        let listed = page.items.iter().map(|key| Listed {
            user_name: user.as_ref().map(|user| user.name.clone()),
            access_key_id: key.id.clone(),
            status: key.status(),
            create_date: whole_seconds(key.created),
        });
        let access_key_metadata = listed.collect();
        Ok(Response { access_key_metadata, is_truncated: page.truncated, marker: page.marker })
    }
}
