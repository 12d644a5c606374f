//! What an instance tells the server about its volume, and what it hears back: where the log stands (the anchor), which
//! the server keeps; whether there is room; what is damaged; counters.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::protocol::VolumeState;

/// What was last seen of the volume. One thread watches the volume, another serves it, others answer the server.
#[derive(Debug, Default)]
pub struct Report {
    told: Mutex<Told>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Told {
    volume: VolumeState,
    /// The anchor that the server has last kept.
    kept: Option<Vec<u8>>,
    /// Nobody waits any more.
    over: bool,
}

impl Report {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to tell the server.
    pub fn volume(&self) -> VolumeState {
        self.told().volume.clone()
    }

    /// Tells something new.
    pub fn tell(&self, change: impl FnOnce(&mut VolumeState)) {
        change(&mut self.told().volume);
    }

    /// Offers an anchor to be kept.
    pub fn offer(&self, anchor: Vec<u8>) {
        self.told().volume.anchor = Some(anchor);
    }

    /// The server has kept an anchor.
    pub fn kept(&self, anchor: Vec<u8>) {
        self.told().kept = Some(anchor);
        self.changed.notify_all();
    }

    /// Waits until the server has kept the anchor that was offered last; whether it has, before `patience` or the
    /// instance ended.
    pub fn wait_until_kept(&self, patience: Option<Duration>) -> bool {
        let begun = Instant::now();
        let mut told = self.told();
        loop {
            if told.kept == told.volume.anchor {
                return true;
            }
            let left = patience.map(|patience| patience.saturating_sub(begun.elapsed()));
            if told.over || left == Some(Duration::ZERO) {
                return false;
            }
            told = match left {
                None => self.changed.wait(told).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.changed.wait_timeout(told, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// Lets nobody wait any more: the instance is to end at once.
    pub fn end(&self) {
        self.told().over = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    #[test]
    fn an_anchor_is_waited_for_until_that_very_one_is_kept() {
        let report = Arc::new(Report::default());
        assert!(report.wait_until_kept(None), "none was offered");
        report.offer(vec![1]);
        report.kept(vec![0]);
        assert!(!report.wait_until_kept(Some(Duration::from_millis(1))));
        let waiting = thread::spawn({
            let report = Arc::clone(&report);
            move || report.wait_until_kept(None)
        });
        report.kept(vec![1]);
        assert!(waiting.join().unwrap());
    }

    #[test]
    fn nobody_waits_for_the_server_when_the_instance_is_to_end() {
        let report = Arc::new(Report::default());
        report.offer(vec![1]);
        let waiting = thread::spawn({
            let report = Arc::clone(&report);
            move || report.wait_until_kept(None)
        });
        report.end();
        assert!(!waiting.join().unwrap());
    }
}
