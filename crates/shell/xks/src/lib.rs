//! Calls of external key store proxies: AWS KMS External Key Store Proxy API, version 1.
//!
//! Four operations, JSON over HTTPS, signed with Signature Version 4 for the service `kms-xks-proxy`. What a proxy
//! answers is foreign: bounded in size and time, and checked to the last field before anybody believes it. Plaintexts of
//! callers never go out: what a proxy is given to encrypt is sealed before (envelope, double.rs).
//! Source: github.com/aws/aws-kms-xksproxy-api-spec.

mod address;
mod failure;
mod link;
mod names;
mod proxies;
mod settings;
mod shapes;
mod trust;

pub use address::{is_public, names_a_host};
pub use failure::Failure;
pub use link::Link;
pub use proxies::{Place, Proxies};
pub use settings::{BadSettings, Settings};
pub use shapes::{Ciphertext, ExternalKeyMetadata, RequestMetadata};
