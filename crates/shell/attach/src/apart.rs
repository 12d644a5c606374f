//! Threads that share no file descriptors with the process.
//!
//! A system call that waits for the device (mounting, unmounting, configuring a loop device) cannot be killed.
//! If the process dies meanwhile, its other threads are gone and nobody serves the device; the call would wait
//! for ever, and with it `/dev/fuse`, which the waiting thread holds open, so that the kernel never learns that
//! the connection is dead. A thread with a descriptor table of its own does not hold it: the rest of the process
//! closes it, the connection breaks, the call fails, and the thread ends.

use std::io;
use std::thread::{self, JoinHandle};

/// Starts a thread that has standard input, output and error in common with the process, and no other file.
///
/// # Errors
/// If the thread cannot be started. `work` is given the error if the files could not be parted.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce(io::Result<()>) -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.into()).spawn(move || work(part_files()))
}

fn part_files() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: with CLOSE_RANGE_UNSHARE the calling thread first gets a copy of the table; what is closed in it
    // stays open for the owners of the descriptors, which are other threads.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_thread_apart_sees_no_file_of_the_process_and_leaves_them_open() {
        let file = File::open("/proc/self/exe").expect("open");
        let number = file.as_raw_fd();
        // SAFETY: F_GETFD only asks whether a descriptor is open.
        let is_open = move || unsafe { libc::fcntl(number, libc::F_GETFD) } != -1;
        let apart = super::spawn("apart", move |parted| {
            parted.expect("parted");
            is_open()
        });
        assert!(!apart.expect("spawned").join().expect("joined"));
        assert!(is_open());
    }
}
