//! One worker of the transport over io_uring: a ring, a buffer, and one request at a time.
//!
//! The kernel copies a request into the buffer that a thread has offered, while the thread waits; one system call
//! answers it and waits for the next. `Documentation/filesystems/fuse/fuse-io-uring.rst` of the kernel.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::fuse::{DeviceFile, MAX_TRANSFER};
use crate::fuse_wire::{RequestHeader, answer};
use crate::pages::{PAGE, Pages};
use crate::uring::{Command, Ring};

/// `enum fuse_uring_cmd`: offer a buffer; answer a request and offer the buffer again.
const REGISTER: u32 = 1;
const COMMIT_AND_FETCH: u32 = 2;

/// Which of the kernel's queues, one a processor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Queue(pub(crate) u16);

/// Everything that a worker needs, allocated before the kernel sends anything. It stays on the thread that made it.
pub(crate) struct Worker {
    ring: Ring,
    connection: Arc<OwnedFd>,
    queue: Queue,
    buffers: Buffers,
}

impl Worker {
    /// # Errors
    /// As [`Ring::new`].
    pub(crate) fn new(connection: Arc<OwnedFd>, queue: Queue) -> io::Result<Self> {
        Ok(Self { ring: Ring::new()?, connection, queue, buffers: Buffers::new() })
    }

    /// Serves until the connection ends. `offered` is called when the kernel knows of the buffer. When a request has to
    /// wait for space, `stand_in` finds somebody else who serves the queue.
    ///
    /// # Errors
    /// If the ring fails, or the kernel refuses an answer, for any reason but the end of the connection.
    pub(crate) fn serve(
        mut self,
        file: &DeviceFile,
        offered: impl FnOnce(),
        stand_in: impl Fn(),
    ) -> io::Result<()> {
        let vectors = self.buffers.vectors();
        let mut command = self.command(REGISTER, 0);
        command.address = vectors.as_ptr() as u64;
        command.length = vectors.len() as u32;
        // SAFETY: the command names the buffers, which live as long as the ring.
        unsafe { self.ring.put(&command) };
        self.ring.submit()?;
        offered();
        loop {
            match self.ring.wait()? {
                0 => {
                    // SAFETY: a request is complete, so the kernel leaves the buffers alone until it is answered.
                    let (header, payload) = unsafe { self.buffers.get() };
                    answer(file, header, payload, &stand_in);
                    let request = header.entry.commit_id;
                    command = self.command(COMMIT_AND_FETCH, request);
                }
                result => match -result {
                    libc::EAGAIN | libc::EINTR => {}
                    libc::ENOTCONN | libc::ECONNABORTED | libc::ECANCELED => return Ok(()),
                    error if command.length != 0 => {
                        // The kernel knows that it refused, and goes on over `/dev/fuse` if a queue has no buffer.
                        let error = io::Error::from_raw_os_error(error);
                        tracing::warn!(%error, queue = self.queue.0, "the kernel took no buffer for io_uring");
                        return Ok(());
                    }
                    error => return Err(io::Error::from_raw_os_error(error)),
                },
            }
            // SAFETY: as above; later commands name nothing.
            unsafe { self.ring.put(&command) };
        }
    }

    /// With `struct fuse_uring_cmd_req` as its data: flags, the request to answer, the queue.
    fn command(&self, operation: u32, request: u64) -> Command {
        let mut command = Command::new(&*self.connection, operation);
        command.data[8..16].copy_from_slice(&request.to_ne_bytes());
        command.data[16..18].copy_from_slice(&self.queue.0.to_ne_bytes());
        command
    }
}

/// What the kernel copies a request into, and an answer out of: the header on a page of its own, then the payload, so
/// that the kernel copies whole pages.
struct Buffers(Pages);

impl Buffers {
    fn new() -> Self {
        Self(Pages::new(1 + MAX_TRANSFER as usize / PAGE))
    }

    /// `struct iovec`s of header and payload.
    fn vectors(&self) -> [libc::iovec; 2] {
        [
            libc::iovec { iov_base: self.0.page(0).as_ptr().cast(), iov_len: size_of::<RequestHeader>() },
            libc::iovec { iov_base: self.0.page(1).as_ptr().cast(), iov_len: MAX_TRANSFER as usize },
        ]
    }

    /// # Safety
    /// The kernel must not have been given the buffers, or have given them back.
    unsafe fn get(&mut self) -> (&mut RequestHeader, &mut [u8]) {
        // SAFETY: both lie in the pages, apart from each other, and nobody else uses them by the caller's promise.
        // A page is large enough for the header and aligned for it; every value of its bytes is one.
        unsafe {
            let header = self.0.page(0).cast::<RequestHeader>().as_mut();
            (header, std::slice::from_raw_parts_mut(self.0.page(1).as_ptr(), MAX_TRANSFER as usize))
        }
    }
}
