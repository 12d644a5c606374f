//! How far an upload or a restore is.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes done of bytes to do; shared with whoever watches.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// So much is to be done.
    pub fn expect(&self, total: u64) {
        self.done.store(0, Relaxed);
        self.total.store(total, Relaxed);
    }

    /// So much more is done.
    pub fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Relaxed);
    }

    /// 0 to 100; 0 before anything is known.
    pub fn percent(&self) -> u8 {
        let (done, total) = (self.done.load(Relaxed), self.total.load(Relaxed));
        let percent = (u128::from(done.min(total)) * 100).checked_div(u128::from(total)).unwrap_or(0);
        u8::try_from(percent).expect("at most 100")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_goes_from_0_to_100_and_no_further() {
        let progress = Progress::default();
        assert_eq!(progress.percent(), 0);
        progress.expect(u64::MAX);
        assert_eq!(progress.percent(), 0);
        progress.add(u64::MAX / 2);
        assert_eq!(progress.percent(), 49);
        progress.add(u64::MAX / 2 + 1);
        assert_eq!(progress.percent(), 100);
        progress.expect(10);
        progress.add(12);
        assert_eq!(progress.percent(), 100);
    }
}
