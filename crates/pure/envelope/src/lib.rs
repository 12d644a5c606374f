//! Envelope encryption: secret types, sealing, the ciphertext blob and the encryption context. Primitives come
//! from aws-lc alone. Source: spec/kms.md §12, `design.md` §2.

pub mod blob;
mod context;
mod entropy;
mod material;
pub mod sealed;
mod secret;

pub use context::{EncryptionContext, canonical};
pub use entropy::SystemEntropy;
pub use material::material_id;
pub use sealed::DoesNotOpen;
pub use secret::{KeyMaterial, RootKey, SecretBytes};
