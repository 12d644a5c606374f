//! Custody of the root key: where it comes from, and sealing under it.
//!
//! The root key wraps every secret of the state store. It is kept in a file that only its owner can read, or
//! made from a passphrase by Argon2id. Losing it loses every key: `docs/recipes/root-key.md`.

mod file;
mod source;

use envelope::{DoesNotOpen, RootKey, SecretBytes, SystemEntropy, sealed};

pub use file::Error;
pub use source::Source;

const PURPOSE: &[u8] = b"strongroom/state/v1";

/// The opened root key.
#[derive(Debug)]
pub struct Custody(RootKey);

impl Custody {
    /// Makes a new root key and keeps it as `source` says.
    ///
    /// # Errors
    /// [`Error::Exists`] rather than overwriting a key.
    pub fn create(source: &Source) -> Result<Self, Error> {
        file::create(source).map(Self::locked)
    }

    /// Opens the root key.
    ///
    /// # Errors
    /// [`Error`] says what is wrong with the file or the passphrase; nothing is written.
    pub fn open(source: &Source) -> Result<Self, Error> {
        file::open(source).map(Self::locked)
    }

    /// Keeps the key's page out of swap, where the system lets us.
    fn locked(key: RootKey) -> Self {
        let bytes = key.expose();
        // SAFETY: the address and length are those of the key's own allocation, which this value owns.
        let locked = unsafe { nix::sys::mman::mlock(std::ptr::NonNull::from(bytes).cast(), bytes.len()) };
        if let Err(errno) = locked {
            tracing::warn!(%errno, "the root key's memory could not be locked: use encrypted swap or none");
        }
        Self(key)
    }

    /// Seals a secret for a place in the state store, such as `kms/material/<key>/<material>`; it opens
    /// nowhere else.
    pub fn seal(&self, place: &str, plaintext: &[u8]) -> Vec<u8> {
        sealed::seal(self.0.expose(), PURPOSE, place.as_bytes(), plaintext, &SystemEntropy)
    }

    /// Opens what was sealed for a place.
    ///
    /// # Errors
    /// [`DoesNotOpen`].
    pub fn open_sealed(&self, place: &str, sealed: &[u8]) -> Result<SecretBytes, DoesNotOpen> {
        sealed::open(self.0.expose(), PURPOSE, place.as_bytes(), sealed)
    }
}
