//! The KMS API: one file an operation under `ops/`, over an in-memory registry that is loaded from SQL at start
//! and changed only after SQL was. Source: spec/kms.md.

mod fault;
mod ops;
mod page;
mod registry;
mod rows;
mod target;
mod work;

pub use ops::operations;
pub use registry::{KeyChange, Kms, LoadError};
pub use work::run_due;
