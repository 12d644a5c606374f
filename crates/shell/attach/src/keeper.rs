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
const PATIENCE: Duration = Duration::from_secs(5);

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

/// The running thread.
#[derive(Debug)]
pub(crate) struct Keeper {
    orders: Sender<Detach>,
    thread: JoinHandle<Result<(), AttachError>>,
}

impl Keeper {
    /// Attaches what is served at `places.device` and holds `content`. Returns the block size of the file system.
    pub(crate) fn attach(
        places: Places,
        content: Content,
        large_blocks: bool,
        aborter: Aborter,
    ) -> Result<(Self, u32), AttachError> {
        let (report, attached) = channel();
        let (orders, receiver) = channel();
        let thread = apart::spawn("keeper", move |parted| {
            let outcome = parted
                .tried(|| "part the files of a thread".into())
                .and_then(|()| attach(&places, content, large_blocks));
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
        let _ = self.orders.send(detach);
    }

    /// Waits until the volume is taken apart.
    pub(crate) fn join(self) -> Result<(), AttachError> {
        drop(self.orders);
        self.thread.join().unwrap_or(Err(AttachError::Aborted))
    }
}

fn attach(places: &Places, content: Content, large_blocks: bool) -> Result<(Identity, u32), AttachError> {
    fs::create_dir_all(&places.mount).tried(|| format!("make {}", places.mount.display()))?;
    let backing = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&places.device)
        .tried(|| format!("open {}", places.device.display()))?;
    // From the mount on the file system holds the loop device; this thread keeps neither it nor the file open.
    let loop_device = LoopDevice::configure(&backing, &places.owner)?;
    let block_size = mount_or_format(&loop_device.path(), &places.mount, content, large_blocks)?;
    Ok((loop_device.identity(), block_size))
}

/// Mounts the file system on the device, or makes one with the largest blocks that the kernel mounts.
fn mount_or_format(
    node: &Path,
    target: &Path,
    content: Content,
    large_blocks: bool,
) -> Result<u32, AttachError> {
    let mount = |block_size| match xfs::mount_at(node, target) {
        Err(Errno::ENODEV) => Err(AttachError::Unsupported(Missing::Xfs)),
        mounted => mounted.map(|()| block_size).tried(|| format!("mount the volume at {}", target.display())),
    };
    match content {
        Content::Foreign => Err(AttachError::NotXfs),
        Content::Xfs { block_size } if block_size > xfs::SMALL_BLOCK => match xfs::mount_at(node, target) {
            Err(error) if xfs::is_block_size_refused(error) => {
                Err(AttachError::Unsupported(Missing::LargeBlocks))
            }
            mounted => {
                mounted.map(|()| block_size).tried(|| format!("mount the volume at {}", target.display()))
            }
        },
        Content::Xfs { block_size } => mount(block_size),
        Content::Blank => {
            if large_blocks {
                xfs::format(node, xfs::LARGE_BLOCK)?;
                match xfs::mount_at(node, target) {
                    Ok(()) => return Ok(xfs::LARGE_BLOCK),
                    Err(error) => tracing::warn!(%error, "no file system blocks of 8 KiB on this kernel"),
                }
            }
            xfs::format(node, xfs::SMALL_BLOCK)?;
            mount(xfs::SMALL_BLOCK)
        }
    }
}

fn wait_and_detach(
    orders: &Receiver<Detach>,
    places: &Places,
    identity: Identity,
    aborter: &Aborter,
) -> Result<(), AttachError> {
    let orderly = orders.recv() == Ok(Detach::Orderly);
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
