//! The store in the tree of files, by the `fuser` crate. The kernel keeps nothing: no names, no attributes, no pages.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::OpenOptions,
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::Mutex,
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fuser::{
    BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, Session, SessionACL,
    TimeOrNow, WriteFlags,
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::{control::Shared, directories::Inode, disk::Disk, faults::Operation};

const BLOCK: u32 = 4096;
const NEVER: Duration = Duration::ZERO;
const WORKERS: usize = 4;

/// A mounted store.
pub struct Mount {
    target: PathBuf,
    serving: JoinHandle<io::Result<()>>,
}

impl Mount {
    pub fn new(shared: Shared, target: &Path) -> io::Result<Self> {
        let connection = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
        let options = format!(
            "fd={},rootmode={:o},user_id=0,group_id=0,allow_other,default_permissions",
            connection.as_raw_fd(),
            libc::S_IFDIR | 0o755
        );
        let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOATIME;
        mount(Some("lossy-store"), target, Some("fuse.lossy-store"), flags, Some(options.as_str()))?;
        let mut config = Config::default();
        config.acl = SessionACL::All;
        config.n_threads = Some(WORKERS);
        config.clone_fd = true;
        let store = Store { shared, listings: Mutex::default() };
        let session = Session::from_fd(store, connection.into(), SessionACL::All, config)?;
        let serving = thread::Builder::new().name("store".into()).spawn(move || session.run())?;
        Ok(Self { target: target.into(), serving })
    }

    /// Takes the store out of the tree, and waits for those who use it.
    pub fn end(self) {
        if umount2(&self.target, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH).is_ok() {
            let _ = self.serving.join();
        }
    }
}

struct Store {
    shared: Shared,
    listings: Mutex<Listings>,
}

/// What open directories showed when they were opened.
#[derive(Default)]
struct Listings {
    opened: BTreeMap<u64, Vec<(OsString, Inode)>>,
    last: u64,
}

impl Store {
    fn disk(&self) -> std::sync::MutexGuard<'_, Disk> {
        self.shared.disk()
    }

    /// The store, once an operation has waited as long as it should.
    fn slowly(&self, operation: Operation) -> std::sync::MutexGuard<'_, Disk> {
        let delay = self.disk().delay(operation);
        if delay > Duration::ZERO {
            thread::sleep(delay);
        }
        self.disk()
    }
}

fn attributes(disk: &Disk, inode: Inode) -> io::Result<FileAttr> {
    let node = disk.node(inode)?;
    let kind = match node.mode & libc::S_IFMT {
        libc::S_IFDIR => FileType::Directory,
        libc::S_IFSOCK => FileType::Socket,
        libc::S_IFIFO => FileType::NamedPipe,
        _ => FileType::RegularFile,
    };
    let links = if kind == FileType::Directory { 2 } else { node.links };
    let size = node.content.as_ref().map_or(0, |content| content.size());
    Ok(FileAttr {
        ino: INodeNo(inode),
        size,
        blocks: node.content.as_ref().map_or(0, |content| content.allocated() / 512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm: (node.mode & 0o7777) as u16,
        nlink: links,
        uid: node.owner.0,
        gid: node.owner.1,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    })
}

fn number(error: &io::Error) -> Errno {
    Errno::from_i32(error.raw_os_error().unwrap_or(libc::EIO))
}

fn answer(reply: ReplyEmpty, result: io::Result<()>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(number(&error)),
    }
}

fn answer_entry(reply: ReplyEntry, disk: &Disk, made: io::Result<Inode>) {
    match made.and_then(|inode| attributes(disk, inode)) {
        Ok(found) => reply.entry(&NEVER, &found, Generation(0)),
        Err(error) => reply.error(number(&error)),
    }
}

const OPENED: FopenFlags = FopenFlags::FOPEN_DIRECT_IO;

