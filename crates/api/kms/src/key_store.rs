//! Custom key stores in memory, what of a request makes one, and what their operations share.

use std::sync::Arc;

use front::Call;
use ids::Timestamp;
use kms::{KeyStore, KeyStoreName};
use serde::Deserialize;
use wire::{Fault, Secret};
use xks::{Failure, Link, Place, RequestMetadata, names_a_host};

use crate::{fault, registry::Kms};

/// The one version of the proxy API.
const VERSION: &str = "/kms/xks/v1";

/// A key store with what is needed to use it.
#[derive(Debug)]
pub struct Store {
    pub store: KeyStore,
    /// Signs the requests to its proxy.
    pub secret: Secret,
    /// The same for as long as the server runs.
    pub link: Arc<Link>,
}

impl Store {
    /// Where and how its proxy is called.
    pub fn place(&self, now: Timestamp) -> Place<'_> {
        Place {
            endpoint: &self.store.endpoint,
            path: &self.store.path,
            access_key_id: &self.store.access_key_id,
            secret: &self.secret,
            region: &self.store.name.region,
            link: &self.link,
            now,
        }
    }

    /// Asks the proxy whether it is there and takes the signature.
    ///
    /// # Errors
    /// [`Failure`]
    pub async fn check_health(&self, kms: &Kms, call: &Call, operation: &'static str) -> Result<(), Failure> {
        let (kms_operation, kms_request_id) = (operation, call.request_id.clone());
        let metadata = RequestMetadata { kms_operation, kms_request_id, ..RequestMetadata::default() };
        kms.proxies.health(self.place(call.now), &metadata).await
    }
}

/// `XksProxyAuthenticationCredential`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Credential {
    pub access_key_id: String,
    pub raw_secret_access_key: Secret,
}

/// `XksProxyConnectivity`
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Connectivity {
    PublicEndpoint,
    VpcEndpointService,
}

/// Finds a key store of the caller's account.
///
/// # Errors
/// `CustomKeyStoreNotFoundException`
pub fn find(kms: &Kms, call: &Call, id: &str) -> Result<Arc<Store>, Fault> {
    let name =
        KeyStoreName { account: call.account().clone(), region: call.region.clone(), id: id.to_owned() };
    let store = kms.key_store(&name).ok_or_else(fault::no_store)?;
    call.adds("customKeyStoreName", store.store.label.as_str());
    Ok(store)
}

/// The store as a change finds it, if nothing has happened to it since a call looked at it.
///
/// # Errors
/// `CustomKeyStoreInvalidStateException`
pub fn unchanged(kms: &Kms, seen: &Arc<Store>) -> Result<(), Fault> {
    match kms.key_store(&seen.store.name) {
        Some(now) if Arc::ptr_eq(&now, seen) => Ok(()),
        Some(_) => Err(fault::wrong_connection()),
        None => Err(fault::no_store()),
    }
}

/// Checks where a proxy is to be.
///
/// # Errors
/// `ValidationException` for an address instead of a host name, and for a version of the API that there is not.
pub fn check_address(endpoint: Option<&str>, path: Option<&str>) -> Result<(), Fault> {
    if let Some(endpoint) = endpoint.filter(|endpoint| !names_a_host(endpoint)) {
        let rule = "Member must be https:// and a fully qualified domain name";
        return Err(fault::constraint(&format!("'{endpoint}'"), "xksProxyUriEndpoint", rule));
    }
    if let Some(path) = path.filter(|path| !path.ends_with(VERSION)) {
        let rule = format!("Member must end with {VERSION}");
        return Err(fault::constraint(&format!("'{path}'"), "xksProxyUriPath", &rule));
    }
    Ok(())
}

/// Checks that no other store of the account has the name or the address of one that is to be.
///
/// # Errors
/// `CustomKeyStoreNameInUseException` and `XksProxyUriInUseException`
pub fn check_unique(kms: &Kms, wanted: &KeyStore) -> Result<(), Fault> {
    for other in kms.key_stores_in(&wanted.name.account, &wanted.name.region) {
        let other = &other.store;
        if other.name == wanted.name {
            continue;
        }
        if other.label == wanted.label {
            return Err(fault::store_name_in_use());
        }
        if other.same_address(wanted) {
            return Err(fault::proxy_in_use());
        }
    }
    Ok(())
}

/// A proxy that is to be reached through a VPC endpoint service: there are none here.
///
/// # Errors
/// Always `XksProxyVpcEndpointServiceNotFoundException`, but for a request that names no service.
pub fn check_vpc(connectivity: Option<Connectivity>, service: Option<&str>) -> Result<(), Fault> {
    match (connectivity, service.filter(|service| !service.is_empty())) {
        (Some(Connectivity::VpcEndpointService), None) => {
            Err(fault::missing("xksProxyVpcEndpointServiceName"))
        }
        (Some(Connectivity::PublicEndpoint), Some(_)) => Err(fault::validation(
            "XksProxyVpcEndpointServiceName is valid only with an XksProxyConnectivity of VPC_ENDPOINT_SERVICE.",
        )),
        (_, Some(_)) => Err(fault::no_vpc_service()),
        (_, None) => Ok(()),
    }
}
