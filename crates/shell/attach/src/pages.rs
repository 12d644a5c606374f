//! Memory of whole pages that are there from the beginning, and are wiped in the end.

use std::ptr::NonNull;

use zeroize::Zeroize;

/// Bytes of a page, and what it is aligned to.
pub(crate) const PAGE: usize = 4096;

#[repr(C, align(4096))]
struct Page([u8; PAGE]);

/// Memory that is shared with the kernel, so that it is only ever reached by pointers.
pub(crate) struct Pages(NonNull<[Page]>);

impl Pages {
    /// Zeros; in memory already, and locked if the process locks what it touches.
    pub(crate) fn new(count: usize) -> Self {
        let mut pages: Box<[Page]> = (0..count).map(|_| Page([0; PAGE])).collect();
        // Wiping is never left out, so it touches every page.
        pages.iter_mut().for_each(|page| page.0.zeroize());
        Self(NonNull::from(Box::leak(pages)))
    }

    /// Where a page begins. Those behind it follow.
    pub(crate) fn page(&self, number: usize) -> NonNull<u8> {
        assert!(number < self.0.len());
        // SAFETY: it is one of them.
        unsafe { self.0.cast::<Page>().add(number) }.cast()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: they were leaked from a box of this type, and the owner is done with its pointers.
        let mut pages = unsafe { Box::from_raw(self.0.as_ptr()) };
        pages.iter_mut().for_each(|page| page.0.zeroize());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_aligned_zeros_one_behind_the_other() {
        let pages = Pages::new(3);
        let first = pages.page(0);
        assert_eq!(first.as_ptr() as usize % PAGE, 0);
        // SAFETY: the third page is the last.
        assert_eq!(unsafe { first.add(2 * PAGE) }, pages.page(2));
        // SAFETY: nobody else has the pages.
        let bytes = unsafe { std::slice::from_raw_parts(first.as_ptr(), 3 * PAGE) };
        assert!(bytes.iter().all(|byte| *byte == 0));
    }
}
