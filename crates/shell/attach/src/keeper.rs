//! The thread that attaches a volume, waits, and takes it apart again. It is [`crate::apart`], because each of
//! its system calls may wait for the device.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use crate::apart;
use crate::error::{AttachError, Missing, Tried};
use crate::locked::Aborter;
use crate::loopdev::{Identity, LoopDevice};
use crate::xfs::{self, Content};

/// How long processes that are about to exit are waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Where the parts of an attached volume are.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The directory of the instance; names the loop device's owner.
    pub(crate) owner: PathBuf,
    /// The device file.
    pub(crate) device: PathBuf,
    /// The file system.
    pub(crate) mount: PathBuf,
}

impl Places {
    pub(crate) fn under(dir: &Path) -> Self {
        Self { owner: dir.into(), device: dir.join("device"), mount: dir.join("mount") }
    }
}

/// How to take a volume apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Detach {
    Orderly,
    /// After the connection was broken.
    Cut,
}

/// What the thread is told.
#[derive(Debug)]
enum Order {
    /// The device file has grown to so many bytes; answer when the file system has.
    Grow(u64, Sender<Result<(), AttachError>>),
    Detach(Detach),
}

/// The running thread.
#[derive(Debug)]
pub(crate) struct Keeper {
    orders: Sender<Order>,
    thread: JoinHandle<Result<(), AttachError>>,
}

impl Keeper {
    /// Attaches what is served at `places.device`, has `size` bytes and holds `content`. Returns the block size of the
    /// file system.
    pub(crate) fn attach(
        places: Places,
        size: u64,
        content: Content,
        large_blocks: bool,
        aborter: Aborter,
    ) -> Result<(Self, u32), AttachError> {
        let (report, attached) = channel();
        let (orders, receiver) = channel();
        let thread = apart::spawn("keeper", move |parted| {
            let outcome = parted
                .tried(|| "part the files of a thread".into())
                .and_then(|()| attach(&places, size, content, large_blocks));
            match outcome {
                Ok((identity, block_size)) => {
                    // If nobody listens any more, the order to detach comes as the end of the channel.
                    let _ = report.send(Ok(block_size));
                    wait_and_detach(&receiver, &places, identity, &aborter)
                }
                Err(error) => {
                    let _ = report.send(Err(error));
                    Ok(())
                }
            }
        })
        .tried(|| "start a thread".into())?;
        let block_size = attached.recv().unwrap_or(Err(AttachError::Aborted))?;
        Ok((Self { orders, thread }, block_size))
    }

    /// Gives the order and does not wait.
    pub(crate) fn order(&self, detach: Detach) {
        // A thread that has ended has nothing left to detach.
        let _ = self.orders.send(Order::Detach(detach));
    }

    /// Makes loop device and file system as large as the device file, which has `size` bytes and has told the kernel.
    pub(crate) fn grow(&self, size: u64) -> Result<(), AttachError> {
        let (report, grown) = channel();
        // Nobody answers if the volume is being detached.
        let _ = self.orders.send(Order::Grow(size, report));
        grown.recv().unwrap_or(Err(AttachError::Aborted))
    }

    /// Waits until the volume is taken apart.
    pub(crate) fn join(self) -> Result<(), AttachError> {
        drop(self.orders);
        self.thread.join().unwrap_or(Err(AttachError::Aborted))
    }
}

fn attach(
    places: &Places,
    size: u64,
    content: Content,
    large_blocks: bool,
) -> Result<(Identity, u32), AttachError> {
    fs::create_dir_all(&places.mount).tried(|| format!("make {}", places.mount.display()))?;
    let backing = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&places.device)
        .tried(|| format!("open {}", places.device.display()))?;
    // From the mount on the file system holds the loop device; this thread keeps neither it nor the file open.
    let loop_device = LoopDevice::configure(&backing, &places.owner)?;
    let block_size = mount_or_format(&loop_device.path(), &places.mount, content, large_blocks)?;
    // The device may have grown while it was detached, or just before a crash.
    if let Err(error) = xfs::grow(&places.mount, size) {
        let _ = umount2(&places.mount, MntFlags::MNT_DETACH);
        return Err(error).tried(|| format!("grow the file system at {}", places.mount.display()));
    }
    Ok((loop_device.identity(), block_size))
}

fn grow(places: &Places, identity: Identity, size: u64) -> Result<(), AttachError> {
    // Asked for, the size is no longer the one that the kernel remembers.
    let known = fs::metadata(&places.device).tried(|| format!("look at {}", places.device.display()))?.len();
    if known < size {
        return Err(AttachError::Size { size: known });
    }
    identity.grow().tried(|| "grow the loop device".into())?;
    xfs::grow(&places.mount, size).tried(|| format!("grow the file system at {}", places.mount.display()))
}

/// Mounts the file system on the device, or makes one with the largest blocks that the kernel mounts.
fn mount_or_format(
    node: &Path,
    target: &Path,
    content: Content,
    large_blocks: bool,
) -> Result<u32, AttachError> {
    let system = System {
        mount: &|| xfs::mount_at(node, target),
        format: &|block_size| xfs::format(node, block_size),
        target,
    };
    system.mount_or_format(content, large_blocks)
}

/// What the kernel and `mkfs.xfs` do for one device.
struct System<'a> {
    mount: &'a dyn Fn() -> nix::Result<()>,
    format: &'a dyn Fn(u32) -> Result<(), AttachError>,
    target: &'a Path,
}

