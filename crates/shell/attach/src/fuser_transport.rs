//! The transport over `/dev/fuse` by the `fuser` crate: one thread and one cloned descriptor a worker.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{SendError, Sender, channel};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyOpen, ReplyStatfs, ReplyWrite, Request,
    Session, SessionACL, WriteFlags,
};
use zeroize::Zeroizing;

use crate::device::SECTOR;
use crate::fuse::{Carrier, DeviceFile, MAX_BACKGROUND, MAX_TRANSFER, OPEN_FLAGS, Serving, Transport, errno};
use crate::locked::Aborter;
use crate::memory::mark_io_thread;

pub(crate) struct FuserTransport;

impl Transport for FuserTransport {
    fn serve(
        &self,
        connection: OwnedFd,
        file: DeviceFile,
        workers: usize,
        _: &Aborter,
    ) -> io::Result<Serving> {
        let (session, _) = open_session(connection, file, workers, false)?;
        let notifier = session.notifier();
        let run = move || {
            // The workers inherit it.
            if !mark_io_thread() {
                tracing::warn!("without CAP_SYS_RESOURCE, serving can hang in a memory cgroup that is full");
            }
            session.run()
        };
        let thread = thread::Builder::new().name("device".into()).spawn(run)?;
        Ok(Serving { thread, carrier: Carrier::Device, notifier })
    }
}

/// Answers the kernel's INIT. With `offer_uring`, also returns whether the kernel wants to go on over io_uring: then it
/// holds requests back until each of its queues has a buffer, or one was refused. What stays on `/dev/fuse` is the
/// session's.
pub(crate) fn open_session(
    connection: OwnedFd,
    file: DeviceFile,
    workers: usize,
    offer_uring: bool,
) -> io::Result<(Session<Answers>, bool)> {
    let mut config = Config::default();
    config.acl = SessionACL::All; // the kernel already admits root only
    config.n_threads = Some(workers);
    config.clone_fd = true;
    let over_uring = Arc::new(AtomicBool::new(false));
    let (held, writes) = channel::<HeldWrite>();
    let holder = file.clone();
    // Ends with the session, which has the other end of the channel.
    thread::Builder::new().name("held".into()).spawn(move || {
        let _ = mark_io_thread();
        writes.iter().for_each(|write| write.finish(&holder));
    })?;
    let answers = Answers { file, offer_uring, over_uring: Arc::clone(&over_uring), held };
    let session = Session::from_fd(answers, connection, SessionACL::All, config)?;
    Ok((session, over_uring.load(Relaxed)))
}

/// The attributes never change by themselves. Who asks for the state of any loop device of the machine would otherwise
/// wait for this process.
pub(crate) const FOREVER: Duration = Duration::from_secs(1 << 30);

/// The kernel's own default, bytes. Nothing is read ahead in a file without a cache.
const MAX_READAHEAD: u32 = 128 << 10;

thread_local! {
    /// Where a READ is answered from; as large as the largest. It holds pages of the database in the clear, so it
    /// is wiped with its thread.
    static ANSWER: RefCell<Zeroizing<Vec<u8>>> = RefCell::new(Zeroizing::new(vec![0; MAX_TRANSFER as usize]));
}

pub(crate) struct Answers {
    file: DeviceFile,
    offer_uring: bool,
    over_uring: Arc<AtomicBool>,
    held: Sender<HeldWrite>,
}

impl Filesystem for Answers {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Without asynchronous direct I/O the loop device would have one request under way at a time.
        config
            .add_capabilities(InitFlags::FUSE_ASYNC_DIO)
            .map_err(|_| io::Error::new(io::ErrorKind::Unsupported, "no asynchronous direct I/O in FUSE"))?;
        let limits = [
            config.set_max_write(MAX_TRANSFER).is_ok(),
            config.set_max_background(MAX_BACKGROUND).is_ok(),
            config.set_congestion_threshold(MAX_BACKGROUND).is_ok(),
        ];
        if limits.contains(&false) {
            return Err(io::Error::from_raw_os_error(libc::EPROTO));
        }
        // A larger readahead would make the kernel's largest request, and so each buffer, larger than a transfer.
        let _ = config.set_max_readahead(MAX_READAHEAD);
        let uring = InitFlags::FUSE_OVER_IO_URING;
        self.over_uring.store(self.offer_uring && config.add_capabilities(uring).is_ok(), Relaxed);
        Ok(())
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let size = self.file.size();
        reply.attr(
            &FOREVER,
            &FileAttr {
                ino,
                size,
                blocks: size / 512,
                atime: UNIX_EPOCH,
                mtime: UNIX_EPOCH,
                ctime: UNIX_EPOCH,
                crtime: UNIX_EPOCH,
                kind: FileType::RegularFile,
                perm: 0o600,
                nlink: 1,
                uid: 0,
                gid: 0,
                rdev: 0,
                blksize: SECTOR as u32,
                flags: 0,
            },
        );
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::from_bits_retain(OPEN_FLAGS));
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        ANSWER.with_borrow_mut(|answer| match answer.get_mut(..size as usize) {
            None => reply.error(Errno::EINVAL),
            Some(buffer) => match self.file.read(offset, buffer) {
                Ok(()) => reply.data(buffer),
                Err(error) => reply.error(Errno::from_i32(errno(&error))),
            },
        });
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let length = data.len();
        match self.file.take_over(offset, data) {
            Ok(()) => self.file.answer_when_durable(Box::new(move |done| answer_write(length, done, reply))),
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                let held = HeldWrite { offset, bytes: Zeroizing::new(data.to_vec()), reply };
                if let Err(SendError(held)) = self.held.send(held) {
                    held.finish(&self.file);
                }
            }
            Err(error) => answer_write(length, Err(error), reply),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.error(Errno::from_i32(self.file.fsync(|| ()).raw_os_error().unwrap_or(libc::EIO)));
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        answer(reply, self.file.fallocate(offset, length, mode, || ()));
    }

    /// The loop device takes the block size as the granularity of its discards.
    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let sector = SECTOR as u32;
        reply.statfs(self.file.size() / u64::from(sector), 0, 0, 1, 0, sector, 0, sector);
    }
}

/// A write that waits for space, so that the worker that it came to can serve others.
struct HeldWrite {
    offset: u64,
    bytes: Zeroizing<Vec<u8>>,
    reply: ReplyWrite,
}

impl HeldWrite {
    fn finish(self, file: &DeviceFile) {
        let done = file.write(self.offset, &self.bytes, || ());
        answer_write(self.bytes.len(), done, self.reply);
    }
}

fn answer_write(length: usize, done: io::Result<()>, reply: ReplyWrite) {
    match done {
        Ok(()) => reply.written(length as u32),
        Err(error) => reply.error(Errno::from_i32(errno(&error))),
    }
}

fn answer(reply: ReplyEmpty, result: io::Result<()>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(Errno::from_i32(errno(&error))),
    }
}
