//! A volume that is attached: device, loop device and file system, and the ways to let go of them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::device::{BlockDevice, SECTOR};
use crate::error::{AttachError, Tried};
use crate::fuse::{self, Carrier, DeviceFile, Serving, Transport};
use crate::fuser_transport::FuserTransport;
use crate::keeper::{Detach, Keeper, PATIENCE, Places};
use crate::locked::Aborter;
use crate::namespace;
use crate::support::kernel_support;
use crate::uring_transport::UringTransport;
use crate::xfs;

/// How a volume is attached.
#[derive(Clone, Debug)]
pub struct MountOptions {
    /// Threads that serve the device; at least 1.
    pub workers: usize,
    /// Give a blank device a file system with blocks of 8 KiB. Without, or where the kernel cannot mount that,
    /// they have 4 KiB.
    pub large_blocks: bool,
    /// Carry requests over io_uring where the kernel offers it ([`crate::Support::fuse_uring`]); otherwise, and
    /// without, over `/dev/fuse`.
    pub uring: bool,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self { workers: 4, large_blocks: true, uring: true }
    }
}

/// An attached volume. Dropping it cuts it off as [`Mounted::abort`] does.
///
/// Files of the volume are for other processes: a thread of this one that waits for the file system could not be
/// killed while it keeps the connection open that it waits for.
pub struct Mounted {
    mount: PathBuf,
    block_size: u32,
    carrier: Carrier,
    device: DeviceFile,
    aborter: Aborter,
    /// Taken by [`Mounted::unmount`].
    running: Option<(Keeper, Serving)>,
}

impl fmt::Debug for Mounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mounted")
            .field("mount", &self.mount)
            .field("block_size", &self.block_size)
            .field("carrier", &self.carrier)
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
        let device = DeviceFile::new(device, aborter.clone());
        let transport: &dyn Transport = if options.uring { &UringTransport } else { &FuserTransport };
        let attached = transport
            .serve(connection, device.clone(), options.workers.max(1), &aborter)
            .tried(|| "serve the device".into())
            .and_then(|serving| {
                let (keeper, block_size) =
                    Keeper::attach(places, size, content, options.large_blocks, aborter.clone())?;
                Ok((keeper, serving, block_size))
            });
        match attached {
            Ok((keeper, serving, block_size)) => {
                let carrier = serving.carrier;
                Ok(Self { mount, block_size, carrier, device, aborter, running: Some((keeper, serving)) })
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

    /// What carries the kernel's requests.
    #[must_use]
    pub fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// For how long a request of the file system has been waiting for space on the host; `None` if none does. Such
    /// requests are repeated until there is space; meanwhile others are served, as far as they need no flush.
    #[must_use]
    pub fn waiting_for_space(&self) -> Option<Duration> {
        self.device.hold().longest()
    }

    /// Makes the file system as large as the device, after that has grown ([`BlockDevice::size`]). Safe to repeat; what
    /// a crash leaves undone is done by the next [`Mounted::mount`]. Waits for the device.
    ///
    /// # Errors
    /// [`AttachError::Size`] if the device has no whole sectors, or the kernel sees it smaller;
    /// [`AttachError::System`] if the kernel refuses; [`AttachError::Aborted`] if the volume is not attached any more.
    pub fn grow(&self) -> Result<(), AttachError> {
        let Some((keeper, serving)) = &self.running else { return Err(AttachError::Aborted) };
        let size = self.device.size();
        if !size.is_multiple_of(SECTOR as u64) {
            return Err(AttachError::Size { size });
        }
        serving.attributes_changed().tried(|| "tell the kernel that the device has grown".into())?;
        keeper.grow(size)
    }

    /// Unmounts in order and returns when the kernel has let go of everything and the serving threads have
    /// ended. After [`Mounted::abort`] it waits for what the kernel still holds.
    ///
    /// # Errors
    /// [`AttachError::Busy`] if files stay open for seconds: the volume is cut off then, as after a crash.
    /// [`AttachError::Aborted`] if it was cut off meanwhile: by another thread, or because the host has no space for
    /// what is written. [`AttachError::Held`] if the kernel does
    /// not let go, because a process still uses files of a volume that was cut off.
    pub fn unmount(mut self) -> Result<(), AttachError> {
        let Some((keeper, serving)) = self.running.take() else { return Ok(()) };
        // What waits for space would make the kernel wait, too.
        self.device.hold().end_after(PATIENCE);
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
