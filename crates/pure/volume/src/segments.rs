//! What a volume needs of the place where it lives.

use std::{io, mem::MaybeUninit};

/// The files of a volume. A call that returns `Ok` has made its change durable; one that fails may have made any
/// part of it, unless it says otherwise.
pub trait Segments: Send + Sync {
    /// Told of memory, whole large pages, that will be written from and read into over and over, before it is used. A
    /// hint: nothing depends on it.
    fn prepare(&self, memory: &mut [MaybeUninit<u8>]) {
        let _ = memory;
    }

    /// The numbers of the segments there are.
    ///
    /// # Errors
    /// Of the host.
    fn list(&self) -> io::Result<Vec<u32>>;

    /// Makes a segment with room for `size` bytes, whose content is unspecified. A failure leaves nothing behind
    /// that [`Segments::list`] shows, or an empty segment that the next call may take over.
    ///
    /// # Errors
    /// `StorageFull`, and others of the host.
    fn create(&self, segment: u32, size: u32) -> io::Result<()>;

    /// As [`Segments::create`], from space that is kept for what gives space back: the cleaner, checkpoints, discards.
    ///
    /// # Errors
    /// As [`Segments::create`].
    fn create_from_reserve(&self, segment: u32, size: u32) -> io::Result<()> {
        self.create(segment, size)
    }

    /// Makes what can be read of a segment durable, whoever wrote it.
    ///
    /// # Errors
    /// Of the host.
    fn settle(&self, segment: u32) -> io::Result<()>;

    /// Writes into a segment. Offset and length are multiples of 4096.
    ///
    /// # Errors
    /// Of the host; any part of the bytes may have been written.
    fn write(&self, segment: u32, offset: u32, bytes: &[u8]) -> io::Result<()>;

    /// Reads up to the end of the buffer or of the segment, and says how many bytes. Offset and length are
    /// multiples of 4096.
    ///
    /// # Errors
    /// `NotFound` if there is no such segment, and others of the host.
    fn read(&self, segment: u32, offset: u32, buffer: &mut [u8]) -> io::Result<usize>;

    /// Nothing will be written to a segment any more: what lies beyond `length` bytes can be given back.
    ///
    /// # Errors
    /// Of the host; nothing depends on it.
    fn finish(&self, segment: u32, length: u32) -> io::Result<()>;

    /// Whether others (a snapshot, a clone) hold a segment too, so that removing it gives no space back. A hint.
    fn is_shared(&self, segment: u32) -> bool;

    /// Removes a segment. Need not be durable. Other links to it stay as they are.
    ///
    /// # Errors
    /// Of the host; the segment may still be there.
    fn remove(&self, segment: u32) -> io::Result<()>;

    /// The header.
    ///
    /// # Errors
    /// `NotFound`, and others of the host.
    fn read_header(&self) -> io::Result<Vec<u8>>;

    /// The copy of the header: for a salvage, if the header itself cannot be read. An attach never uses it.
    ///
    /// # Errors
    /// `NotFound`, and others of the host.
    fn read_header_copy(&self) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    /// Replaces the header, wholly or not at all, and then its copy, if one is kept.
    ///
    /// # Errors
    /// Of the host; the header is the old or the new one.
    fn replace_header(&self, bytes: &[u8]) -> io::Result<()>;

    /// Both slots of the checkpoint, 4096 bytes each; less if the file is short.
    ///
    /// # Errors
    /// `NotFound`, and others of the host.
    fn read_checkpoint(&self) -> io::Result<Vec<u8>>;

    /// Writes slot 0 or 1 of the checkpoint, 4096 bytes.
    ///
    /// # Errors
    /// Of the host; any part may have been written.
    fn write_checkpoint(&self, slot: usize, bytes: &[u8]) -> io::Result<()>;
}
