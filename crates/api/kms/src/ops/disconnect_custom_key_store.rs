//! `kms:DisconnectCustomKeyStore`: the keys in the store cannot be used from now on. The proxy is not asked. Trail:
//! management event, write.

use std::sync::Arc;

use front::{Ask, Authorized, Call, Effect, Operation};
use kms::{Connection, KeyStore};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use crate::{
    fault,
    key_store::{Store, find},
    registry::Kms,
    target::ask_of,
};

/// Disconnects a key store from its proxy.
pub struct DisconnectCustomKeyStore;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    custom_key_store_id: String,
}

#[derive(Serialize)]
pub struct Response {}

impl Operation for DisconnectCustomKeyStore {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "DisconnectCustomKeyStore";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["CustomKeyStoreId"];
    type State = Kms;
    type Request = Request;
    type Target = ();
    type Response = Response;

    async fn resolve(_: &Kms, _: &Call, _: &Request) -> Result<(), Fault> {
        Ok(())
    }

    fn asks(_: &Kms, call: &Call, _: &Request, (): &()) -> Vec<Ask> {
        vec![ask_of(call, "kms:DisconnectCustomKeyStore", "*")]
    }

    async fn act(kms: &Kms, call: &Call, request: Request, _: Authorized<()>) -> Result<Response, Fault> {
        let mut change = kms.begin(&call.event_id).await?;
        let old = find(kms, call, &request.custom_key_store_id)?;
        old.store.check_disconnect().map_err(|_| fault::wrong_connection())?;
        let store = KeyStore { connection: Connection::Disconnected, ..old.store.clone() };
        let (secret, link) = (old.secret.clone(), Arc::clone(&old.link));
        change.put_store(Store { store, secret, link }).await?;
        change.commit().await?;
        Ok(Response {})
    }
}