impl Filesystem for Store {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted =
            InitFlags::FUSE_ASYNC_DIO | InitFlags::FUSE_BIG_WRITES | InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP;
        config.add_capabilities(wanted).map_err(|_| io::Error::from_raw_os_error(libc::EPROTO))?;
        config.set_max_write(1 << 20).map_err(|_| io::Error::from_raw_os_error(libc::EPROTO))?;
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut disk = self.disk();
        let found = disk.lookup(parent.0, name);
        answer_entry(reply, &disk, found);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let disk = self.disk();
        match disk.powered().and_then(|()| attributes(&disk, ino.0)) {
            Ok(found) => reply.attr(&NEVER, &found),
            Err(error) => reply.error(number(&error)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut disk = self.slowly(Operation::Truncate);
        let done = size
            .map_or(Ok(()), |size| disk.truncate(ino.0, size))
            .and_then(|()| disk.chmod(ino.0, mode, (uid, gid)))
            .and_then(|()| attributes(&disk, ino.0));
        match done {
            Ok(found) => reply.attr(&NEVER, &found),
            Err(error) => reply.error(number(&error)),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let mut disk = self.slowly(Operation::Create);
        let made = disk.make(parent.0, name, mode & !umask, (request.uid(), request.gid()));
        answer_entry(reply, &disk, made);
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let mut disk = self.slowly(Operation::Create);
        let mode = libc::S_IFDIR | mode & 0o7777 & !umask;
        let made = disk.make(parent.0, name, mode, (request.uid(), request.gid()));
        answer_entry(reply, &disk, made);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let mut disk = self.slowly(Operation::Create);
        let mode = libc::S_IFREG | mode & 0o7777 & !umask;
        let made = disk.make(parent.0, name, mode, (request.uid(), request.gid()));
        let opened = made.and_then(|inode| {
            disk.open(inode)?;
            attributes(&disk, inode)
        });
        match opened {
            Ok(found) => reply.created(&NEVER, &found, Generation(0), FileHandle(0), OPENED),
            Err(error) => reply.error(number(&error)),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, self.slowly(Operation::Remove).remove(parent.0, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, self.slowly(Operation::Remove).remove(parent.0, name));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !(flags - RenameFlags::RENAME_NOREPLACE).is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let replace = !flags.contains(RenameFlags::RENAME_NOREPLACE);
        let mut disk = self.slowly(Operation::Rename);
        answer(reply, disk.rename((parent.0, name), (newparent.0, newname), replace));
    }

    fn link(&self, _: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        let mut disk = self.slowly(Operation::Link);
        let linked = disk.link(ino.0, newparent.0, newname).map(|()| ino.0);
        answer_entry(reply, &disk, linked);
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.disk().open(ino.0) {
            Ok(()) => reply.opened(FileHandle(0), OPENED),
            Err(error) => reply.error(number(&error)),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.slowly(Operation::Read).read(ino.0, offset, size as usize) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(number(&error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let synced = flags.0 & libc::O_DSYNC != 0;
        match self.slowly(Operation::Write).write(ino.0, offset, data, synced) {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(number(&error)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.disk().release(ino.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer(reply, self.slowly(Operation::Sync).sync(ino.0));
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let listed = self.disk().list(ino.0);
        match listed {
            Ok(names) => {
                let mut listings = self.listings.lock().expect("not poisoned");
                listings.last += 1;
                let handle = listings.last;
                listings.opened.insert(handle, names);
                reply.opened(FileHandle(handle), FopenFlags::empty());
            }
            Err(error) => reply.error(number(&error)),
        }
    }

    fn readdir(&self, _: &Request, _: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listings = self.listings.lock().expect("not poisoned");
        let Some(names) = listings.opened.get(&fh.0) else { return reply.error(Errno::EBADF) };
        for (position, (name, inode)) in (0..).zip(names).skip(offset as usize) {
            // The type is unknown to the listing; `stat` tells it.
            let kind = self.disk().node(*inode).map_or(libc::S_IFREG, |node| node.mode & libc::S_IFMT);
            let kind = if kind == libc::S_IFDIR { FileType::Directory } else { FileType::RegularFile };
            if reply.add(INodeNo(*inode), position + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.listings.lock().expect("not poisoned").opened.remove(&fh.0);
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer(reply, self.slowly(Operation::SyncDirectory).sync_directory(ino.0));
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let disk = self.disk();
        let block = u64::from(BLOCK);
        let (used, capacity) = (disk.used() / block, disk.capacity.min(1 << 40) / block);
        let free = capacity.saturating_sub(used);
        reply.statfs(capacity, free, free, 1 << 20, 1 << 20, BLOCK, 255, BLOCK);
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        answer(reply, self.slowly(Operation::Allocate).allocate(ino.0, offset, length, mode));
    }
}
