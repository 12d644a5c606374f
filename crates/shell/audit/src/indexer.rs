//! Who takes what is durable into the index: a thread of low priority that follows the log, and whoever looks something
//! up, for what is not in it yet.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    runtime,
    sync::{Mutex, Notify, watch},
    task,
};

use crate::{at, error::Error, index::Index, log::broken_off, segments::Position};

/// Entries that the index takes in one transaction.
const BATCH: usize = 4096;
/// The thread follows the log in steps: many records at once cost far less than one by one.
const PAUSE: Duration = Duration::from_millis(250);
/// Calls come first (`nice(2)`).
const NICE: libc::c_int = 10;

/// The index and how far it has come.
pub(crate) struct Indexer {
    dir: PathBuf,
    index: Index,
    /// One at a time takes records in.
    done: Mutex<Position>,
    /// The log has ended: no more pauses.
    ended: Notify,
}

impl Indexer {
    /// Opens the index of a log that ends at `end`.
    pub(crate) async fn open(dir: &Path, end: Position) -> Result<Self, Error> {
        let (index, done) = Index::open(dir, end).await?;
        Ok(Self { dir: dir.into(), index, done: Mutex::new(done), ended: Notify::new() })
    }

    pub(crate) const fn index(&self) -> &Index {
        &self.index
    }

    /// Brings the index to `end`, which is durable.
    pub(crate) async fn catch_up(&self, end: Position) -> Result<(), Error> {
        self.catch_up_by(&self.index, end).await
    }

    async fn catch_up_by(&self, index: &Index, end: Position) -> Result<(), Error> {
        loop {
            // Let go between batches: whoever looks something up does not wait for what comes after it.
            let mut done = self.done.lock().await;
            if *done >= end {
                return Ok(());
            }
            let (dir, from) = (self.dir.clone(), *done);
            let read = task::spawn_blocking(move || at::read_range(&dir, from, end, BATCH));
            let (entries, reached) = read.await.map_err(broken_off)??;
            index.add(&entries, reached).await?;
            *done = reached;
        }
    }

    /// Tells the follower that the writer is gone.
    pub(crate) fn end(&self) {
        self.ended.notify_one();
    }

    /// Closes the index, after its follower has ended.
    pub(crate) async fn close(&self) {
        self.index.close().await;
    }
}

/// Follows the log until its writer is gone.
pub(crate) fn follow(
    indexer: Arc<Indexer>,
    durable: watch::Receiver<Position>,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("trail-index".into()).spawn(move || {
        // SAFETY: takes no pointers. On Linux it is the calling thread whose priority changes, and those that it
        // begins: the one of its connection among them. Where it is refused, the index has the priority of calls.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
        let runtime = runtime::Builder::new_current_thread().enable_time().build();
        let outcome = match runtime {
            Ok(runtime) => runtime.block_on(run(&indexer, durable)),
            Err(error) => Err(Error::file(&indexer.dir)(error)),
        };
        if let Err(error) = outcome {
            // Lookups catch up by themselves, or tell what is wrong.
            tracing::error!(%error, "the index of the audit trail is not kept up to date");
        }
    })
}

async fn run(indexer: &Indexer, mut durable: watch::Receiver<Position>) -> Result<(), Error> {
    let index = indexer.index.beside().await?;
    let mut writing = true;
    while writing {
        writing = durable.changed().await.is_ok();
        if writing {
            let _ = tokio::time::timeout(PAUSE, indexer.ended.notified()).await;
        }
        let end = *durable.borrow_and_update();
        indexer.catch_up_by(&index, end).await?;
    }
    index.close().await;
    Ok(())
}
