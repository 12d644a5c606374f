//! Work on the mounted volume is done by threads that share no file with the process.
//!
//! A system call that waits for the volume cannot be killed. If the process is killed meanwhile, nobody serves the
//! volume any more; the call ends only when the kernel sees `/dev/fuse` closed, which a waiting thread with the
//! process's files would itself keep open, for ever.

use std::{io, os::fd::RawFd, thread};

/// Does `work` in a thread that has standard input, output and error in common with the process, and no other file.
///
/// # Errors
/// If the thread cannot be started, and what `work` says.
pub fn apart<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<io::Error> + Send + 'static,
{
    let started = thread::Builder::new().name("apart".into()).spawn(move || {
        part_files(None)?;
        work()
    });
    started?.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked").into()))
}

/// Gives the calling thread a table of its own for files: with the standard ones, and `but` if it is given.
///
/// # Errors
/// What the system says.
pub fn part_files(but: Option<RawFd>) -> io::Result<()> {
    const FIRST: u32 = 3;
    match but.and_then(|fd| u32::try_from(fd).ok()).filter(|fd| *fd >= FIRST) {
        Some(but) => {
            if but > FIRST {
                close(FIRST, but - 1)?;
            }
            close(but + 1, u32::MAX)
        }
        None => close(FIRST, u32::MAX),
    }
}

fn close(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: the calling thread gets a copy of the table first; what is closed in it stays open for the owners of the
    // descriptors, which are other threads.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_UNSHARE) };
    if closed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsRawFd as _};

    use super::*;

    #[test]
    fn a_thread_apart_has_no_file_of_the_process_but_the_one_it_asks_for() {
        let (kept, other) = (File::open("/dev/null").unwrap(), File::open("/dev/null").unwrap());
        let numbers = [kept.as_raw_fd(), other.as_raw_fd()];
        // SAFETY: F_GETFD only asks whether a descriptor is open.
        let open = move || numbers.map(|fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1);
        assert_eq!(apart(move || io::Result::Ok(open())).unwrap(), [false, false]);
        let keeping = thread::spawn(move || part_files(Some(numbers[0])).map(|()| open()));
        assert_eq!(keeping.join().unwrap().unwrap(), [true, false]);
        assert_eq!(open(), [true, true]);
    }
}
