//! A ring of io_uring (`io_uring_setup(2)`) for one thread and one command at a time, of 128 bytes
//! (`IORING_SETUP_SQE128`).
//!
//! INVARIANT: the ring is closed when its descriptor is. Its memory is therefore ours (`IORING_SETUP_NO_MMAP`, Linux
//! 6.5): a mapping of the ring would keep it open as long as any thread of a killed process lives, and with it the
//! file that a command waits for. One of these threads may wait for that very file to be closed ([`crate::apart`]).
//! This is why it is not the `io-uring` crate, which maps.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::pages::Pages;

const SETUP_SQE128: u32 = 1 << 10;
/// One thread uses the ring, the one that makes it, and completions are run when it asks for them: nobody interrupts it.
const SETUP_SINGLE_ISSUER: u32 = 1 << 12;
const SETUP_DEFER_TASKRUN: u32 = 1 << 13;
const SETUP_NO_MMAP: u32 = 1 << 14;
/// Commands are taken in the order in which they lie there (Linux 6.6).
const SETUP_NO_SQARRAY: u32 = 1 << 16;

/// `struct io_uring_sqe` with the longer command data of `IORING_SETUP_SQE128`, for `IORING_OP_URING_CMD`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Command {
    opcode: u8,
    flags: u8,
    io_priority: u16,
    file: i32,
    operation: u32,
    padding: u32,
    pub(crate) address: u64,
    pub(crate) length: u32,
    command_flags: u32,
    user_data: u64,
    buffer_index: u16,
    personality: u16,
    file_index: u32,
    pub(crate) data: [u8; 80],
}

impl Command {
    /// `operation` on a file that understands it.
    pub(crate) fn new(file: &impl AsRawFd, operation: u32) -> Self {
        const OP_URING_CMD: u8 = 46;
        Self {
            opcode: OP_URING_CMD,
            flags: 0,
            io_priority: 0,
            file: file.as_raw_fd(),
            operation,
            padding: 0,
            address: 0,
            length: 0,
            command_flags: 0,
            user_data: 0,
            buffer_index: 0,
            personality: 0,
            file_index: 0,
            data: [0; 80],
        }
    }
}

/// `struct io_uring_params`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Params {
    submission_entries: u32,
    completion_entries: u32,
    flags: u32,
    thread_cpu: u32,
    thread_idle: u32,
    features: u32,
    worker_queue: u32,
    reserved: [u32; 3],
    submission: Offsets,
    completion: Offsets,
}

/// `struct io_sqring_offsets` and `struct io_cqring_offsets`, as far as they are alike and used.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Offsets {
    head: u32,
    tail: u32,
    mask: u32,
    entries: u32,
    /// Flags, and what was lost.
    unused: u32,
    /// Of the completion queue.
    completions: u32,
    more: [u32; 2],
    user_address: u64,
}

/// `struct io_uring_cqe`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Completion {
    user_data: u64,
    result: i32,
    flags: u32,
}

pub(crate) struct Ring {
    file: OwnedFd,
    /// The first page holds the commands, the second the heads and tails, and the completions.
    memory: Pages,
    params: Params,
    /// A command was put, and is not complete.
    waiting: bool,
    /// Commands that the kernel has not taken yet: at most one.
    unsubmitted: libc::c_uint,
}

