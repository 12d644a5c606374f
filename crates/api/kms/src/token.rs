//! Grant tokens: 16 random bytes and the id of a grant in base64. Opaque to callers, no secret, and of no
//! effect of their own: a grant is in force as soon as it is there (spec/kms.md §11).

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use envelope::SystemEntropy;
use front::Call;
use ids::Entropy as _;
use kms::Grant;
use wire::Fault;

use crate::registry::Kms;

const RANDOM: usize = 16;
/// Bytes of the id of a grant.
const ID: usize = 32;

/// A new id for a grant: 64 hex digits.
pub fn new_grant_id() -> String {
    let mut id = [0; ID];
    SystemEntropy.fill(&mut id);
    hex::encode(id)
}

/// A token for a grant; no two are alike.
pub fn new_token(grant_id: &str) -> String {
    let mut bytes = vec![0; RANDOM];
    SystemEntropy.fill(&mut bytes);
    bytes.extend(hex::decode(grant_id).unwrap_or_default());
    STANDARD.encode(bytes)
}

/// The id of the grant that a token is for.
///
/// # Errors
/// `InvalidGrantTokenException` for what is no token.
fn grant_of(token: &str) -> Result<String, Fault> {
    let bytes = STANDARD.decode(token).ok().filter(|bytes| bytes.len() == RANDOM + ID);
    bytes.map(|bytes| hex::encode(&bytes[RANDOM..])).ok_or_else(invalid)
}

/// The grant of a token, in the region of a call.
///
/// # Errors
/// `InvalidGrantTokenException`
pub fn granted(kms: &Kms, call: &Call, token: &str) -> Result<Arc<Grant>, Fault> {
    let grant = kms.grant(&grant_of(token)?).filter(|grant| grant.key.region == call.region);
    grant.ok_or_else(invalid)
}

/// Tokens that come with a use of a key only have to be ours.
///
/// # Errors
/// As [`granted`].
pub fn check(kms: &Kms, call: &Call, tokens: &[String]) -> Result<(), Fault> {
    tokens.iter().try_for_each(|token| granted(kms, call, token).map(drop))
}

/// The answer to a token of no grant.
fn invalid() -> Fault {
    Fault::client("InvalidGrantTokenException", "The grant token is not valid.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_grant_and_nothing_else_is_one() {
        let id = new_grant_id();
        assert_eq!(id.len(), 64);
        let token = new_token(&id);
        assert_eq!(grant_of(&token), Ok(id.clone()));
        assert_ne!(new_token(&id), token);
        for bad in ["", "x", "AAAA", "ä"] {
            assert_eq!(grant_of(bad).unwrap_err().code, "InvalidGrantTokenException");
        }
    }
}
