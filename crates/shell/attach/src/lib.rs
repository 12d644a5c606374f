//! Attaching a volume: a one-file FUSE device, a loop device on it, XFS on that, in a mount namespace of its own
//! (`design.md` §7), and the files of a volume beneath it.

mod apart;
mod device;
mod durable;
mod error;
mod fuse;
mod fuse_wire;
mod fuser_transport;
mod hold;
mod keeper;
mod leftovers;
mod locked;
mod loopdev;
mod memory;
mod mounted;
mod namespace;
mod pages;
mod segment_files;
mod snapshot_files;
mod spares;
mod support;
mod uring;
mod uring_transport;
mod uring_worker;
mod volume_check;
mod volume_device;
mod volume_reader;
mod xfs;

pub use device::{BlockDevice, SECTOR};
pub use error::{AttachError, Missing};
pub use fuse::Carrier;
pub use leftovers::{clear_leftovers, find_leftovers};
pub use locked::Aborter;
pub use memory::{Hardening, harden_io_process, mark_io_thread};
pub use mounted::{MountOptions, Mounted};
pub use namespace::enter_private_namespace;
pub use snapshot_files::{SnapshotFiles, assemble_snapshot};
pub use support::{Support, kernel_support, offer_fuse_uring};
pub use volume::{Finding, Flaw, LogEnd, Observe, Observed, Progress, Salvaged};
pub use volume_check::{check, salvage};
pub use volume_device::{Anchor, Keys, Options, Stats, VolumeDevice, VolumeError, WrappedKey};
pub use volume_reader::VolumeReader;
