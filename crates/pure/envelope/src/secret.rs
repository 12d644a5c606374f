//! Secret types: one for each purpose, so that none stands in for another. Boxed, so that a move copies the
//! pointer and not the key; wiped on drop; no `Clone`, no `==`, no serde.

use std::fmt;

use ids::Entropy;
use zeroize::{Zeroize, ZeroizeOnDrop};

macro_rules! key_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(ZeroizeOnDrop)]
        pub struct $name(Box<[u8; 32]>);

        impl $name {
            /// Fills the key where it will live, so that no unwiped copy stays on the stack.
            pub fn generate(entropy: &dyn Entropy) -> Self {
                let mut key = Self(Box::new([0; 32]));
                entropy.fill(&mut *key.0);
                key
            }

            /// Copies a key out of a buffer that its owner wipes; `None` unless it has 32 bytes.
            pub fn copy_from(bytes: &[u8]) -> Option<Self> {
                let mut key = Self(Box::new([0; 32]));
                if bytes.len() != key.0.len() {
                    return None;
                }
                key.0.copy_from_slice(bytes);
                Some(key)
            }

            /// The only door to the bytes.
            pub fn expose(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    };
}

key_type! {
    /// The key above all others: wraps every secret of the state store.
    RootKey
}
key_type! {
    /// Material of a symmetric KMS key.
    KeyMaterial
}

/// Secret bytes of any length: a plaintext.
#[derive(Default, ZeroizeOnDrop)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes the bytes over; the caller keeps no copy.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Random bytes.
    pub fn generate(length: usize, entropy: &dyn Entropy) -> Self {
        let mut bytes = Self(vec![0; length]);
        entropy.fill(&mut bytes.0);
        bytes
    }

    /// The only door to the bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn expose_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Gives the bytes away to an owner who wipes them.
    pub fn take(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        self.0[length..].zeroize();
        self.0.truncate(length);
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(redacted)")
    }
}
