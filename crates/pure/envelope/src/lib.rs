//! Envelope encryption: secret types, sealing, the ciphertext blob and the encryption context; MACs and pairs of
//! keys. Primitives come from aws-lc alone. Source: spec/kms.md §6, §12, `design.md` §2.

pub mod blob;
mod context;
pub mod double;
mod entropy;
mod hash;
pub mod mac;
mod material;
mod pair;
pub mod sealed;
mod secret;
mod wrapped;

pub use context::{EncryptionContext, canonical};
pub use entropy::SystemEntropy;
pub use hash::Hash;
pub use material::material_id;
pub use pair::{
    BadKey, Disagreement, Encapsulated, Message, Oaep, PairSpec, PrivateKey, SigningAlgorithm, Unsigned,
};
pub use sealed::DoesNotOpen;
pub use secret::{KeyMaterial, RootKey, SecretBytes};
pub use wrapped::{Wrapping, unwrap};
