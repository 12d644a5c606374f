//! `kms:DescribeKey` (spec/kms.md §5): everything about a key but its material. Grantable, across accounts.
//! Trail: management event, read.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use crate::{
    metadata::KeyMetadata,
    registry::Kms,
    target::{Accept, Target, ask, granted, resolve},
    token,
};

const ACTION: &str = "kms:DescribeKey";

/// Tells about a key.
pub struct DescribeKey;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
    #[serde(default)]
    grant_tokens: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    key_metadata: KeyMetadata,
}

impl Operation for DescribeKey {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "DescribeKey";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["KeyId"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        token::check(kms, call, &request.grant_tokens)?;
        resolve(kms, call, &request.key_id, Accept::KeysAndAliases, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, _: &Request, target: &Target) -> Vec<Ask> {
        let by_grant = granted(kms, call, target.name(), |user, grant| {
            grant.allows(user, "DescribeKey", &Default::default())
        });
        vec![ask(kms, call, ACTION, target).granted(by_grant)]
    }

    async fn act(kms: &Kms, _: &Call, _: Request, target: Authorized<Target>) -> Result<Response, Fault> {
        Ok(Response { key_metadata: KeyMetadata::of(kms, target.key()) })
    }
}
