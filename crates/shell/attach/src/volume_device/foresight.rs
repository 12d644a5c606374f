//! Whether a flush will follow a write: then the commit can begin at once, while the answer and the next request are on
//! their way through the kernel.
//!
//! A log (that of the database, or of the file system) is written to its end over and over and flushed each time: a write
//! that goes on where a flushed one ended will be flushed too. Elsewhere it counts whether flushes came of late right
//! after single writes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use volume::BLOCK;

/// Ends of logs that are remembered.
const ENDS: usize = 4;
/// The longest write that is taken for a part of a log, bytes.
const LONGEST: usize = 256 << 10;
/// Bounds of the count of flushes that came right after a write, less the writes that none came after.
const MOST: i8 = 8;

#[derive(Debug, Default)]
pub(super) struct Foresight(Mutex<Past>);

#[derive(Debug)]
struct Past {
    /// The blocks behind writes that were flushed, the newest last.
    ends: [u64; ENDS],
    /// The block behind the last write since the last flush.
    last: Option<u64>,
    /// Writes since the last flush.
    writes: u32,
    expected: bool,
    trust: i8,
}

impl Default for Past {
    fn default() -> Self {
        let nowhere = u64::MAX;
        Self { ends: [nowhere; ENDS], last: None, writes: 0, expected: false, trust: 0 }
    }
}

impl Foresight {
    /// A write has come.
    pub fn write(&self, offset: u64, length: usize) {
        let block = BLOCK as u64;
        let (first, end) = (offset / block, (offset + length as u64).div_ceil(block));
        let mut past = self.past();
        if past.writes > 0 {
            past.trust = (past.trust - 1).max(0);
        }
        past.writes = past.writes.saturating_add(1);
        // The last block of a log is often written once more, with what came after.
        let continues = past.ends.iter().any(|known| (first..=first + 1).contains(known));
        past.expected = length <= LONGEST && (continues || (past.writes == 1 && past.trust > MOST / 2));
        past.last = Some(end);
    }

    /// A flush has come.
    pub fn flush(&self) {
        let mut past = self.past();
        let Some(end) = past.last.take() else { return };
        if past.writes == 1 {
            past.trust = (past.trust + 1).min(MOST);
        }
        past.writes = 0;
        past.expected = false;
        if let Some(at) =
            past.ends.iter().position(|known| end.abs_diff(*known) <= LONGEST as u64 / BLOCK as u64)
        {
            past.ends[at..].rotate_left(1);
        } else {
            past.ends.rotate_left(1);
        }
        past.ends[ENDS - 1] = end;
    }

    /// Whether a flush is likely to be the next request.
    pub fn expects_flush(&self) -> bool {
        self.past().expected
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(foresight: &Foresight, block: u64) -> bool {
        foresight.write(block * BLOCK as u64, BLOCK);
        foresight.expects_flush()
    }

    #[test]
    fn what_goes_on_where_a_flushed_write_ended_is_expected_to_be_flushed() {
        let foresight = Foresight::default();
        assert!(!write(&foresight, 100), "nothing is known yet");
        foresight.flush();
        assert!(write(&foresight, 101), "the next block");
        foresight.flush();
        assert!(write(&foresight, 101), "the same block, with more in it");
        foresight.flush();
        assert!(!write(&foresight, 5000), "a block from elsewhere");
        assert!(write(&foresight, 102), "the log goes on in between");
    }

    #[test]
    fn flushes_after_single_writes_are_learned_and_forgotten() {
        let foresight = Foresight::default();
        for block in 0..5 {
            assert!(!write(&foresight, block * 1000));
            foresight.flush();
        }
        assert!(write(&foresight, 77_000), "one flush after each write so far");
        foresight.flush();
        for block in 100..120 {
            write(&foresight, block * 1000);
        }
        foresight.flush();
        assert!(!write(&foresight, 777_000), "many writes came without");
    }
}
