//! The death of the server at a chosen moment: before or after any word that it says to the outside.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tokio::sync::Notify;

/// Counts down to it.
#[derive(Default)]
pub struct Death {
    /// Moments left; negative: never.
    left: AtomicI64,
    due: AtomicBool,
    came: Notify,
}

impl Death {
    /// After so many moments.
    pub fn after(&self, moments: u32) {
        self.left.store(moments.into(), Ordering::SeqCst);
        self.due.store(true, Ordering::SeqCst);
    }

    /// Not any more. Whether it has come.
    pub fn cancel(&self) -> bool {
        !self.due.swap(false, Ordering::SeqCst)
    }

    /// A moment passes; the last one never ends.
    pub async fn pass(&self) {
        if self.due.load(Ordering::SeqCst) && self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            self.due.store(false, Ordering::SeqCst);
            self.came.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// Runs something until it ends or the server dies in it.
    pub async fn or<T>(&self, doing: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = doing => Some(done),
            () = self.came.notified() => None,
        }
    }
}
