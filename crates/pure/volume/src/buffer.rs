//! Memory for blocks: plaintext that is wiped, and aligned space for direct I/O.

use std::{
    alloc::{self, Layout},
    fmt,
    mem::MaybeUninit,
    ptr::NonNull,
};

use zeroize::Zeroize;

use crate::{
    layout::{ALIGN, BLOCK, SECTOR},
    segments::Segments,
};

/// All sectors of a block.
pub(crate) const FULL: u8 = (1 << (BLOCK / SECTOR)) - 1;

/// Plaintext that is wiped on drop, word by word: byte by byte, as a `Zeroizing` does it, takes as long as sealing.
#[derive(Clone)]
pub(crate) struct Wiped<T: AsMut<[u8]>>(pub T);

impl<T: AsMut<[u8]>> std::ops::Deref for Wiped<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: AsMut<[u8]>> std::ops::DerefMut for Wiped<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: AsMut<[u8]>> Drop for Wiped<T> {
    fn drop(&mut self) {
        // SAFETY: eight bytes of any value are a `u64`.
        let (front, words, rest) = unsafe { self.0.as_mut().align_to_mut::<u64>() };
        front.zeroize();
        words.zeroize();
        rest.zeroize();
    }
}

/// The plaintext of a block, of which some sectors may not be known yet (their bytes are zero). Wiped on drop.
pub(crate) struct Plain {
    bytes: Wiped<Box<[u8]>>,
    /// Bit `i`: sector `i` is known.
    known: u8,
}

impl Plain {
    /// A block of which nothing is known.
    pub fn unknown() -> Self {
        Self { bytes: Wiped(vec![0; BLOCK].into_boxed_slice()), known: 0 }
    }

    /// A whole block.
    pub fn whole(bytes: &[u8]) -> Self {
        debug_assert_eq!(bytes.len(), BLOCK);
        Self { bytes: Wiped(bytes.into()), known: FULL }
    }

    /// A block of which some sectors are known.
    pub fn partly(bytes: &[u8], known: u8) -> Self {
        Self { known, ..Self::whole(bytes) }
    }

    /// Sets whole sectors, beginning at byte `at` of the block.
    pub fn set(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.known |= sectors(at, bytes.len());
    }

    pub fn known(&self) -> u8 {
        self.known
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plain(sectors {:#b})", self.known)
    }
}

/// The bits of the sectors from byte `at`, `length` bytes long; both are multiples of [`SECTOR`].
pub(crate) fn sectors(at: usize, length: usize) -> u8 {
    debug_assert!(at.is_multiple_of(SECTOR) && length.is_multiple_of(SECTOR) && at + length <= BLOCK);
    let ones = (1_u16 << (length / SECTOR)) - 1;
    (ones << (at / SECTOR)) as u8
}

/// One block being read: where its bytes go, and which of them are still to be found.
pub(crate) struct Wanted<'a> {
    /// Offset in the block of the first byte of `out`.
    pub at: usize,
    pub out: &'a mut [u8],
    pub missing: u8,
}

impl<'a> Wanted<'a> {
    pub fn new(at: usize, out: &'a mut [u8]) -> Self {
        let missing = sectors(at, out.len());
        Self { at, out, missing }
    }

    /// Takes the sectors that are missing here and known there.
    pub fn fill(&mut self, known: u8, block: &[u8]) {
        for sector in 0..BLOCK / SECTOR {
            let bit = 1 << sector;
            if self.missing & known & bit != 0 {
                let from = sector * SECTOR;
                let to = from - self.at;
                self.out[to..to + SECTOR].copy_from_slice(&block[from..from + SECTOR]);
                self.missing &= !bit;
            }
        }
    }

    /// The rest of the block is a hole.
    pub fn fill_zeros(&mut self) {
        self.fill(FULL, &[0; BLOCK]);
    }
}

/// Bytes of a large page: of x86-64 and, mostly, of 64-bit ARM.
pub(crate) const LARGE_PAGE: usize = 2 << 20;

/// Bytes at a multiple of [`ALIGN`], as direct I/O needs them.
pub struct AlignedBuffer {
    memory: NonNull<u8>,
    /// Of `memory`; with size 0 nothing is allocated.
    layout: Layout,
    /// How many bytes from the front have been set since they were allocated.
    set: usize,
    length: usize,
}

// SAFETY: it owns its memory.
unsafe impl Send for AlignedBuffer {}
// SAFETY: as above; without `&mut` it is only read.
unsafe impl Sync for AlignedBuffer {}

impl AlignedBuffer {
    /// `length` zeros.
    pub fn new(length: usize) -> Self {
        let mut buffer = Self::empty();
        buffer.resize(length);
        buffer
    }

    const fn empty() -> Self {
        Self { memory: NonNull::dangling(), layout: Layout::new::<()>(), set: 0, length: 0 }
    }

