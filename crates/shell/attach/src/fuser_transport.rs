//! The transport over `/dev/fuse` by the `fuser` crate: one thread and one cloned descriptor a worker.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyOpen, ReplyStatfs, ReplyWrite, Request,
    Session, SessionACL, WriteFlags,
};
use zeroize::Zeroizing;

use crate::device::SECTOR;
use crate::fuse::{DeviceFile, MAX_BACKGROUND, MAX_TRANSFER, Serving, Transport};
use crate::memory::mark_io_thread;

pub(crate) struct FuserTransport;

impl Transport for FuserTransport {
    fn serve(&self, connection: OwnedFd, file: DeviceFile, workers: usize) -> io::Result<Serving> {
        let mut config = Config::default();
        config.acl = SessionACL::All; // the kernel already admits root only
        config.n_threads = Some(workers);
        config.clone_fd = true;
        let session = Session::from_fd(Answers(file), connection, SessionACL::All, config)?;
        let run = move || {
            // The workers inherit it.
            if !mark_io_thread() {
                tracing::warn!("without CAP_SYS_RESOURCE, serving can hang in a memory cgroup that is full");
            }
            session.run()
        };
        Ok(Serving(thread::Builder::new().name("device".into()).spawn(run)?))
    }
}

/// Nothing about the file ever changes but its content, which is not cached.
const FOREVER: Duration = Duration::from_secs(1 << 30);

thread_local! {
    /// Where a READ is answered from; as large as the largest. It holds pages of the database in the clear, so it
    /// is wiped with its thread.
    static ANSWER: RefCell<Zeroizing<Vec<u8>>> = RefCell::new(Zeroizing::new(vec![0; MAX_TRANSFER as usize]));
}

struct Answers(DeviceFile);

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
        Ok(())
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let size = self.0.size();
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
        // Closing a file makes nothing durable here, so the kernel need not tell (NOFLUSH).
        let flags = FopenFlags::FOPEN_DIRECT_IO
            | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES
            | FopenFlags::FOPEN_NOFLUSH;
        reply.opened(FileHandle(0), flags);
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
            Some(buffer) => match self.0.read(offset, buffer) {
                Ok(()) => reply.data(buffer),
                Err(error) => reply.error(errno(&error)),
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
        match self.0.write(offset, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer(reply, self.0.flush());
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
        answer(reply, self.0.fallocate(offset, length, mode));
    }

    /// The loop device takes the block size as the granularity of its discards.
    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let sector = SECTOR as u32;
        reply.statfs(self.0.size() / u64::from(sector), 0, 0, 1, 0, sector, 0, sector);
    }
}

fn answer(reply: ReplyEmpty, result: io::Result<()>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno(&error)),
    }
}

/// `ENOSYS` would make the kernel believe that the operation does not exist and never ask again; a later FSYNC
/// would then succeed without reaching the device.
fn errno(error: &io::Error) -> Errno {
    match error.raw_os_error() {
        None | Some(libc::ENOSYS) => Errno::EIO,
        Some(number) => Errno::from_i32(number),
    }
}
