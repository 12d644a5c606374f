//! The volume: a sealed block device as an append-only log (`design.md` §7). Pure: no threads, no clock, no files.

mod secret;

pub use secret::VolumeKey;
