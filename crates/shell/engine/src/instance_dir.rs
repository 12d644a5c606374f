//! The directory of one instance, outside its volume. Nothing in it is secret, and all of it may be deleted while no
//! process of the instance lives.
//!
//! ```text
//! lock           held while the process lives (POSIX lock), and while anything it started lives (flock)
//! control        Unix socket of the process
//! instance.log   what the process logs
//! ```
//!
//! The kernel answers who holds the POSIX lock; so the id of the process is never read from a file that could name
//! another. The flock belongs to the open file, which every child inherits: it is free once the last of them is gone.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd},
        unix::{
            fs::{DirBuilderExt as _, OpenOptionsExt as _},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FlockArg, fcntl},
    sys::{
        socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt},
        time::{TimeVal, TimeValLike as _},
    },
    unistd::Pid,
};

use crate::pidfd::PidFd;

/// How often a lock is asked for again.
const PAUSE: Duration = Duration::from_millis(2);

/// A directory for an instance; it need not be there.
#[derive(Clone, Debug)]
pub struct InstanceDir(PathBuf);

/// Proof that this process is the instance's only one.
#[derive(Debug)]
pub struct InstanceLock(File);

impl InstanceLock {
    /// Keeps it until the process ends. Whoever inherits the file keeps the directory inhabited.
    pub fn keep(self) -> BorrowedFd<'static> {
        Box::leak(Box::new(self)).0.as_fd()
    }
}

impl InstanceDir {
    /// The directory at a path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn lock_path(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// Makes the directory; only its owner may enter.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)
    }

    /// The log of the process, to append to.
    ///
    /// # Errors
    /// What the system says.
    pub fn log(&self) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).mode(0o600).open(self.0.join("instance.log"))
    }

    /// Becomes the process of the instance; waits up to `patience` for the remains of an earlier one.
    ///
    /// # Errors
    /// `WouldBlock` if there is another process; what the system says.
    pub fn lock(&self, patience: Duration) -> io::Result<InstanceLock> {
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(self.lock_path())?;
        let begun = Instant::now();
        loop {
            match flock(&file, FlockArg::LockExclusiveNonblock) {
                Ok(()) => break,
                Err(Errno::EWOULDBLOCK) if begun.elapsed() < patience => thread::sleep(PAUSE),
                Err(errno) => return Err(errno.into()),
            }
        }
        fcntl(&file, FcntlArg::F_SETLK(&whole_file(libc::F_WRLCK)))?;
        Ok(InstanceLock(file))
    }

    /// The process of the instance, if it lives.
    ///
    /// # Errors
    /// What the system says.
    pub fn process(&self) -> io::Result<Option<PidFd>> {
        let Some(file) = self.open_lock()? else { return Ok(None) };
        loop {
            let Some(pid) = holder(&file)? else { return Ok(None) };
            match PidFd::open(pid) {
                // The id cannot have passed to another process if it still holds the lock.
                Ok(process) if holder(&file)? == Some(pid) => return Ok(Some(process)),
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The directory is there, as far as can be told.
    pub fn is_there(&self) -> bool {
        self.lock_path().try_exists().unwrap_or(true)
    }

    /// Neither the process nor anything that it started lives.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_deserted(&self) -> io::Result<bool> {
        let Some(file) = self.open_lock()? else { return Ok(true) };
        if holder(&file)?.is_some() {
            return Ok(false);
        }
        match flock(&file, FlockArg::LockSharedNonblock) {
            Ok(()) => Ok(true),
            Err(Errno::EWOULDBLOCK) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits until [`InstanceDir::is_deserted`]; whether it came to that within `patience`.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait_until_deserted(&self, patience: Duration) -> io::Result<bool> {
        let begun = Instant::now();
        loop {
            if self.is_deserted()? {
                return Ok(true);
            }
            if begun.elapsed() >= patience {
                return Ok(false);
            }
            thread::sleep(PAUSE);
        }
    }

    fn open_lock(&self) -> io::Result<Option<File>> {
        match OpenOptions::new().read(true).open(self.lock_path()) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Listens on the control socket; only the process's own user may connect.
    ///
    /// # Errors
    /// What the system says.
    pub fn listen(&self) -> io::Result<UnixListener> {
        let dir = File::open(&self.0)?;
        let path = short_path(&dir);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // The directory is closed to others, and so is the socket from its first moment (umask of the process).
        UnixListener::bind(path)
    }

    /// Connects to the control socket; each step of the exchange may take up to `patience`.
    ///
    /// # Errors
    /// What the system says; `NotFound` or `ConnectionRefused` if nobody listens.
    pub fn connect(&self, patience: Duration) -> io::Result<UnixStream> {
        let dir = File::open(&self.0)?;
        let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        let millis = i64::try_from(patience.as_millis()).unwrap_or(i64::MAX);
        // Bounds connecting as well: a process that hangs does not empty its queue.
        setsockopt(&socket, sockopt::SendTimeout, &TimeVal::milliseconds(millis))?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(millis))?;
        connect(socket.as_raw_fd(), &UnixAddr::new(&short_path(&dir))?)?;
        Ok(UnixStream::from(socket))
    }

    /// Deletes the directory. Only while it is deserted.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The control socket by a path that fits into a socket's address (107 bytes) wherever the directory is.
fn short_path(dir: &File) -> PathBuf {
    format!("/proc/self/fd/{}/control", dir.as_raw_fd()).into()
}

/// Locks an open file, without taking it over as `nix::fcntl::Flock` does: that would unlock on drop what children hold.
fn flock(file: &File, how: FlockArg) -> Result<(), Errno> {
    #[expect(deprecated, reason = "the replacement unlocks on drop")]
    nix::fcntl::flock(file.as_raw_fd(), how)
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: i16::try_from(kind).expect("lock types are small"),
        l_whence: i16::try_from(libc::SEEK_SET).expect("0"),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Who holds the POSIX lock of the file.
fn holder(file: &File) -> io::Result<Option<Pid>> {
    let mut lock = whole_file(libc::F_WRLCK);
    fcntl(file, FcntlArg::F_GETLK(&mut lock))?;
    Ok((i32::from(lock.l_type) != libc::F_UNLCK).then(|| Pid::from_raw(lock.l_pid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_a_process_is_deserted_and_nobody_listens() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = InstanceDir::at(temporary.path().join("db-A"));
        assert!(dir.is_deserted().unwrap());
        assert!(dir.process().unwrap().is_none());
        dir.create().unwrap();
        let error = dir.connect(Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        dir.remove().unwrap();
        dir.remove().unwrap();
    }

    #[test]
    fn what_inherits_the_lock_keeps_the_directory_inhabited() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = InstanceDir::at(temporary.path());
        let lock = dir.lock(Duration::ZERO).unwrap();
        let inherited = lock.0.try_clone().unwrap();
        assert_eq!(dir.lock(Duration::ZERO).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        assert!(!dir.is_deserted().unwrap());
        drop(inherited);
        // A test that starts a program has a copy of every file for a moment.
        assert!(dir.wait_until_deserted(Duration::from_secs(60)).unwrap());
    }

    #[test]
    fn a_socket_works_below_a_path_longer_than_an_address() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = InstanceDir::at(temporary.path().join("x".repeat(120)));
        dir.create().unwrap();
        let listener = dir.listen().unwrap();
        dir.connect(Duration::from_secs(1)).unwrap();
        listener.accept().unwrap();
        // A socket that was left behind is replaced.
        drop(listener);
        dir.listen().unwrap();
    }
}
