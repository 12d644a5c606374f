//! `kms:UpdateCustomKeyStore`: another name, credential or address; the proxy is asked with the new ones before they
//! hold. Trail: management event, write; the credential is masked.

use std::sync::Arc;

use front::{Ask, Authorized, Call, Effect, Operation};
use kms::StoreUpdate;
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use crate::{
    fault,
    key_store::{Connectivity, Credential, Store, check_address, check_unique, check_vpc, find, unchanged},
    registry::Kms,
    target::ask_of,
};

/// Changes an external key store.
pub struct UpdateCustomKeyStore;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    custom_key_store_id: String,
    new_custom_key_store_name: Option<String>,
    xks_proxy_uri_endpoint: Option<String>,
    xks_proxy_uri_path: Option<String>,
    xks_proxy_vpc_endpoint_service_name: Option<String>,
    xks_proxy_authentication_credential: Option<Credential>,
    xks_proxy_connectivity: Option<Connectivity>,
    cloud_hsm_cluster_id: Option<String>,
    key_store_password: Option<wire::Secret>,
}

#[derive(Serialize)]
pub struct Response {}

impl Operation for UpdateCustomKeyStore {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "UpdateCustomKeyStore";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &[
        "CloudHsmClusterId",
        "CustomKeyStoreId",
        "NewCustomKeyStoreName",
        "XksProxyConnectivity",
        "XksProxyUriEndpoint",
        "XksProxyUriPath",
        "XksProxyVpcEndpointServiceName",
        "XksProxyVpcEndpointServiceOwner",
    ];
    const MASKED: &'static [&'static str] = &["KeyStorePassword", "XksProxyAuthenticationCredential"];
    type State = Kms;
    type Request = Request;
    type Target = ();
    type Response = Response;

    async fn resolve(_: &Kms, _: &Call, request: &Request) -> Result<(), Fault> {
        if request.cloud_hsm_cluster_id.is_some() || request.key_store_password.is_some() {
            let text = "CloudHsmClusterId and KeyStorePassword are valid only for custom key stores with a \
                        CustomKeyStoreType of AWS_CLOUDHSM.";
            return Err(fault::validation(text));
        }
        check_address(request.xks_proxy_uri_endpoint.as_deref(), request.xks_proxy_uri_path.as_deref())?;
        check_vpc(request.xks_proxy_connectivity, request.xks_proxy_vpc_endpoint_service_name.as_deref())
    }

    fn asks(_: &Kms, call: &Call, _: &Request, (): &()) -> Vec<Ask> {
        vec![ask_of(call, "kms:UpdateCustomKeyStore", "*")]
    }

    async fn act(kms: &Kms, call: &Call, request: Request, _: Authorized<()>) -> Result<Response, Fault> {
        let old = find(kms, call, &request.custom_key_store_id)?;
        let (access_key_id, secret) = match request.xks_proxy_authentication_credential {
            Some(new) => (Some(new.access_key_id), Some(new.raw_secret_access_key)),
            None => (None, None),
        };
        let update = StoreUpdate {
            label: request.new_custom_key_store_name,
            endpoint: request.xks_proxy_uri_endpoint,
            path: request.xks_proxy_uri_path,
            access_key_id,
        };
        let moved = update.endpoint.is_some() || update.path.is_some() || secret.is_some();
        let store = old.store.updated(update).map_err(|_| fault::wrong_connection())?;
        let new = Store {
            store,
            secret: secret.unwrap_or_else(|| old.secret.clone()),
            link: Arc::clone(&old.link),
        };
        check_unique(kms, &new.store)?;
        if moved {
            new.check_health(kms, call, Self::NAME).await.map_err(fault::bad_proxy)?;
        }
        let mut change = kms.begin(&call.event_id).await?;
        // The proxy was asked meanwhile.
        unchanged(kms, &old)?;
        check_unique(kms, &new.store)?;
        change.put_store(new).await?;
        change.commit().await?;
        Ok(Response {})
    }
}
