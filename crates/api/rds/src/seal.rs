//! Sealing under the server's own root key: master passwords until they are set, and the volume keys of clusters that
//! have no KMS key (`sse-rds`).

use zeroize::Zeroizing;

/// The sealed bytes cannot be opened: wrong root key, wrong place, or changed bytes.
#[derive(Clone, Debug, thiserror::Error)]
#[error("what was sealed for {place} cannot be opened: {detail}")]
pub struct Unsealable {
    pub place: String,
    pub detail: String,
}

/// Seals secrets for the state store. `custody` is behind it.
pub trait Sealer: Send + Sync {
    /// Seals for a place; only the same place opens it again.
    fn seal(&self, place: &str, plaintext: &[u8]) -> Vec<u8>;

    /// Opens what was sealed for the place.
    ///
    /// # Errors
    /// [`Unsealable`].
    fn open(&self, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unsealable>;
}
