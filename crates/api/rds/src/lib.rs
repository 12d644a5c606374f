//! The RDS API over sealed PostgreSQL clusters: one file an operation under `ops/`, desired state in SQL (`records/`), and
//! the reconciler that makes it so (`reconcile/`). Source: spec/rds.md.
//!
//! INVARIANT: a volume key is handed to a process only while the gate of its cluster is held and the record says that access
//! to the KMS key is held; losing access is decided behind the same gate ([`Rds::key_changed`]). So no process keeps or gets
//! a key after access was found lost.

mod access;
mod answers;
mod encryption;
mod engines;
mod faults;
mod forward;
mod gauges;
mod keys;
mod live;
mod names;
mod observer;
mod ops;
mod reconcile;
mod records;
mod request;
mod seal;
mod service;
mod settings;
mod upkeep;
mod volume_keys;

pub use engines::{Engine, discover};
pub use gauges::VolumeMetrics;
pub use keys::{Answer, Authority, EncryptionContext, GrantRequest, KeyDescription, KeyFault, KeyService};
pub use ops::operations;
pub use reconcile::{RenewalFault, RenewalWish, Step, StepFault};
pub use seal::{Sealer, Unsealable};
pub use service::{Doors, Rds};
pub use settings::Settings;
pub use upkeep::SealedVolume;
pub use volume::VolumeKey;
