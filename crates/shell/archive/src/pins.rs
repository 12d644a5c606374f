//! Which segments uploads under way count on, so that a collection at the same time leaves them alone.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::Digest;

/// Of one store.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    state: Mutex<State>,
    removed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// By how many uploads.
    pinned: HashMap<Digest, usize>,
    /// While there is a collection: everything that was pinned since it began. An upload may have ended meanwhile, with
    /// a manifest that the collection has not seen.
    touched: Option<HashSet<Digest>>,
    /// The segment that is being removed.
    removing: Option<Digest>,
}

/// The pins of one upload, until it has ended.
#[derive(Debug)]
pub(crate) struct Pinned {
    pins: Arc<Pins>,
    digests: Mutex<Vec<Digest>>,
}

/// A collection, of which there is one at a time.
#[derive(Debug)]
pub(crate) struct Collection<'a>(&'a Pins);

impl Pins {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an upload.
    pub fn upload(self: &Arc<Self>) -> Pinned {
        Pinned { pins: Arc::clone(self), digests: Mutex::default() }
    }

    /// Begins a collection, unless there is one.
    pub fn collection(&self) -> Option<Collection<'_>> {
        let mut state = self.state();
        if state.touched.is_some() {
            return None;
        }
        state.touched = Some(state.pinned.keys().copied().collect());
        Some(Collection(self))
    }
}

impl Pinned {
    /// From now on the segment is not removed. Waits for a removal that has begun already, so that whether the store
    /// has the segment is asked after it.
    pub async fn pin(&self, digest: Digest) {
        loop {
            let removed = self.pins.removed.notified();
            tokio::pin!(removed);
            removed.as_mut().enable();
            {
                let mut state = self.pins.state();
                if state.removing != Some(digest) {
                    *state.pinned.entry(digest).or_default() += 1;
                    if let Some(touched) = &mut state.touched {
                        touched.insert(digest);
                    }
                    self.digests.lock().unwrap_or_else(PoisonError::into_inner).push(digest);
                    return;
                }
            }
            removed.await;
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut state = self.pins.state();
        for digest in self.digests.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if let Some(count) = state.pinned.get_mut(&digest) {
                *count -= 1;
                if *count == 0 {
                    state.pinned.remove(&digest);
                }
            }
        }
    }
}

impl Collection<'_> {
    /// Whether a segment that no manifest named may be removed; if so, nobody pins it before [`Removal`] is dropped.
    pub fn remove(&self, digest: Digest) -> Option<Removal<'_>> {
        let mut state = self.0.state();
        let free = state.touched.as_ref().is_some_and(|touched| !touched.contains(&digest));
        free.then(|| {
            state.removing = Some(digest);
            Removal(self.0)
        })
    }
}

impl Drop for Collection<'_> {
    fn drop(&mut self) {
        self.0.state().touched = None;
    }
}

/// A segment is being removed.
#[derive(Debug)]
pub(crate) struct Removal<'a>(&'a Pins);

impl Drop for Removal<'_> {
    fn drop(&mut self) {
        self.0.state().removing = None;
        self.0.removed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const A: Digest = Digest([1; 32]);
    const B: Digest = Digest([2; 32]);

    #[tokio::test]
    async fn what_an_upload_counts_on_is_not_removed_even_when_the_upload_ends_meanwhile() {
        let pins = Arc::<Pins>::default();
        let before = pins.upload();
        before.pin(A).await;
        let collection = pins.collection().unwrap();
        drop(before);
        let during = pins.upload();
        during.pin(B).await;
        drop(during);
        assert!(collection.remove(A).is_none() && collection.remove(B).is_none());
        drop(collection);
        let next = pins.collection().unwrap();
        assert!(next.remove(A).is_some() && next.remove(B).is_some());
    }

    #[tokio::test]
    async fn a_pin_waits_for_a_removal_and_for_no_other_segments() {
        let pins = Arc::<Pins>::default();
        let collection = pins.collection().unwrap();
        assert!(pins.collection().is_none());
        let removal = collection.remove(A).unwrap();
        let upload = pins.upload();
        upload.pin(B).await;
        let waits = tokio::time::timeout(Duration::from_millis(20), upload.pin(A)).await;
        assert!(waits.is_err());
        drop(removal);
        upload.pin(A).await;
        assert!(collection.remove(A).is_none());
    }
}