    /// Shows `length` bytes, in larger memory if they do not fit; their content is unspecified.
    pub fn resize(&mut self, length: usize) -> &mut [u8] {
        if length > self.layout.size() {
            *self = Self::allocate(length.next_multiple_of(ALIGN), ALIGN);
        }
        self.show(length)
    }

    /// The same for bytes that are read into, or written from, over and over: in large pages where `segments` can have
    /// them.
    pub fn resize_for_transfers(&mut self, length: usize, segments: &impl Segments) -> &mut [u8] {
        self.resize_prepared(length, |memory| segments.prepare(memory))
    }

    fn resize_prepared(&mut self, length: usize, prepare: impl FnOnce(&mut [MaybeUninit<u8>])) -> &mut [u8] {
        if length > self.layout.size() {
            *self = Self::allocate(length.next_multiple_of(LARGE_PAGE), LARGE_PAGE);
            // SAFETY: this is the memory that was allocated, and nobody else has it.
            prepare(unsafe {
                std::slice::from_raw_parts_mut(self.memory.as_ptr().cast(), self.layout.size())
            });
        }
        self.show(length)
    }

    /// Memory of at least one byte, none of which is set.
    fn allocate(size: usize, align: usize) -> Self {
        let layout = Layout::from_size_align(size, align).expect("far less than the address space");
        // SAFETY: the size is not 0.
        let memory = NonNull::new(unsafe { alloc::alloc(layout) });
        Self {
            memory: memory.unwrap_or_else(|| alloc::handle_alloc_error(layout)),
            layout,
            set: 0,
            length: 0,
        }
    }

    /// What was never set is set to zeros: not before it is used, for that takes time and memory.
    fn show(&mut self, length: usize) -> &mut [u8] {
        debug_assert!(length <= self.layout.size());
        if length > self.set {
            // SAFETY: both ends lie inside the memory that was allocated.
            unsafe { self.memory.add(self.set).write_bytes(0, length - self.set) };
            self.set = length;
        }
        self.length = length;
        self
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        if self.layout.size() > 0 {
            // SAFETY: it was allocated with this layout.
            unsafe { alloc::dealloc(self.memory.as_ptr(), self.layout) };
        }
    }
}

impl std::ops::Deref for AlignedBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: so many bytes were allocated and set; without any, the pointer dangles as that of an empty slice may.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.length) }
    }
}

impl std::ops::DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.length) }
    }
}

impl Zeroize for AlignedBuffer {
    fn zeroize(&mut self) {
        (**self).zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_sectors_hide_older_ones() {
        let mut newer = Plain::unknown();
        newer.set(SECTOR, &[2; SECTOR]);
        let mut out = [9; BLOCK];
        let mut wanted = Wanted::new(0, &mut out);
        wanted.fill(newer.known(), newer.bytes());
        assert_eq!(wanted.missing, 1);
        wanted.fill(FULL, &[1; BLOCK]);
        assert_eq!(wanted.missing, 0);
        assert!(out[..SECTOR].iter().all(|b| *b == 1) && out[SECTOR..].iter().all(|b| *b == 2));
    }

    #[test]
    fn a_buffer_is_aligned_and_as_long_as_asked() {
        let mut buffer = AlignedBuffer::new(10);
        assert_eq!((buffer.len(), buffer.as_ptr() as usize % ALIGN), (10, 0));
        assert_eq!(buffer.resize(3 * ALIGN).len(), 3 * ALIGN);
        assert!(AlignedBuffer::new(0).is_empty());
    }

    #[test]
    fn memory_for_transfers_is_prepared_as_whole_large_pages_once() {
        let mut prepared = Vec::new();
        let mut buffer = AlignedBuffer::new(0);
        for (length, pages) in [(BLOCK, 1), (LARGE_PAGE, 1), (ALIGN, 1), (LARGE_PAGE + ALIGN, 2), (BLOCK, 2)]
        {
            let shown = buffer.resize_prepared(length, |memory| {
                assert_eq!(memory.as_ptr() as usize % LARGE_PAGE, 0);
                prepared.push(memory.len() / LARGE_PAGE);
            });
            assert_eq!(shown.len(), length);
            assert_eq!(prepared.last(), Some(&pages));
            shown.fill(7);
        }
        assert_eq!(prepared, [1, 2], "only when it has become too small");
    }

    #[test]
    fn what_was_never_set_is_zeros() {
        let mut buffer = AlignedBuffer::new(0);
        buffer.resize_prepared(BLOCK, |_| ()).fill(7);
        let longer = buffer.resize_prepared(2 * BLOCK, |_| ());
        assert!(
            longer[..BLOCK].iter().all(|byte| *byte == 7) && longer[BLOCK..].iter().all(|byte| *byte == 0)
        );
    }
}
