//! The audit trail on disk: an append-only, hash-chained log of CloudTrail records, durable before any answer
//! (`design.md` §5), and an index behind it.
//!
//! INVARIANT: what [`Trail::append`] and its siblings acknowledged is in the log after any crash, unchanged,
//! or opening and reading refuse with the place of the damage. Layout: `frame.rs`, `docs/trail-format.md`.

mod at;
mod error;
mod frame;
mod index;
mod indexer;
mod log;
mod row;
mod segments;
mod writer;

pub use error::Error;
pub use index::{Cursor, Query};
pub use log::{Trail, read_all};