impl System<'_> {
    fn mount_or_format(&self, content: Content, large_blocks: bool) -> Result<u32, AttachError> {
        match content {
            Content::Foreign => Err(AttachError::NotXfs),
            Content::Xfs { block_size } => self.mount(block_size),
            Content::Blank => {
                if large_blocks {
                    (self.format)(xfs::LARGE_BLOCK)?;
                    match (self.mount)() {
                        Ok(()) => return Ok(xfs::LARGE_BLOCK),
                        Err(error) => tracing::warn!(%error, "no file system blocks of 8 KiB on this kernel"),
                    }
                }
                (self.format)(xfs::SMALL_BLOCK)?;
                self.mount(xfs::SMALL_BLOCK)
            }
        }
    }

    fn mount(&self, block_size: u32) -> Result<u32, AttachError> {
        match (self.mount)() {
            Err(Errno::ENODEV) => Err(AttachError::Unsupported(Missing::Xfs)),
            Err(error) if block_size > xfs::SMALL_BLOCK && xfs::is_block_size_refused(error) => {
                Err(AttachError::Unsupported(Missing::LargeBlocks))
            }
            mounted => mounted
                .map(|()| block_size)
                .tried(|| format!("mount the volume at {}", self.target.display())),
        }
    }
}

fn wait_and_detach(
    orders: &Receiver<Order>,
    places: &Places,
    identity: Identity,
    aborter: &Aborter,
) -> Result<(), AttachError> {
    let orderly = loop {
        match orders.recv() {
            Ok(Order::Grow(size, report)) => {
                // Who has asked may be gone.
                let _ = report.send(grow(places, identity, size));
            }
            Ok(Order::Detach(detach)) => break detach == Detach::Orderly,
            Err(_) => break false,
        }
    };
    let unmounted = if orderly { xfs::unmount(&places.mount, PATIENCE) } else { Err(Errno::ECANCELED) };
    if unmounted.is_err() {
        // No way back: whoever still has files open must not keep the volume.
        aborter.abort();
        let _ = umount2(&places.mount, MntFlags::MNT_DETACH);
    }
    let released = identity.wait_released(PATIENCE).and_then(|()| release_device(&places.device));
    match unmounted {
        Ok(()) if aborter.is_aborted() => Err(AttachError::Aborted),
        Ok(()) => {
            aborter.disarm();
            released
        }
        Err(Errno::ECANCELED) if !orderly => released,
        Err(Errno::EBUSY) => Err(AttachError::Busy { path: places.mount.clone() }),
        Err(error) => Err(error).tried(|| format!("unmount {}", places.mount.display())),
    }
}

/// Unmounts the device file; the kernel closes the loop device's handle on it a moment after the loop device.
fn release_device(device: &Path) -> Result<(), AttachError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match umount2(device, MntFlags::empty()) {
            // EINVAL: not mounted, because the connection was broken.
            Ok(()) | Err(Errno::EINVAL) => return Ok(()),
            Err(Errno::EBUSY) if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
            Err(error) => return Err(error).tried(|| format!("unmount {}", device.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Tries on a kernel that mounts blocks up to `largest`, and else answers `refusal`; returns what came of it, and
    /// what the device was formatted with in the end.
    fn attach_on(
        largest: u32,
        refusal: Errno,
        content: Content,
        large_blocks: bool,
    ) -> (Result<u32, AttachError>, u32) {
        let on_device = Cell::new(if let Content::Xfs { block_size } = content { block_size } else { 0 });
        let system = System {
            mount: &|| if on_device.get() <= largest { Ok(()) } else { Err(refusal) },
            format: &|block_size| {
                on_device.set(block_size);
                Ok(())
            },
            target: Path::new("/target"),
        };
        (system.mount_or_format(content, large_blocks), on_device.get())
    }

    #[test]
    fn a_kernel_without_large_blocks_gets_small_ones_on_a_blank_device() {
        for refusal in [Errno::ENOSYS, Errno::EINVAL] {
            let (attached, formatted) = attach_on(4096, refusal, Content::Blank, true);
            assert_eq!((attached.ok(), formatted), (Some(4096), 4096));
        }
        let (attached, formatted) = attach_on(8192, Errno::EINVAL, Content::Blank, true);
        assert_eq!((attached.ok(), formatted), (Some(8192), 8192));
        let (attached, formatted) = attach_on(8192, Errno::EINVAL, Content::Blank, false);
        assert_eq!((attached.ok(), formatted), (Some(4096), 4096));
    }

    #[test]
    fn large_blocks_that_are_there_already_are_refused_and_kept() {
        let content = Content::Xfs { block_size: 8192 };
        let (attached, kept) = attach_on(4096, Errno::ENOSYS, content, true);
        assert!(matches!(attached, Err(AttachError::Unsupported(Missing::LargeBlocks))), "{attached:?}");
        assert_eq!(kept, 8192);
    }

    #[test]
    fn a_kernel_without_xfs_is_named_and_damage_is_not_taken_for_it() {
        let content = Content::Xfs { block_size: 4096 };
        let (attached, _) = attach_on(0, Errno::ENODEV, content, true);
        assert!(matches!(attached, Err(AttachError::Unsupported(Missing::Xfs))), "{attached:?}");
        let (attached, _) = attach_on(0, Errno::EUCLEAN, content, true);
        assert!(matches!(attached, Err(AttachError::System { .. })), "{attached:?}");
    }
}
