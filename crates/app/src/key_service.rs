//! The cluster service's door to the key service: the operations of KMS, called inside this process, through
//! the same pipeline as any client's call (`design.md` §2).

use std::{collections::BTreeMap, sync::Arc};

use api_kms::Kms;
use api_rds::{
    Answer, Authority, EncryptionContext, GrantRequest, KeyDescription, KeyFault, KeyService, VolumeKey,
};
use front::{Call, Pipeline, Router, Service};
use ids::{AccountId, Region};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use wire::{Blob, Fault, ServiceId};

/// Answers [`KeyService`] with the KMS of this process.
pub struct LocalKeyService {
    pipeline: Arc<Pipeline>,
    operations: Router,
    kms: Arc<Kms>,
}

impl LocalKeyService {
    /// Over the state of the key service.
    pub fn new(pipeline: Arc<Pipeline>, kms: Arc<Kms>) -> Self {
        let mut operations = Router::default();
        api_kms::operations(&mut operations, Arc::clone(&kms));
        Self { pipeline, operations, kms }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        by: Authority<'_>,
        operation: &str,
        input: Value,
    ) -> Result<T, KeyFault> {
        let now = self.pipeline.clock().now();
        let call = match by {
            Authority::Caller(caller) => caller.forwarded("rds", now),
            Authority::Service { region, account, source_arn } => {
                let service = Service::rds(region, account.clone(), source_arn.map(str::to_owned));
                Call::by_service(service, region.clone(), now)
            }
        };
        let answer = self.operations.call(&self.pipeline, ServiceId::Kms, operation, &call, input).await;
        let answer = answer.map_err(|fault| key_fault(&fault))?;
        let answer: &[u8] = if answer.is_empty() { b"null" } else { &answer };
        serde_json::from_slice(answer).map_err(|error| KeyFault::Failed(format!("{operation}: {error}")))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    key_metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    arn: String,
    key_state: String,
    key_spec: String,
    key_usage: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Granted {
    grant_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wrapped {
    ciphertext_blob: Blob,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Opened {
    plaintext: Blob,
}

impl KeyService for LocalKeyService {
    fn describe<'a>(&'a self, by: Authority<'a>, key: &'a str) -> Answer<'a, KeyDescription> {
        Box::pin(async move {
            let described: Described = self.call(by, "DescribeKey", json!({"KeyId": key})).await?;
            let Metadata { arn, key_state, key_spec, key_usage } = described.key_metadata;
            let symmetric = key_spec == "SYMMETRIC_DEFAULT" && key_usage == "ENCRYPT_DECRYPT";
            // A multi-Region key does everything while it changes places with its primary.
            let enabled = matches!(key_state.as_str(), "Enabled" | "Updating");
            Ok(KeyDescription { arn, enabled, symmetric })
        })
    }

    fn default_key<'a>(&'a self, region: &'a Region, account: &'a AccountId) -> Answer<'a, String> {
        Box::pin(async move {
            let made = self.kms.ensure_managed(account, region).await;
            made.map(|arn| arn.to_string()).map_err(|fault| key_fault(&fault))
        })
    }

    fn create_grant<'a>(
        &'a self,
        by: Authority<'a>,
        key_arn: &'a str,
        grant: GrantRequest,
    ) -> Answer<'a, String> {
        Box::pin(async move {
            let region = match by {
                Authority::Caller(call) => &call.region,
                Authority::Service { region, .. } => region,
            };
            let rds = format!("rds.{region}.amazonaws.com");
            let input = json!({
                "KeyId": key_arn, "GranteePrincipal": rds, "RetiringPrincipal": rds, "Name": grant.name,
                "Operations": GrantRequest::OPERATIONS,
                "Constraints": {"EncryptionContextSubset": grant.context},
            });
            self.call::<Granted>(by, "CreateGrant", input).await.map(|granted| granted.grant_id)
        })
    }

    fn generate_wrapped_key<'a>(
        &'a self,
        by: Authority<'a>,
        key_arn: &'a str,
        context: &'a EncryptionContext,
    ) -> Answer<'a, Vec<u8>> {
        let input = json!({"KeyId": key_arn, "KeySpec": "AES_256", "EncryptionContext": context});
        Box::pin(async move { self.call(by, "GenerateDataKeyWithoutPlaintext", input).await.map(blob) })
    }

    fn encrypt<'a>(
        &'a self,
        by: Authority<'a>,
        key_arn: &'a str,
        plaintext: &'a VolumeKey,
        context: &'a EncryptionContext,
    ) -> Answer<'a, Vec<u8>> {
        Box::pin(async move {
            let plaintext = Blob(plaintext.expose().to_vec());
            let input = json!({"KeyId": key_arn, "Plaintext": plaintext, "EncryptionContext": context});
            self.call(by, "Encrypt", input).await.map(blob)
        })
    }

    fn decrypt<'a>(
        &'a self,
        by: Authority<'a>,
        key_arn: &'a str,
        wrapped: &'a [u8],
        context: &'a EncryptionContext,
    ) -> Answer<'a, VolumeKey> {
        Box::pin(async move {
            let input = json!({"KeyId": key_arn, "CiphertextBlob": Blob(wrapped.to_vec()), "EncryptionContext": context});
            let opened: Opened = self.call(by, "Decrypt", input).await?;
            let key = VolumeKey::copy_from(&opened.plaintext.0);
            key.ok_or_else(|| KeyFault::Refused("the wrapped key is not one of 256 bits".into()))
        })
    }

    fn re_encrypt<'a>(
        &'a self,
        by: Authority<'a>,
        wrapped: &'a [u8],
        from: (&'a str, &'a BTreeMap<String, String>),
        to: (&'a str, &'a BTreeMap<String, String>),
    ) -> Answer<'a, Vec<u8>> {
        Box::pin(async move {
            let input = json!({
                "CiphertextBlob": Blob(wrapped.to_vec()),
                "SourceKeyId": from.0, "SourceEncryptionContext": from.1,
                "DestinationKeyId": to.0, "DestinationEncryptionContext": to.1,
            });
            self.call(by, "ReEncrypt", input).await.map(blob)
        })
    }

    fn retire_grant<'a>(&'a self, by: Authority<'a>, key_arn: &'a str, grant_id: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let input = json!({"KeyId": key_arn, "GrantId": grant_id});
            match self.call::<Option<Value>>(by, "RetireGrant", input).await {
                Ok(_) => Ok(()),
                Err(KeyFault::Refused(text)) if text.starts_with("NotFoundException") => Ok(()),
                Err(fault) => Err(fault),
            }
        })
    }
}

fn blob(wrapped: Wrapped) -> Vec<u8> {
    // A wrapped key is no secret.
    wrapped.ciphertext_blob.0.clone()
}

/// Faults of ours, and of a proxy before an external key, say nothing about the key; everything else is an answer.
fn key_fault(fault: &Fault) -> KeyFault {
    if fault.status >= 500 || fault.transient {
        KeyFault::Failed(fault.to_string())
    } else {
        KeyFault::Refused(fault.to_string())
    }
}