impl Ring {
    /// Makes a ring for the calling thread.
    ///
    /// # Errors
    /// If the kernel has no io_uring, an older one, or forbids it (`kernel.io_uring_disabled`).
    pub(crate) fn new() -> io::Result<Self> {
        let memory = Pages::new(2);
        let mut params = Params {
            flags: SETUP_SQE128
                | SETUP_SINGLE_ISSUER
                | SETUP_DEFER_TASKRUN
                | SETUP_NO_MMAP
                | SETUP_NO_SQARRAY,
            ..Params::default()
        };
        params.submission.user_address = memory.page(0).as_ptr() as u64;
        params.completion.user_address = memory.page(1).as_ptr() as u64;
        const ENTRIES: libc::c_uint = 1;
        // SAFETY: the kernel fills `params`; the memory that they name is of whole pages, larger than the queues of one
        // entry, and lives as long as the ring.
        let file = unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, ptr::from_mut(&mut params)) };
        if file < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just opened it.
        let file = unsafe { OwnedFd::from_raw_fd(file as i32) };
        Ok(Self { file, memory, params, waiting: false, unsubmitted: 0 })
    }

    /// Makes a command the next one. The one before must be complete.
    ///
    /// # Safety
    /// What the command points to must be what the operation expects, until it is complete.
    pub(crate) unsafe fn put(&mut self, command: &Command) {
        assert!(!self.waiting, "one command at a time");
        let Offsets { tail, .. } = self.params.submission;
        // SAFETY: the queue has one place, which is free.
        unsafe { self.memory.page(0).cast::<Command>().write(*command) };
        self.word(tail).fetch_add(1, Ordering::Release);
        (self.waiting, self.unsubmitted) = (true, 1);
    }

    /// Gives the command to the kernel without waiting for it.
    ///
    /// # Errors
    /// If the ring does not work.
    pub(crate) fn submit(&mut self) -> io::Result<()> {
        while self.unsubmitted != 0 {
            self.enter(0)?;
        }
        Ok(())
    }

    /// Waits until the command is complete, and gives it to the kernel before if need be. Returns its result: an error
    /// number, if negative.
    ///
    /// # Errors
    /// If the ring does not work.
    pub(crate) fn wait(&mut self) -> io::Result<i32> {
        loop {
            if let Some(result) = self.completion() {
                self.waiting = false;
                return Ok(result);
            }
            self.enter(1)?;
        }
    }

    fn enter(&mut self, completions: libc::c_uint) -> io::Result<()> {
        const GETEVENTS: libc::c_uint = 1;
        let flags = if completions > 0 { GETEVENTS } else { 0 };
        // SAFETY: the call takes no pointers but those that the ring was made with.
        let entered = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.file.as_raw_fd(),
                self.unsubmitted,
                completions,
                flags,
                ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        if entered >= 0 {
            self.unsubmitted -= entered as libc::c_uint;
            return Ok(());
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            error => Err(error),
        }
    }

    /// Takes the result of the command, if it is complete.
    fn completion(&mut self) -> Option<i32> {
        let Offsets { head, tail, mask, completions, .. } = self.params.completion;
        let first = self.word(head).load(Ordering::Relaxed);
        if self.word(tail).load(Ordering::Acquire) == first {
            return None;
        }
        let place = (first & self.word(mask).load(Ordering::Relaxed)) as usize;
        // SAFETY: the kernel has placed the completions there and has finished this one.
        let completion =
            unsafe { self.memory.page(1).add(completions as usize).cast::<Completion>().add(place).read() };
        self.word(head).store(first.wrapping_add(1), Ordering::Release);
        Some(completion.result)
    }

    /// A number that the kernel reads and writes, too.
    fn word(&self, offset: u32) -> &AtomicU32 {
        // SAFETY: the kernel has placed an aligned number there, which lives as long as the memory.
        unsafe { AtomicU32::from_ptr(self.memory.page(1).add(offset as usize).cast().as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn structures_have_the_sizes_of_the_kernels_header() {
        assert_eq!(size_of::<Command>(), 128);
        assert_eq!(size_of::<Params>(), 120);
        assert_eq!(size_of::<Completion>(), 16);
    }

    #[test]
    fn a_file_that_does_not_understand_a_command_says_so_each_time() {
        // A kernel without io_uring, or one that forbids it, has nothing to show.
        let Ok(mut ring) = Ring::new() else { return };
        let file = File::open("/dev/null").expect("opened");
        for operation in 0..5 {
            // SAFETY: the command points to nothing.
            unsafe { ring.put(&Command::new(&file, operation)) };
            if operation % 2 == 0 {
                ring.submit().expect("the ring works");
            }
            let result = ring.wait().expect("the ring works");
            // The null device takes every command as done.
            assert!(result == 0 || result == -libc::EOPNOTSUPP, "{result}");
        }
    }
}
