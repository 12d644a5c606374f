//! What an instance that died may have left, and clearing it.
//!
//! Nothing, as a rule: its mounts vanish with its namespace, and the loop device clears itself. A process that
//! joined the namespace (a postgres that does not die, an operator's shell) can keep both.

use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};

use crate::apart;
use crate::error::{AttachError, Tried};
use crate::keeper::Places;
use crate::loopdev;

/// The loop devices that still hold a volume which was attached under `dir`.
///
/// # Errors
/// If the kernel's list cannot be read.
pub fn find_leftovers(dir: &Path) -> Result<Vec<PathBuf>, AttachError> {
    let places = places_of(dir);
    Ok(loopdev::owned_by(&places.owner)?.iter().map(loopdev::LoopDevice::path).collect())
}

/// Clears what a dead instance left of the volume that it had attached under `dir`: loop devices, and mounts
/// that this process can see. Returns how many there were. The caller must know that no instance lives there.
///
/// # Errors
/// If the kernel refuses; safe to repeat.
pub fn clear_leftovers(dir: &Path) -> Result<usize, AttachError> {
    let places = places_of(dir);
    let clear = move |parted: std::io::Result<()>| {
        parted.tried(|| "part the files of a thread".into())?;
        let mut cleared = 0;
        for target in [&places.mount, &places.device] {
            while umount2(target, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH).is_ok() {
                cleared += 1;
            }
        }
        for device in loopdev::owned_by(&places.owner)? {
            device.clear().tried(|| format!("clear {}", device.path().display()))?;
            cleared += 1;
        }
        Ok(cleared)
    };
    apart::spawn("leftovers", clear)
        .tried(|| "start a thread".into())?
        .join()
        .unwrap_or(Err(AttachError::Aborted))
}

/// As [`crate::Mounted::mount`] names them.
fn places_of(dir: &Path) -> Places {
    Places::under(&dir.canonicalize().unwrap_or_else(|_| dir.into()))
}
