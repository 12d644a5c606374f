//! Requests and answers of the proxy API, and what of an answer must hold.

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use wire::Blob;

use crate::failure::Failure;

const ALGORITHM: &str = "AES_GCM";
const INTEGRITY: &str = "SHA_256";
const IV_LENGTHS: [usize; 2] = [12, 16];
const TAG: usize = 16;
const MOST_METADATA: usize = 20;
/// Most key managers that a proxy may tell of, and most usages of a key.
const MOST_ENTRIES: usize = 10;

/// Who makes the call of KMS that makes the call of the proxy.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestMetadata {
    /// `aws:PrincipalArn`, or the name of a service. Not of a health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws_principal_arn: Option<String>,
    /// The KMS key, if there is one yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_arn: Option<String>,
    pub kms_operation: &'static str,
    pub kms_request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_via_service: Option<String>,
}

/// The body of GetHealthStatus and GetKeyMetadata.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Plain<'a> {
    pub request_metadata: &'a RequestMetadata,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EncryptRequest<'a> {
    request_metadata: &'a RequestMetadata,
    additional_authenticated_data: Blob,
    plaintext: Blob,
    encryption_algorithm: &'static str,
    ciphertext_data_integrity_value_algorithm: &'static str,
}

impl<'a> EncryptRequest<'a> {
    pub(crate) fn new(request_metadata: &'a RequestMetadata, plaintext: &[u8], aad: &[u8]) -> Self {
        Self {
            request_metadata,
            additional_authenticated_data: Blob(aad.to_vec()),
            plaintext: Blob(plaintext.to_vec()),
            encryption_algorithm: ALGORITHM,
            ciphertext_data_integrity_value_algorithm: INTEGRITY,
        }
    }
}

