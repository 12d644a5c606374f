//! `kms:GenerateMac` (spec/kms.md §5): the code of a message of up to 4096 bytes. Grantable, across accounts.
//! Trail: management event, read; neither message nor code is recorded.

use envelope::mac;
use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Serialize;
use wire::{Blob, Fault, ServiceId};

use crate::{fault, mac::Wanted, registry::Kms, target::Target};

const ACTION: &str = "kms:GenerateMac";

/// Makes the code of a message.
pub struct GenerateMac;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    mac: Blob,
    mac_algorithm: String,
    key_id: String,
}

impl Operation for GenerateMac {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "GenerateMac";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["KeyId", "MacAlgorithm"];
    type State = Kms;
    type Request = Wanted;
    type Target = Target;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, wanted: &Wanted) -> Result<Target, Fault> {
        wanted.resolve(kms, call, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, wanted: &Wanted, target: &Target) -> Vec<Ask> {
        vec![wanted.ask(kms, call, ACTION, target)]
    }

    async fn act(_: &Kms, _: &Call, wanted: Wanted, target: Authorized<Target>) -> Result<Response, Fault> {
        let (hash, key) = wanted.key(&target, Self::NAME)?;
        if wanted.dry_run {
            return Err(fault::dry_run());
        }
        let mac = Blob(mac::generate(hash, key, &wanted.message.0));
        Ok(Response { mac, mac_algorithm: wanted.mac_algorithm, key_id: target.arn() })
    }
}
