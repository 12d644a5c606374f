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

    /// Takes the bytes over, as one atomic unit; they are durable after the next flush, and not answered before.
    ///
    /// # Errors
    /// `ENOSPC` if the host has no room; `EIO` after a failed write to the host.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Forgets a range; it reads as zeros.
    ///
    /// # Errors
    /// As [`BlockDevice::write`].
    fn discard(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Makes everything durable that was taken over before. Called by several threads at once, which may share the work.
    ///
    /// # Errors
    /// As [`BlockDevice::write`]; nothing is promised of earlier writes then.
    fn flush(&self) -> io::Result<()>;
}

/// The smallest unit of a request: the logical block size of the loop device.
pub const SECTOR: usize = 4096;
