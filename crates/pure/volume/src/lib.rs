//! The volume: a sealed block device as an append-only log (`design.md` §7, `docs/volume-format.md`). Pure: no
//! threads, no clock, no files; those come in as [`Segments`] and `ids::Entropy`.
//!
//! ```text
//! write ─► batch ─► group (sealed, one durable write) ─► entries ─► tree (at a checkpoint)
//! read  ─► the newest of these that knows the block
//! ```

mod anchor;
mod aside;
mod buffer;
mod check;
mod checkpoint;
mod cleaner;
mod commit;
mod copy;
mod error;
mod finding;
mod group;
mod header;
mod keys;
mod layout;
mod log;
mod merge;
mod overlay;
#[cfg(feature = "fuzzing")]
pub mod parsers;
mod read;
mod reader;
mod renew;
mod replay;
mod salvage;
mod scrub;
mod secret;
mod segments;
mod snapshot;
mod space;
mod state;
mod survey;
mod tree;
mod volume;
mod walk;
mod write;

pub use anchor::{ANCHOR, Anchor};
pub use buffer::AlignedBuffer;
pub use check::check;
pub use checkpoint::SLOT;
pub use copy::copy_resealed;
pub use error::VolumeError;
pub use finding::{Finding, Flaw, Observe, Observed, Progress};
pub use header::{Epoch, Generation, Header, MAX_HEADER, VERSION};
pub use layout::{ALIGN, BLOCK, Entry, Place, Position, SECTOR, SEGMENT, TAG, Tag};
pub use reader::{LiveRanges, Reader};
pub use renew::wrapped_keys;
pub use salvage::{LogEnd, Salvaged, Target, salvage};
pub use scrub::Scrub;
pub use secret::{Keys, VolumeKey};
pub use segments::Segments;
pub use snapshot::{Image, WrappedKey, clone_header};
pub use volume::{Options, Usages, Volume};
