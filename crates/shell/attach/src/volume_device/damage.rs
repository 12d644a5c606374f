//! What was found damaged since a volume was opened, each place once: for the event and the metric of it.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Places that are kept; a disk that is damaged in more is told by the count.
const MOST: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct DamageLog(Mutex<BTreeSet<String>>);

impl DamageLog {
    /// Notes what names a place; says whether it is a new one.
    pub fn note(&self, what: String) -> bool {
        let mut places = self.lock();
        places.len() < MOST && places.insert(what)
    }

    /// All places so far.
    pub fn places(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
