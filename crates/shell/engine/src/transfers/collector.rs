//! Collects what no snapshot needs, in the background, as often as it is wanted.

use std::{sync::Arc, time::Duration};

use archive::{ArchiveError, Collected};
use tokio::{sync::Notify, task::JoinHandle, time::sleep};

use crate::instance::chain;

/// Between a collection that failed and the next attempt.
const PAUSE: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_secs(10) };

/// Collects in a task of its own, which goes with it.
#[derive(Debug)]
pub struct Collector {
    wanted: Arc<Notify>,
    worker: JoinHandle<()>,
}

impl Collector {
    /// Needs a `tokio` runtime around it. Nothing is collected before it is wanted.
    pub fn new<F>(collect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Collected, ArchiveError>> + Send,
    {
        let wanted = Arc::new(Notify::new());
        let told = Arc::clone(&wanted);
        let worker = tokio::spawn(async move {
            loop {
                told.notified().await;
                match collect().await {
                    Ok(Collected { segments, bytes }) => {
                        tracing::info!(segments, bytes, "collected what no snapshot needs");
                    }
                    Err(error) => {
                        tracing::warn!(error = chain(&error), "what no snapshot needs stays for now");
                        told.notify_one();
                        sleep(PAUSE).await;
                    }
                }
            }
        });
        Self { wanted, worker }
    }

    /// Makes a collection begin after this. One that is under way may have read the manifests already, so another
    /// follows it.
    pub fn want(&self) {
        self.wanted.notify_one();
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    /// A collector that tells of each beginning, and ends as it is told.
    fn collector() -> (Collector, mpsc::Receiver<mpsc::Sender<Result<Collected, ArchiveError>>>) {
        let (began, beginnings) = mpsc::channel(1);
        let collect = move || {
            let began = began.clone();
            async move {
                let (end, mut ended) = mpsc::channel(1);
                began.send(end).await.unwrap();
                ended.recv().await.unwrap()
            }
        };
        (Collector::new(collect), beginnings)
    }

    #[tokio::test]
    async fn what_is_wanted_during_a_collection_is_collected_after_it() {
        let (collector, mut beginnings) = collector();
        collector.want();
        let first = beginnings.recv().await.unwrap();
        collector.want();
        collector.want();
        first.send(Ok(Collected::default())).await.unwrap();
        let second = beginnings.recv().await.unwrap();
        second.send(Ok(Collected::default())).await.unwrap();
        tokio::task::yield_now().await;
        assert!(beginnings.try_recv().is_err());
        collector.want();
        beginnings.recv().await.unwrap();
    }

    #[tokio::test]
    async fn a_collection_that_failed_is_tried_again() {
        let (collector, mut beginnings) = collector();
        collector.want();
        let first = beginnings.recv().await.unwrap();
        first.send(Err(ArchiveError::NotFound("snap".into()))).await.unwrap();
        beginnings.recv().await.unwrap();
    }
}
