//! The volume: a sealed block device as an append-only log (`design.md` §7). Pure: no threads, no clock, no files.

mod error;
mod secret;

pub use error::VolumeError;
pub use secret::VolumeKey;
