//! A volume that is attached: device, loop device and file system, and the ways to let go of them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::device::{BlockDevice, SECTOR};
use crate::error::{AttachError, Tried};
use crate::fuse::{self, DeviceFile, Serving, Transport};
use crate::fuser_transport::FuserTransport;
use crate::keeper::{Detach, Keeper, Places};
use crate::locked::Aborter;
use crate::namespace;
use crate::support::kernel_support;
use crate::xfs;

/// How a volume is attached.
#[derive(Clone, Debug)]
pub struct MountOptions {
    /// Threads that serve the device; at least 1.
    pub workers: usize,
    /// Give a blank device a file system with blocks of 8 KiB. Without, or where the kernel cannot mount that,
    /// they have 4 KiB.
    pub large_blocks: bool,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self { workers: 4, large_blocks: true }
    }
}

/// An attached volume. Dropping it cuts it off as [`Mounted::abort`] does.
///
/// Files of the volume are for other processes: a thread of this one that waits for the file system could not be
/// killed while it keeps the connection open that it waits for.
pub struct Mounted {
    mount: PathBuf,
    block_size: u32,
    aborter: Aborter,
    /// Taken by [`Mounted::unmount`].
    running: Option<(Keeper, Serving)>,
}

impl fmt::Debug for Mounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mounted")
            .field("mount", &self.mount)
            .field("block_size", &self.block_size)
            .field("aborter", &self.aborter)
            .finish_non_exhaustive()
    }
}

impl Mounted {
    /// Serves `device` as the file `dir/device` and mounts the file system on it at `dir/mount`. A blank device
    /// is formatted; a file system that was not unmounted recovers.
    ///
    /// # Errors
    /// [`AttachError::NotPrivate`] before [`crate::enter_private_namespace`]; [`AttachError::Unsupported`] if the
    /// system lacks something; [`AttachError::NotXfs`] if the device holds something else. Nothing stays behind.
    pub fn mount(
        device: Arc<dyn BlockDevice>,
        dir: &Path,
        options: &MountOptions,
    ) -> Result<Self, AttachError> {
        namespace::require_private()?;
        if let Some(missing) = kernel_support().missing() {
            return Err(AttachError::Unsupported(missing));
        }
        let size = device.size();
        if size == 0 || !size.is_multiple_of(SECTOR as u64) {
            return Err(AttachError::Size { size });
        }
        // Read here: the keeper's thread could not, as it has none of the files that the device may use.
        let content = xfs::content(device.as_ref())?;
        let dir = fs::canonicalize(dir).tried(|| format!("find {}", dir.display()))?;
        let places = Places::under(&dir);
        let mount = places.mount.clone();
        fuse::ensure_target(&places.device)?;
        let connection = fuse::mount_file(&places.device)?;
        // From here on dropping it takes the device down again.
        let aborter = Aborter::new(places.device.clone());
        let attached = FuserTransport
            .serve(connection, DeviceFile::new(device), options.workers.max(1))
            .tried(|| "serve the device".into())
            .and_then(|serving| {
                let (keeper, block_size) =
                    Keeper::attach(places, content, options.large_blocks, aborter.clone())?;
                Ok((keeper, serving, block_size))
            });
        match attached {
            Ok((keeper, serving, block_size)) => {
                Ok(Self { mount, block_size, aborter, running: Some((keeper, serving)) })
            }
            Err(error) => {
                aborter.abort();
                Err(error)
            }
        }
    }

    /// Where the file system is mounted, for this process and its children.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Bytes of a block of the file system. With 8192 the kernel never writes back half a page of PostgreSQL, so
    /// `full_page_writes` may be off.
    #[must_use]
    pub fn block_size(&self) -> u32 {
        self.block_size
    }

    /// Unmounts in order and returns when the kernel has let go of everything and the serving threads have
    /// ended. After [`Mounted::abort`] it waits for what the kernel still holds.
    ///
    /// # Errors
    /// [`AttachError::Busy`] if files stay open for seconds: the volume is cut off then, as after a crash.
    /// [`AttachError::Aborted`] if another thread cut it off meanwhile. [`AttachError::Held`] if the kernel does
    /// not let go, because a process still uses files of a volume that was cut off.
    pub fn unmount(mut self) -> Result<(), AttachError> {
        let Some((keeper, serving)) = self.running.take() else { return Ok(()) };
        let was_cut = self.aborter.is_aborted();
        keeper.order(if was_cut { Detach::Cut } else { Detach::Orderly });
        let detached = keeper.join();
        if self.aborter.is_aborted() {
            // A worker may hang in the device for ever; it serves nobody any more.
            return detached;
        }
        detached.and_then(|()| serving.join())
    }

    /// Cuts the volume off: all its I/O fails from now on, mounts and loop device go in the background.
    /// Never waits, not even for a device that hangs. Safe to repeat.
    pub fn abort(&self) {
        self.aborter.abort();
        if let Some((keeper, _)) = &self.running {
            keeper.order(Detach::Cut);
        }
    }

    /// A handle that cuts the volume off from elsewhere.
    #[must_use]
    pub fn aborter(&self) -> Aborter {
        self.aborter.clone()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.abort();
        }
    }
}
