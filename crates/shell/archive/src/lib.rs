//! Snapshots in an object store: a directory, or anything that speaks S3 (docs/decisions/0520).
//!
//! ```text
//! <prefix>/owner                    sealed: whose store this is
//! <prefix>/segments/<hh>/<sha256>   bytes of a segment, as they are on the disk: sealed blocks
//! <prefix>/manifests/<snapshot>     sealed: header, checkpoint and the segments of one snapshot
//! ```
//!
//! Segments are named by what they hold, so one that several snapshots, volumes or clones share is there once, and a
//! name vouches for its bytes. A snapshot is there when its manifest is, which is written last and only over segments
//! that are durable; nothing is decrypted, and the store learns sizes alone.
//!
//! INVARIANT: every segment that a manifest names is in the store. [`Archive::collect`] removes those that none names,
//! and none that an upload under way counts on ([`pins`]).

mod archive;
mod collect;
mod digest;
mod error;
mod location;
mod manifest;
mod pins;
mod progress;
mod restore;
mod upload;

pub use archive::{Archive, Seal};
pub use collect::Collected;
pub use digest::Digest;
pub use error::ArchiveError;
pub use location::{BadLocation, Location};
pub use manifest::{Malformed, Manifest, Segment};
pub use progress::Progress;

use std::path::PathBuf;

/// A snapshot's files on this machine. Nothing changes them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Files {
    pub header: Vec<u8>,
    pub checkpoint: Vec<u8>,
    /// Number and file of each segment.
    pub segments: Vec<(u32, PathBuf)>,
}
