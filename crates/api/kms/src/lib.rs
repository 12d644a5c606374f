//! The KMS API: one file an operation under `ops/`, over an in-memory registry that is loaded from SQL at
//! start and changed only after SQL was. Source: spec/kms.md.

mod alias;
mod change;
mod ciphertext;
mod create;
mod crypt;
mod data_key;
mod data_key_pair;
mod entries;
mod external;
mod fault;
mod grant_list;
mod import;
mod key_store;
mod mac;
mod material;
mod metadata;
mod ops;
mod page;
mod pair;
mod policy;
mod principal;
mod quotas;
mod registry;
mod rows;
mod signing;
mod tags;
mod target;
mod token;
mod usable;
mod work;

pub use ops::operations;
pub use quotas::Quotas;
pub use registry::{KeyChange, Kms, LoadError};
pub use work::run_due;
