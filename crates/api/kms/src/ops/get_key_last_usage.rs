//! `kms:GetKeyLastUsage` (spec/kms.md §4): the last successful cryptographic operation with a key. The trail
//! knows it: nothing else is kept of uses. Trail: management event, read.

use audit::Query;
use front::{Ask, Authorized, Call, Effect, Operation};
use ids::Timestamp;
use kms::KeyName;
use serde::{Deserialize, Serialize};
use trail::{Attribute, Record};
use wire::{Fault, ServiceId};

use crate::{
    registry::Kms,
    target::{Accept, Target, ask, resolve},
};

const ACTION: &str = "kms:GetKeyLastUsage";
/// Records that one look into the trail takes.
const BATCH: u32 = 200;
/// The cryptographic operations.
const USES: [&str; 14] = [
    "Decapsulate",
    "Decrypt",
    "DeriveSharedSecret",
    "Encapsulate",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "GenerateDataKeyWithoutPlaintext",
    "GenerateMac",
    "ReEncrypt",
    "Sign",
    "Verify",
    "VerifyMac",
];

/// Tells the last use of a key.
pub struct GetKeyLastUsage;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    key_id: String,
    key_last_usage: Usage,
    tracking_start_date: Timestamp,
    key_creation_date: Timestamp,
}

/// Empty for a key that was never used.
#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Usage {
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cloud_trail_event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kms_request_id: Option<String>,
}

impl Operation for GetKeyLastUsage {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "GetKeyLastUsage";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["KeyId"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        resolve(kms, call, &request.key_id, Accept::OwnKeys, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, _: &Request, target: &Target) -> Vec<Ask> {
        vec![ask(kms, call, ACTION, target)]
    }

    async fn act(kms: &Kms, _: &Call, _: Request, target: Authorized<Target>) -> Result<Response, Fault> {
        let usage = last_use(kms, target.name()).await?.map_or_else(Usage::default, |record| Usage {
            operation: Some(record.event_name),
            timestamp: Some(record.event_time),
            cloud_trail_event_id: Some(record.event_id),
            kms_request_id: record.request_id,
        });
        let created = target.key().created;
        Ok(Response {
            key_id: target.arn(),
            key_last_usage: usage,
            tracking_start_date: created,
            key_creation_date: created,
        })
    }
}

/// The newest record of a successful use; uses by other accounts have a copy for the owner.
async fn last_use(kms: &Kms, key: &KeyName) -> Result<Option<Record>, Fault> {
    let mut query = Query {
        account: key.account.clone(),
        region: Some(key.region.clone()),
        attribute: Some(Attribute::ResourceName(key.to_string())),
        from: None,
        to: None,
        after: None,
        limit: BATCH,
    };
    loop {
        let batch = kms.trail.lookup(&query).await.map_err(Fault::internal)?;
        let Some((_, last)) = batch.last() else { return Ok(None) };
        query.after = Some(*last);
        let is_use = |(record, _): &(Record, _)| {
            record.error_code.is_none() && USES.contains(&record.event_name.as_str())
        };
        if let Some((record, _)) = batch.into_iter().find(is_use) {
            return Ok(Some(record));
        }
    }
}
