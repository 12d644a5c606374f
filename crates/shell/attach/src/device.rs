//! What can be attached: a device of blocks that many threads use at once.

use std::io;

/// A block device. Offsets and lengths are bytes, multiples of [`SECTOR`], and within [`BlockDevice::size`].
pub trait BlockDevice: Send + Sync + 'static {
    /// Bytes that the device holds.
    fn size(&self) -> u64;

    /// Reads; what was never written, or discarded, reads as zeros.
    ///
    /// # Errors
    /// What could not be read or is not authentic (`EIO`): never wrong data.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Takes the bytes over, as one atomic unit; they are durable after the next flush.
    ///
    /// # Errors
    /// `ENOSPC` if the host has no room; `EIO` after a failed write to the host.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Called on the serving thread once a write is answered: time for work that nobody waits for, such as making it
    /// durable ahead of the flush that may follow. May wait for the disk.
    fn after_write(&self) {}

    /// Forgets a range; it reads as zeros.
    ///
    /// # Errors
    /// As [`BlockDevice::write`].
    fn discard(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Makes every write that was answered before durable.
    ///
    /// # Errors
    /// As [`BlockDevice::write`]; nothing is promised of earlier writes then.
    fn flush(&self) -> io::Result<()>;
}

/// The smallest unit of a request: the logical block size of the loop device.
pub const SECTOR: usize = 4096;
