//! The mount namespace of the process: what is mounted in it is seen by nobody else and vanishes with it.

use std::fs::{self, File};
use std::sync::OnceLock;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::error::{AttachError, Tried};

/// Keeps the namespace alive until the kernel closes the files of the process.
///
/// INVARIANT: a process that is killed must let go of `/dev/fuse` before its mounts are taken down, because
/// unmounting XFS writes to a device that nobody serves any more, and would wait for ever in the exit of the
/// very task that still has to close `/dev/fuse`. Without this file the last thread drops the namespace first;
/// with it, the namespace goes only after all files of the process are closed, so the writes fail at once.
static LIFELINE: OnceLock<File> = OnceLock::new();

/// Gives the process a mount namespace of its own. What is mounted in it stays in it; what the host mounts or
/// unmounts elsewhere is still followed, so that an instance never pins a file system of the host.
///
/// # Errors
/// If threads run already (they would stay outside), without `CAP_SYS_ADMIN`, or without `/proc`.
pub fn enter_private_namespace() -> Result<(), AttachError> {
    if LIFELINE.get().is_some() {
        return Ok(());
    }
    let threads = fs::read_dir("/proc/self/task").tried(|| "list the threads of the process".into())?.count();
    if threads != 1 {
        return Err(AttachError::NotSingleThreaded { threads });
    }
    unshare(CloneFlags::CLONE_NEWNS).tried(|| "enter a mount namespace".into())?;
    let flags = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .tried(|| "keep mounts from reaching the host".into())?;
    let namespace = File::open("/proc/self/ns/mnt").tried(|| "open the mount namespace".into())?;
    LIFELINE.get_or_init(|| namespace);
    Ok(())
}

/// # Errors
/// Unless [`enter_private_namespace`] was called.
pub(crate) fn require_private() -> Result<(), AttachError> {
    LIFELINE.get().map(|_| ()).ok_or(AttachError::NotPrivate)
}
