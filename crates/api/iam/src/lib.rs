//! The IAM and STS APIs: accounts, users with access keys, groups, roles and their sessions, inline and managed
//! policies, permissions boundaries, simulations, over an in-memory registry that is
//! loaded from SQL at start and changed only after SQL was. It is also where every service learns who a caller
//! is and what his policies say ([`front::Directory`]). One file an operation under `ops/`. Source:
//! spec/policy.md §9, §11–§13.

mod account;
mod directory;
mod entity;
mod fault;
mod names;
mod ops;
mod page;
mod policy;
mod position;
mod principal;
mod registry;
mod rows;
mod session;
mod simulation;
mod subject;
mod witness;

pub use account::{CreateError, NewKey};
pub use ops::operations;
pub use registry::{Iam, LoadError};
