//! `kms:DeleteCustomKeyStore`: a key store without keys goes; nothing happens to the proxy or its keys. Trail:
//! management event, write.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use crate::{fault, key_store::find, registry::Kms, target::ask_of};

/// Deletes a key store.
pub struct DeleteCustomKeyStore;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    custom_key_store_id: String,
}

#[derive(Serialize)]
pub struct Response {}

impl Operation for DeleteCustomKeyStore {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "DeleteCustomKeyStore";
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
        vec![ask_of(call, "kms:DeleteCustomKeyStore", "*")]
    }

    async fn act(kms: &Kms, call: &Call, request: Request, _: Authorized<()>) -> Result<Response, Fault> {
        let mut change = kms.begin(&call.event_id).await?;
        let store = find(kms, call, &request.custom_key_store_id)?;
        if !kms.keys_of_store(&store.store.name).is_empty() {
            return Err(fault::store_has_keys());
        }
        store.store.check_disconnected().map_err(|_| fault::wrong_connection())?;
        change.delete_store(store.store.name.clone()).await?;
        change.commit().await?;
        Ok(Response {})
    }
}
