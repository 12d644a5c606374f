//! `kms:VerifyMac` (spec/kms.md §5): whether a code is that of a message; one that is not is an error.
//! Grantable, across accounts. Trail: management event, read; neither message nor code is recorded.

use envelope::mac;
use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Blob, Fault, ServiceId};

use crate::{fault, mac::Wanted, registry::Kms, target::Target};

const ACTION: &str = "kms:VerifyMac";

/// Verifies the code of a message.
pub struct VerifyMac;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(flatten)]
    wanted: Wanted,
    mac: Blob,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    key_id: String,
    mac_algorithm: String,
    /// Never false.
    mac_valid: bool,
}

impl Operation for VerifyMac {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "VerifyMac";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["KeyId", "MacAlgorithm"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        request.wanted.resolve(kms, call, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, request: &Request, target: &Target) -> Vec<Ask> {
        vec![request.wanted.ask(kms, call, ACTION, target)]
    }

    async fn act(_: &Kms, _: &Call, request: Request, target: Authorized<Target>) -> Result<Response, Fault> {
        let Request { wanted, mac } = request;
        let (hash, key) = wanted.key(&target, Self::NAME)?;
        mac::verify(hash, key, &wanted.message.0, &mac.0)
            .map_err(|_| Fault::bare("KMSInvalidMacException"))?;
        if wanted.dry_run {
            return Err(fault::dry_run());
        }
        Ok(Response { key_id: target.arn(), mac_algorithm: wanted.mac_algorithm, mac_valid: true })
    }
}
