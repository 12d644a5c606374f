//! `kms:GenerateRandom` (spec/kms.md §4): 1 to 1024 random bytes. Trail: management event, read.

use envelope::{SecretBytes, SystemEntropy};
use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::{Blob, Fault, ServiceId};

use crate::{fault, key_store, registry::Kms, target::ask_of};

/// Makes random bytes.
pub struct GenerateRandom;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    number_of_bytes: Option<usize>,
    custom_key_store_id: Option<String>,
    recipient: Option<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    plaintext: Blob,
}

impl Operation for GenerateRandom {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "GenerateRandom";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["CustomKeyStoreId", "NumberOfBytes"];
    type State = Kms;
    type Request = Request;
    /// How many bytes.
    type Target = usize;
    type Response = Response;

    async fn resolve(_: &Kms, _: &Call, request: &Request) -> Result<usize, Fault> {
        fault::no_recipient(request.recipient.as_ref())?;
        request.number_of_bytes.ok_or_else(|| fault::validation("NumberOfBytes is required."))
    }

    fn asks(_: &Kms, call: &Call, _: &Request, _: &usize) -> Vec<Ask> {
        vec![ask_of(call, "kms:GenerateRandom", "*")]
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        request: Request,
        length: Authorized<usize>,
    ) -> Result<Response, Fault> {
        if let Some(id) = &request.custom_key_store_id {
            key_store::find(kms, call, id)?;
            return Err(fault::unsupported("An external key store has no random bytes."));
        }
        let plaintext = Blob(SecretBytes::generate(*length, &SystemEntropy).take());
        Ok(Response { plaintext })
    }
}
