//! The key chain of SigV4 and the signing of requests (for tests, benchmarks and clients of our own).

use std::fmt;

use aws_lc_rs::hmac;
use ids::Timestamp;
use zeroize::Zeroizing;

use super::{ALGORITHM, Request, canonical};

/// The key of one day, region and service, derived from a secret access key.
pub struct SigningKey(hmac::Key);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(redacted)")
    }
}

impl SigningKey {
    /// HMAC chain `AWS4` + secret → date → region → service → `aws4_request`.
    pub fn derive(secret: &str, date: &str, region: &str, service: &str) -> Self {
        let start = Zeroizing::new(format!("AWS4{secret}"));
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, start.as_bytes());
        for part in [date, region, service, "aws4_request"] {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        }
        Self(key)
    }

    /// Constant-time check of a signature.
    pub(super) fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.0, text, signature).is_ok()
    }
}

/// Signs a request with the headers it has (names in lower case, `host` and `x-amz-date` among them) and
/// returns the value of its `Authorization` header.
pub fn sign(
    request: &Request<'_>,
    access_key_id: &str,
    secret: &str,
    region: &str,
    service: &str,
    now: Timestamp,
) -> String {
    let signed_at = now.basic();
    let date = &signed_at[..8];
    let mut names: Vec<String> = request.headers.iter().map(|(name, _)| name.clone()).collect();
    names.sort();
    names.dedup();
    let canonical = canonical::request(request, &names, false);
    let scope = format!("{date}/{region}/{service}/aws4_request");
    let to_sign = canonical::string_to_sign(&signed_at, &scope, &canonical);
    let key = SigningKey::derive(secret, date, region, service);
    let signature = hex::encode(hmac::sign(&key.0, to_sign.as_bytes()));
    format!(
        "{ALGORITHM} Credential={access_key_id}/{scope}, SignedHeaders={}, Signature={signature}",
        names.join(";")
    )
}