/// What an external key makes of a plaintext, and needs to make it again.
#[derive(Clone, Debug)]
pub struct Ciphertext {
    pub bytes: Vec<u8>,
    /// At most 20 bytes of the proxy's own.
    pub metadata: Vec<u8>,
    /// 12 or 16 bytes.
    pub iv: Vec<u8>,
    pub tag: [u8; TAG],
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EncryptResponse {
    ciphertext: Blob,
    ciphertext_metadata: Option<Blob>,
    initialization_vector: Blob,
    authentication_tag: Blob,
    ciphertext_data_integrity_value: Blob,
}

impl EncryptResponse {
    /// The ciphertext, if it has the lengths that it must have and its integrity value is that of what was asked for.
    pub(crate) fn check(self, plaintext: &[u8], aad: &[u8]) -> Result<Ciphertext, Failure> {
        let metadata = self.ciphertext_metadata.map(Blob::take).unwrap_or_default();
        let tag = self.authentication_tag.0.as_slice().try_into().map_err(|_| Failure::Malformed)?;
        let made = Ciphertext {
            bytes: self.ciphertext.take(),
            metadata,
            iv: self.initialization_vector.take(),
            tag,
        };
        let fits = made.bytes.len() == plaintext.len()
            && made.metadata.len() <= MOST_METADATA
            && IV_LENGTHS.contains(&made.iv.len());
        if fits && self.ciphertext_data_integrity_value.0 == integrity_value(aad, &made) {
            Ok(made)
        } else {
            Err(Failure::Malformed)
        }
    }
}

/// `ciphertextDataIntegrityValue` (appendix C of the specification).
fn integrity_value(aad: &[u8], made: &Ciphertext) -> Vec<u8> {
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in [aad, &made.metadata, &made.iv, &made.bytes, &made.tag] {
        hash.update(part);
    }
    hash.finish().as_ref().to_vec()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DecryptRequest<'a> {
    request_metadata: &'a RequestMetadata,
    additional_authenticated_data: Blob,
    encryption_algorithm: &'static str,
    ciphertext: Blob,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext_metadata: Option<Blob>,
    initialization_vector: Blob,
    authentication_tag: Blob,
}

impl<'a> DecryptRequest<'a> {
    pub(crate) fn new(request_metadata: &'a RequestMetadata, ciphertext: Ciphertext, aad: &[u8]) -> Self {
        let Ciphertext { bytes, metadata, iv, tag } = ciphertext;
        Self {
            request_metadata,
            additional_authenticated_data: Blob(aad.to_vec()),
            encryption_algorithm: ALGORITHM,
            ciphertext: Blob(bytes),
            ciphertext_metadata: (!metadata.is_empty()).then_some(Blob(metadata)),
            initialization_vector: Blob(iv),
            authentication_tag: Blob(tag.to_vec()),
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct DecryptResponse {
    pub plaintext: Blob,
}

/// What GetKeyMetadata tells of an external key.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ExternalKeyMetadata {
    pub key_spec: String,
    pub key_usage: Vec<String>,
    pub key_status: String,
}

impl ExternalKeyMetadata {
    pub(crate) fn check(self) -> Result<Self, Failure> {
        let few = self.key_usage.len() <= MOST_ENTRIES;
        let short = |text: &String| text.len() <= 64 && text.chars().all(|c| c.is_ascii_graphic());
        let all = [&self.key_spec, &self.key_status].into_iter().chain(&self.key_usage).all(short);
        let status = matches!(self.key_status.as_str(), "ENABLED" | "DISABLED");
        if few && all && status { Ok(self) } else { Err(Failure::Malformed) }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "what must be there, and is of no use here")]
pub(crate) struct Health {
    xks_proxy_fleet_size: u64,
    xks_proxy_vendor: String,
    xks_proxy_model: String,
    ekm_vendor: String,
    ekm_fleet_details: Vec<KeyManager>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "what must be there, and is of no use here")]
struct KeyManager {
    id: String,
    model: String,
    health_status: HealthStatus,
}

#[derive(Deserialize, Eq, PartialEq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum HealthStatus {
    Active,
    Degraded,
    Unavailable,
}

impl Health {
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let managers = &self.ekm_fleet_details;
        if managers.is_empty() || managers.len() > MOST_ENTRIES {
            return Err(Failure::Malformed);
        }
        let works = managers.iter().any(|manager| manager.health_status != HealthStatus::Unavailable);
        if works { Ok(()) } else { Err(Failure::Unhealthy) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The example of the specification: 33 bytes of associated data, 12 of plaintext.
    const AAD: &[u8] = b"project=nile,department=marketing";

    fn example() -> Value {
        json!({
            "authenticationTag": "vBxN2ncH1oEkR8WVXpmyYQ==",
            "ciphertext": "ghxkK1txeDNn3q8Y",
            "ciphertextDataIntegrityValue": "qHA/ImC9h5HsLRXqCyPmWgYx7tzyoTplzILbP0fPXsc=",
            "ciphertextMetadata": "a2V5X3ZlcnNpb249MQ==",
            "initializationVector": "HMrlRw85cAJUd5Ax",
        })
    }

    fn checked(answer: Value) -> Result<Ciphertext, Failure> {
        let answer: EncryptResponse = serde_json::from_value(answer).map_err(|_| Failure::Malformed)?;
        answer.check(b"Hello World!", AAD)
    }

    #[test]
    fn the_integrity_value_is_that_of_the_specification() {
        let made = checked(example()).unwrap();
        assert_eq!(
            (made.metadata.as_slice(), made.iv.len(), made.bytes.len()),
            (&b"key_version=1"[..], 12, 12)
        );
    }

    #[test]
    fn an_answer_with_anything_changed_or_missing_is_none() {
        let names: Vec<String> = example().as_object().unwrap().keys().cloned().collect();
        for name in names {
            for value in [json!("AAAA"), json!("no base64"), json!(7), Value::Null] {
                let mut changed = example();
                changed[&name] = value;
                assert_eq!(checked(changed).unwrap_err(), Failure::Malformed, "{name}");
            }
            let mut without = example();
            without.as_object_mut().unwrap().remove(&name);
            assert_eq!(checked(without).unwrap_err(), Failure::Malformed, "{name}");
        }
    }

    #[test]
    fn the_requests_are_those_of_the_specification() {
        let metadata = RequestMetadata {
            aws_principal_arn: Some("arn:aws:iam::123456789012:user/Alice".into()),
            kms_key_arn: Some("arn:aws:kms:us-east-2:123456789012:key/1".into()),
            kms_operation: "Encrypt",
            kms_request_id: "4112f4d6".into(),
            kms_via_service: None,
        };
        let request = serde_json::to_value(EncryptRequest::new(&metadata, b"Hello World!", AAD)).unwrap();
        let told = json!({
            "awsPrincipalArn": "arn:aws:iam::123456789012:user/Alice",
            "kmsKeyArn": "arn:aws:kms:us-east-2:123456789012:key/1",
            "kmsOperation": "Encrypt", "kmsRequestId": "4112f4d6",
        });
        assert_eq!(
            request,
            json!({
                "requestMetadata": told, "additionalAuthenticatedData": "cHJvamVjdD1uaWxlLGRlcGFydG1lbnQ9bWFya2V0aW5n",
                "plaintext": "SGVsbG8gV29ybGQh", "encryptionAlgorithm": "AES_GCM",
                "ciphertextDataIntegrityValueAlgorithm": "SHA_256",
            })
        );
        let request = DecryptRequest::new(&metadata, checked(example()).unwrap(), AAD);
        assert_eq!(
            serde_json::to_value(request).unwrap(),
            json!({
                "requestMetadata": told, "additionalAuthenticatedData": "cHJvamVjdD1uaWxlLGRlcGFydG1lbnQ9bWFya2V0aW5n",
                "encryptionAlgorithm": "AES_GCM", "ciphertext": "ghxkK1txeDNn3q8Y",
                "ciphertextMetadata": "a2V5X3ZlcnNpb249MQ==", "initializationVector": "HMrlRw85cAJUd5Ax",
                "authenticationTag": "vBxN2ncH1oEkR8WVXpmyYQ==",
            })
        );
    }

    #[test]
    fn health_needs_one_key_manager_that_works() {
        let health = |states: &[&str]| {
            let managers: Vec<Value> =
                states.iter().map(|s| json!({"id": "1", "model": "m", "healthStatus": s})).collect();
            let answer = json!({
                "xksProxyFleetSize": 2, "xksProxyVendor": "v", "xksProxyModel": "m", "ekmVendor": "e",
                "ekmFleetDetails": managers,
            });
            serde_json::from_value::<Health>(answer).map_err(|_| Failure::Malformed)?.check()
        };
        assert_eq!(health(&["UNAVAILABLE", "DEGRADED"]), Ok(()));
        assert_eq!(health(&["UNAVAILABLE", "UNAVAILABLE"]), Err(Failure::Unhealthy));
        for malformed in [&[][..], &["ACTIVE"; 11], &["FINE"]] {
            assert_eq!(health(malformed), Err(Failure::Malformed));
        }
    }
}
