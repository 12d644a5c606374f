//! Processes by descriptors, which never come to mean another process as ids do.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
    unistd::Pid,
};

/// A process.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// The process with an id.
    ///
    /// # Errors
    /// `ESRCH` if there is none.
    pub fn open(pid: Pid) -> io::Result<Self> {
        // SAFETY: the call takes two integers.
        let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
        let fd = RawFd::try_from(fd).map_err(|_| io::Error::from(Errno::EBADF))?;
        // SAFETY: the kernel has just made this descriptor for us (close-on-exec), and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends a signal; one that has ended needs none.
    ///
    /// # Errors
    /// What the system says.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let no_info: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: the descriptor is open, and a null `siginfo_t` is allowed.
        let sent = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), signal as i32, no_info, 0)
        };
        match Errno::result(sent) {
            Ok(_) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits for the end of the process, which takes its namespaces and files with it; whether it came in time.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait(&self, patience: Duration) -> io::Result<bool> {
        let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        loop {
            match poll(&mut [PollFd::new(self.as_fd(), PollFlags::POLLIN)], patience) {
                Err(Errno::EINTR) => {}
                ended => return Ok(ended? > 0),
            }
        }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_seen_to_end() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let process = PidFd::open(Pid::from_raw(i32::try_from(child.id()).unwrap())).unwrap();
        assert!(!process.wait(Duration::from_millis(1)).unwrap());
        process.signal(Signal::SIGKILL).unwrap();
        assert!(process.wait(Duration::from_secs(60)).unwrap());
        child.wait().unwrap();
        process.signal(Signal::SIGKILL).unwrap();
    }
}
