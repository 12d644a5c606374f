//! The volume: a sealed block device as an append-only log (`design.md` §7, `docs/volume-format.md`). Pure: no
//! threads, no clock, no files; those come in as [`Segments`] and `ids::Entropy`.
//!
//! ```text
//! write ─► batch ─► group (sealed, one durable write) ─► entries ─► tree (at a checkpoint)
//! read  ─► the newest of these that knows the block
//! ```

mod buffer;
mod checkpoint;
mod cleaner;
mod error;
mod group;
mod header;
mod keys;
mod layout;
mod log;
mod merge;
mod overlay;
mod read;
mod replay;
mod secret;
mod segments;
mod snapshot;
mod state;
mod tree;
mod volume;
mod write;

pub use buffer::AlignedBuffer;
pub use checkpoint::SLOT;
pub use error::VolumeError;
pub use header::{Epoch, Generation, Header, MAX_HEADER, VERSION};
pub use layout::{ALIGN, BLOCK, Entry, Place, Position, SECTOR, SEGMENT, TAG, Tag};
pub use secret::VolumeKey;
pub use segments::Segments;
pub use snapshot::{Image, clone_header};
pub use volume::{Options, Usages, Volume};
