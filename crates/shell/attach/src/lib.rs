//! Attaching a volume: a one-file FUSE device, a loop device on it, XFS on that, in a mount namespace of its own
//! (`design.md` §7), and the files of a volume beneath it.

mod apart;
mod device;
mod error;
mod fuse;
mod fuser_transport;
mod keeper;
mod leftovers;
mod locked;
mod loopdev;
mod memory;
mod mounted;
mod namespace;
mod segment_files;
mod support;
mod volume_device;
mod xfs;

pub use device::{BlockDevice, SECTOR};
pub use error::{AttachError, Missing};
pub use leftovers::{clear_leftovers, find_leftovers};
pub use locked::Aborter;
pub use memory::{Hardening, harden_io_process, mark_io_thread};
pub use mounted::{MountOptions, Mounted};
pub use namespace::enter_private_namespace;
pub use support::{Support, kernel_support};
pub use volume_device::{Options, Stats, VolumeDevice, VolumeError};
