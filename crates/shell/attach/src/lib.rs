//! Attaching a volume: a one-file FUSE device, a loop device on it, XFS on that, in a mount namespace of its own
//! (`design.md` §7), and the files of a volume beneath it.

mod device;
mod volume_device;

pub use device::{BlockDevice, SECTOR};
pub use volume_device::{Options, Stats, VolumeDevice, VolumeError};
