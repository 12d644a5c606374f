//! Memory for blocks: plaintext that is wiped, and aligned space for direct I/O.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use crate::layout::{ALIGN, BLOCK, SECTOR};

/// All sectors of a block.
pub(crate) const FULL: u8 = (1 << (BLOCK / SECTOR)) - 1;

/// The plaintext of a block, of which some sectors may not be known yet (their bytes are zero). Wiped on drop.
pub(crate) struct Plain {
    bytes: Zeroizing<Box<[u8]>>,
    /// Bit `i`: sector `i` is known.
    known: u8,
}

impl Plain {
    /// A block of which nothing is known.
    pub fn unknown() -> Self {
        Self { bytes: Zeroizing::new(vec![0; BLOCK].into_boxed_slice()), known: 0 }
    }

    /// A whole block.
    pub fn whole(bytes: &[u8]) -> Self {
        debug_assert_eq!(bytes.len(), BLOCK);
        Self { bytes: Zeroizing::new(bytes.into()), known: FULL }
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

#[repr(C, align(4096))]
#[derive(Clone)]
struct Page([u8; ALIGN]);

/// Bytes at a multiple of [`ALIGN`], as direct I/O needs them.
pub struct AlignedBuffer {
    pages: Vec<Page>,
    length: usize,
}

impl AlignedBuffer {
    /// `length` zeros.
    pub fn new(length: usize) -> Self {
        Self { pages: vec![Page([0; ALIGN]); length.div_ceil(ALIGN)], length }
    }

    /// Grows to hold `length` bytes and shows as many; their content is unspecified.
    pub fn resize(&mut self, length: usize) -> &mut [u8] {
        if length > self.pages.len() * ALIGN {
            self.pages.resize(length.div_ceil(ALIGN), Page([0; ALIGN]));
        }
        self.length = length;
        self
    }
}

impl std::ops::Deref for AlignedBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the pages are contiguous, initialised bytes without padding, and hold at least `length` of them.
        unsafe { std::slice::from_raw_parts(self.pages.as_ptr().cast(), self.length) }
    }
}

impl std::ops::DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.pages.as_mut_ptr().cast(), self.length) }
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
    }
}
