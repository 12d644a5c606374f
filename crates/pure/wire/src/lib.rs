//! The protocols of AWS, bytes to typed values and back: AWS JSON 1.1, Query with XML answers, SigV4.
//!
//! The shapes of every operation are AWS's own service models (`models/`, cut from the botocore package
//! by `tools/models.py`). Input is checked against them before anything else sees it: required members,
//! types, lengths, ranges, patterns and enumerations. Source: spec/kms.md §1, spec/policy.md §10 and §11.

mod blob;
mod fault;
pub mod json;
mod model;
pub mod query;
pub mod sigv4;
mod validation;
mod xml;

pub use blob::{Blob, Secret, wipe};
pub use fault::{Audience, Fault};
pub use model::{Model, OperationModel, Protocol, ServiceId, Shape, ShapeKind};
pub use validation::validate;
