//! `kms:DescribeCustomKeyStores`: the key stores of an account in a region, or one of them. The secret of a credential is
//! never told. Trail: management event, read.

use front::{Ask, Authorized, Call, Effect, Operation};
use ids::Timestamp;
use kms::{ConnectionError, KeyStore};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use crate::{
    fault,
    page::{Limits, Wanted},
    registry::Kms,
    target::ask_of,
};

/// Tells about key stores.
pub struct DescribeCustomKeyStores;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    custom_key_store_id: Option<String>,
    custom_key_store_name: Option<String>,
    #[serde(flatten)]
    page: Wanted,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    custom_key_stores: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    custom_key_store_id: String,
    custom_key_store_name: String,
    custom_key_store_type: &'static str,
    connection_state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_error_code: Option<ConnectionError>,
    creation_date: Timestamp,
    xks_proxy_configuration: Configuration,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    connectivity: &'static str,
    access_key_id: String,
    uri_endpoint: String,
    uri_path: String,
}

impl From<&KeyStore> for Entry {
    fn from(store: &KeyStore) -> Self {
        Self {
            custom_key_store_id: store.name.id.clone(),
            custom_key_store_name: store.label.clone(),
            custom_key_store_type: "EXTERNAL_KEY_STORE",
            connection_state: store.connection.name(),
            connection_error_code: store.connection.error(),
            creation_date: store.created,
            xks_proxy_configuration: Configuration {
                connectivity: "PUBLIC_ENDPOINT",
                access_key_id: store.access_key_id.clone(),
                uri_endpoint: store.endpoint.clone(),
                uri_path: store.path.clone(),
            },
        }
    }
}

impl Operation for DescribeCustomKeyStores {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "DescribeCustomKeyStores";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["CustomKeyStoreId", "CustomKeyStoreName", "Limit", "Marker"];
    type State = Kms;
    type Request = Request;
    type Target = ();
    type Response = Response;

    async fn resolve(_: &Kms, _: &Call, request: &Request) -> Result<(), Fault> {
        if request.custom_key_store_id.is_some() && request.custom_key_store_name.is_some() {
            let text = "You can specify either CustomKeyStoreId or CustomKeyStoreName, but not both.";
            return Err(fault::validation(text));
        }
        Ok(())
    }

    fn asks(_: &Kms, call: &Call, _: &Request, (): &()) -> Vec<Ask> {
        vec![ask_of(call, "kms:DescribeCustomKeyStores", "*")]
    }

    async fn act(kms: &Kms, call: &Call, request: Request, _: Authorized<()>) -> Result<Response, Fault> {
        let (id, label) = (&request.custom_key_store_id, &request.custom_key_store_name);
        let mut stores = kms.key_stores_in(call.account(), &call.region);
        stores.retain(|store| {
            id.as_ref().is_none_or(|id| *id == store.store.name.id)
                && label.as_ref().is_none_or(|label| *label == store.store.label)
        });
        if stores.is_empty() && (id.is_some() || label.is_some()) {
            return Err(fault::no_store());
        }
        let page = request.page.page(Limits::LONG, stores, |store| store.store.name.id.clone())?;
        Ok(Response {
            custom_key_stores: page.items.iter().map(|store| Entry::from(&store.store)).collect(),
            truncated: page.next_marker.is_some(),
            next_marker: page.next_marker,
        })
    }
}
