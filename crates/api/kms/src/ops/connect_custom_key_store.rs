//! `kms:ConnectCustomKeyStore`: asks the proxy whether it is there and works. The keys in the store can be used again,
//! or the store tells why not. Trail: management event, write.

use std::sync::Arc;

use front::{Ask, Authorized, Call, Effect, Operation};
use kms::{Connection, KeyStore};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use crate::{
    fault,
    key_store::{Store, find, unchanged},
    registry::Kms,
    target::ask_of,
};

/// Connects a key store to its proxy.
pub struct ConnectCustomKeyStore;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    custom_key_store_id: String,
}

#[derive(Serialize)]
pub struct Response {}

impl Operation for ConnectCustomKeyStore {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "ConnectCustomKeyStore";
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
        vec![ask_of(call, "kms:ConnectCustomKeyStore", "*")]
    }

    async fn act(kms: &Kms, call: &Call, request: Request, _: Authorized<()>) -> Result<Response, Fault> {
        let old = find(kms, call, &request.custom_key_store_id)?;
        old.store.check_connect().map_err(|_| fault::wrong_connection())?;
        if old.store.connection == Connection::Connected {
            return Ok(Response {});
        }
        let connection = match old.check_health(kms, call, Self::NAME).await {
            Ok(()) => Connection::Connected,
            Err(failure) => match fault::connection_error(failure) {
                Some(error) => Connection::Failed(error),
                None => return Err(fault::bad_proxy(failure)),
            },
        };
        let mut change = kms.begin(&call.event_id).await?;
        // The proxy was asked meanwhile.
        unchanged(kms, &old)?;
        let store = KeyStore { connection, ..old.store.clone() };
        let (secret, link) = (old.secret.clone(), Arc::clone(&old.link));
        change.put_store(Store { store, secret, link }).await?;
        change.commit().await?;
        Ok(Response {})
    }
}
