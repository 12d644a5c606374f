//! `kms:CreateCustomKeyStore`: an external key store, whose proxy is asked whether it is there and knows us. It is
//! disconnected at first. Trail: management event, write; the credential is masked.

use std::sync::Arc;

use envelope::SystemEntropy;
use front::{Ask, Authorized, Call, Effect, Operation};
use ids::Entropy as _;
use kms::{Connection, KeyStore, KeyStoreName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use crate::{
    fault,
    key_store::{Connectivity, Credential, Store, check_address, check_unique, check_vpc},
    registry::Kms,
    target::ask_of,
};

/// Makes an external key store.
pub struct CreateCustomKeyStore;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    custom_key_store_name: String,
    #[serde(default = "cloud_hsm")]
    custom_key_store_type: String,
    xks_proxy_uri_endpoint: Option<String>,
    xks_proxy_uri_path: Option<String>,
    xks_proxy_vpc_endpoint_service_name: Option<String>,
    xks_proxy_authentication_credential: Option<Credential>,
    xks_proxy_connectivity: Option<Connectivity>,
    cloud_hsm_cluster_id: Option<String>,
    trust_anchor_certificate: Option<String>,
    key_store_password: Option<wire::Secret>,
}

fn cloud_hsm() -> String {
    "AWS_CLOUDHSM".into()
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    custom_key_store_id: String,
}

impl Request {
    /// Checks what the request says of itself.
    fn check(&self) -> Result<(), Fault> {
        if self.custom_key_store_type != "EXTERNAL_KEY_STORE" {
            let kind = &self.custom_key_store_type;
            return Err(fault::unsupported(format!("Custom key stores of type {kind} are not supported.")));
        }
        let of_cluster = self.cloud_hsm_cluster_id.is_some()
            || self.trust_anchor_certificate.is_some()
            || self.key_store_password.is_some();
        if of_cluster {
            let text = "CloudHsmClusterId, TrustAnchorCertificate and KeyStorePassword are valid only with a \
                        CustomKeyStoreType of AWS_CLOUDHSM.";
            return Err(fault::validation(text));
        }
        for (member, given) in [
            ("xksProxyUriEndpoint", self.xks_proxy_uri_endpoint.is_some()),
            ("xksProxyUriPath", self.xks_proxy_uri_path.is_some()),
            ("xksProxyAuthenticationCredential", self.xks_proxy_authentication_credential.is_some()),
            ("xksProxyConnectivity", self.xks_proxy_connectivity.is_some()),
        ] {
            if !given {
                return Err(fault::missing(member));
            }
        }
        check_address(self.xks_proxy_uri_endpoint.as_deref(), self.xks_proxy_uri_path.as_deref())?;
        check_vpc(self.xks_proxy_connectivity, self.xks_proxy_vpc_endpoint_service_name.as_deref())
    }
}

impl Operation for CreateCustomKeyStore {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "CreateCustomKeyStore";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &[
        "CloudHsmClusterId",
        "CustomKeyStoreName",
        "CustomKeyStoreType",
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
        request.check()
    }

    fn asks(_: &Kms, call: &Call, _: &Request, (): &()) -> Vec<Ask> {
        vec![ask_of(call, "kms:CreateCustomKeyStore", "*")]
    }

    async fn act(kms: &Kms, call: &Call, request: Request, _: Authorized<()>) -> Result<Response, Fault> {
        let credential = request.xks_proxy_authentication_credential;
        let credential = credential.ok_or_else(|| fault::missing("xksProxyAuthenticationCredential"))?;
        let mut random = [0; 16];
        SystemEntropy.fill(&mut random);
        let store = KeyStore {
            name: KeyStoreName::from_random(call.account().clone(), call.region.clone(), random),
            label: request.custom_key_store_name,
            endpoint: request.xks_proxy_uri_endpoint.unwrap_or_default(),
            path: request.xks_proxy_uri_path.unwrap_or_default(),
            access_key_id: credential.access_key_id,
            connection: Connection::Disconnected,
            created: call.now,
        };
        let link = Arc::new(kms.proxies.link(call.now));
        let store = Store { store, secret: credential.raw_secret_access_key, link };
        check_room(kms, &store.store)?;
        store.check_health(kms, call, Self::NAME).await.map_err(fault::bad_proxy)?;
        let mut change = kms.begin(&call.event_id).await?;
        // The proxy was asked meanwhile.
        check_room(kms, &store.store)?;
        let custom_key_store_id = store.store.name.id.clone();
        change.put_store(store).await?;
        change.commit().await?;
        Ok(Response { custom_key_store_id })
    }

    fn recorded_response(response: &Response) -> Option<Value> {
        Some(json!({"CustomKeyStoreId": response.custom_key_store_id}))
    }
}

/// Checks that there may be one more, of this name and address.
fn check_room(kms: &Kms, store: &KeyStore) -> Result<(), Fault> {
    check_unique(kms, store)?;
    let most = kms.quotas.custom_key_stores;
    if kms.key_stores_in(&store.name.account, &store.name.region).len() >= most {
        return Err(fault::limit(format!("An account can have {most} custom key stores in a region.")));
    }
    Ok(())
}
