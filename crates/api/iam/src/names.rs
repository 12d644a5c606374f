//! Ids, ARNs and secrets of IAM (spec/policy.md §12).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use envelope::SystemEntropy;
use ids::{AccountId, Entropy as _};
use wire::Secret;
use zeroize::Zeroizing;

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Bytes whose base64 has the 40 characters of a secret access key.
const SECRET_BYTES: usize = 30;

/// A unique id: a prefix that tells the kind (`AIDA` of a user), and 17 characters.
pub fn unique_id(prefix: &str) -> String {
    random_id(prefix, 17)
}

/// `AKIA` and 16 characters.
pub fn access_key_id() -> String {
    random_id("AKIA", 16)
}

/// The id of a session's access key: `ASIA` and 16 characters.
pub fn session_key_id() -> String {
    random_id("ASIA", 16)
}

/// A session token: 128 characters that mean nothing to anybody else.
pub fn session_token() -> Secret {
    let mut bytes = Zeroizing::new([0; 96]);
    SystemEntropy.fill(&mut *bytes);
    Secret::new(STANDARD.encode(*bytes))
}

fn random_id(prefix: &str, length: usize) -> String {
    let mut bytes = vec![0; length];
    SystemEntropy.fill(&mut bytes);
    let letters = bytes.iter().map(|byte| char::from(BASE32[usize::from(byte % 32)]));
    prefix.chars().chain(letters).collect()
}

/// A secret access key: 40 characters, 240 random bits.
pub fn secret_access_key() -> Secret {
    let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
    SystemEntropy.fill(&mut *bytes);
    Secret::new(STANDARD.encode(*bytes))
}

/// `arn:aws:iam::111122223333:user/ops/dba`; the path begins and ends with a slash.
pub fn arn(account: &AccountId, kind: &str, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:{kind}{path}{name}")
}

/// Names that differ in case only are the same name.
pub fn folded(name: &str) -> String {
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_secrets_have_the_lengths_of_aws() {
        let id = unique_id("AIDA");
        assert_eq!(id.len(), 21);
        assert!(id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()));
        assert_eq!(access_key_id().len(), 20);
        assert_eq!(secret_access_key().expose().len(), 40);
        assert_ne!(secret_access_key().expose(), secret_access_key().expose());
    }
}
