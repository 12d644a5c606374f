//! What an instance that died may have left, and clearing it.
//!
//! Nothing, as a rule: its mounts vanish with its namespace, and the loop device clears itself. A process that
//! joined the namespace (a postgres that does not die, an operator's shell) can keep both; and a worker that is
//! stuck in the kernel keeps `/dev/fuse` open, and with it everybody waiting who waits for the volume.

use std::path::{Path, PathBuf};
use std::{fs, io};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

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

/// Clears what a dead instance left of the volume that it had attached under `dir`: it breaks connections, clears
/// loop devices, and unmounts what this process can see. Returns how many loop devices and mounts there were. The
/// caller must know that no instance lives there.
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
            break_connection(device.identity().connection())?;
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

/// Breaks a FUSE connection by its number, through a control file system (`fusectl`) that only this thread sees.
fn break_connection(number: u64) -> Result<(), AttachError> {
    const CONTROL: &str = "/sys/fs/fuse/connections";
    unshare(CloneFlags::CLONE_NEWNS).tried(|| "enter a mount namespace".into())?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
        .and_then(|()| mount(Some("fusectl"), CONTROL, Some("fusectl"), MsFlags::empty(), None::<&str>))
        .tried(|| "mount the control files of FUSE".into())?;
    match fs::write(Path::new(CONTROL).join(number.to_string()).join("abort"), "1") {
        // Gone already: the process that served it has died in order.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        written => written.tried(|| format!("break FUSE connection {number}")),
    }
}

/// As [`crate::Mounted::mount`] names them.
fn places_of(dir: &Path) -> Places {
    Places::under(&dir.canonicalize().unwrap_or_else(|_| dir.into()))
}
