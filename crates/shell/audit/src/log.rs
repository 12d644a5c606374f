//! The trail as the rest of the program uses it.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
};

use tokio::{
    sync::{oneshot, watch},
    task,
};
use trail::Record;

use crate::{
    error::Error,
    frame::{Kind, LONGEST_PAYLOAD, Link},
    index::{Cursor, Index, Query},
    indexer::{self, Indexer},
    segments::{Entry, Next, Position, SegmentReader, segment_numbers},
    writer::{self, Order, Tail},
};

/// Most records are no longer.
const USUAL_PAYLOAD: usize = 2048;

/// The audit trail: a log that only grows, and an index behind it.
pub struct Trail {
    dir: PathBuf,
    orders: Mutex<Option<mpsc::Sender<Order>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    durable: watch::Receiver<Position>,
    indexer: Arc<Indexer>,
    follower: Mutex<Option<JoinHandle<()>>>,
}

impl Trail {
    /// Opens the trail in a directory, and makes it if it is not there. What a crash left half written is cut
    /// off; nothing that was acknowledged is.
    ///
    /// # Errors
    /// [`Error::Damaged`] names the segment and the byte where acknowledged records are broken.
    pub async fn open(dir: &Path) -> Result<Self, Error> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(dir).map_err(Error::file(dir))?;
        let place = dir.to_owned();
        let tail = task::spawn_blocking(move || Tail::recover(&place)).await.map_err(broken_off)??;
        let end = tail.position();
        let indexer = Arc::new(Indexer::open(dir, end).await?);
        indexer.catch_up(end).await?;
        let (orders, receiver) = mpsc::channel();
        let (durable_sender, durable) = watch::channel(end);
        let writer = writer::spawn(tail, receiver, durable_sender).map_err(Error::file(dir))?;
        let follower = indexer::follow(Arc::clone(&indexer), durable.clone()).map_err(Error::file(dir))?;
        Ok(Self {
            dir: dir.into(),
            orders: Mutex::new(Some(orders)),
            writer: Mutex::new(Some(writer)),
            durable,
            indexer,
            follower: Mutex::new(Some(follower)),
        })
    }

    /// Appends a whole record. It is durable when this returns.
    ///
    /// # Errors
    /// [`Error::Failed`] once a write has failed; nothing is accepted from then on.
    pub async fn append(&self, record: Record) -> Result<(), Error> {
        self.write(Kind::Record, &record).await
    }

    /// Appends what a mutation is about to do, by the id of its event.
    ///
    /// # Errors
    /// As [`Trail::append`]; the mutation must not happen then.
    pub async fn open_record(&self, record: Record) -> Result<(), Error> {
        self.write(Kind::Intent, &record).await
    }

    /// Appends how a mutation ended.
    ///
    /// # Errors
    /// As [`Trail::append`].
    pub async fn close_record(&self, event_id: &str, record: Record) -> Result<(), Error> {
        debug_assert_eq!(record.event_id, event_id, "an outcome belongs to the event of its intent");
        self.write(Kind::Outcome, &record).await
    }

    async fn write(&self, kind: Kind, record: &Record) -> Result<(), Error> {
        let mut payload = Vec::with_capacity(USUAL_PAYLOAD);
        serde_json::to_writer(&mut payload, record)?;
        if payload.len() > LONGEST_PAYLOAD {
            return Err(Error::TooLong);
        }
        let (done, written) = oneshot::channel();
        let stopped = || Error::Failed("it was closed".into());
        {
            let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
            orders
                .as_ref()
                .ok_or_else(stopped)?
                .send(Order { kind, payload, done })
                .map_err(|_| stopped())?;
        }
        written.await.map_err(|_| stopped())?.map(|_| ()).map_err(Error::Failed)
    }

    /// Mutations that began and never ended: what a crash interrupted. Each is closed with
    /// [`Trail::close_record`] from what the state store says.
    ///
    /// # Errors
    /// If the log or its index cannot be read.
    pub async fn unfinished(&self) -> Result<Vec<Record>, Error> {
        let places = self.caught_up().await?.unfinished().await?;
        self.read(places).await
    }

    /// Finds records, newest first, with the cursor of each. Sees everything that was acknowledged before.
    ///
    /// # Errors
    /// If the log or its index cannot be read.
    pub async fn lookup(&self, query: &Query) -> Result<Vec<(Record, Cursor)>, Error> {
        let found = self.caught_up().await?.find(query).await?;
        let (places, cursors): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        Ok(self.read(places).await?.into_iter().zip(cursors).collect())
    }

    /// The index with everything that is durable now.
    async fn caught_up(&self) -> Result<&Index, Error> {
        let wanted = *self.durable.borrow();
        self.indexer.catch_up(wanted).await?;
        Ok(self.indexer.index())
    }

    async fn read(&self, places: Vec<Position>) -> Result<Vec<Record>, Error> {
        let dir = self.dir.clone();
        let read =
            task::spawn_blocking(move || places.into_iter().map(|at| crate::at::read_at(&dir, at)).collect());
        read.await.map_err(broken_off)?
    }

    /// Stops the writer and the indexer, after everything accepted is durable and indexed.
    pub async fn close(&self) {
        drop(self.orders.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = task::spawn_blocking(move || writer.join()).await;
        }
        let follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(follower) = follower {
            self.indexer.end();
            let _ = task::spawn_blocking(move || follower.join()).await;
        }
        self.indexer.close().await;
    }
}

/// Reads every record of a trail, oldest first, checking the whole chain. Intents are left out, as their
/// outcomes tell the same.
///
/// # Errors
/// [`Error::Damaged`] with the first place that does not hold; a torn end is no damage.
pub fn read_all(dir: &Path, mut each: impl FnMut(Record)) -> Result<(), Error> {
    let mut before: Option<Link> = Some(Link::default());
    let numbers = segment_numbers(dir)?;
    for (index, number) in numbers.iter().enumerate() {
        let missing = || Error::Damaged { segment: index as u64, offset: 0, what: "the segment is missing" };
        if *number != index as u64 {
            return Err(missing());
        }
        let mut reader = SegmentReader::open(dir, *number, before)?;
        loop {
            match reader.next()? {
                Next::Entry(Entry { kind: Kind::Intent, .. }) => {}
                Next::Entry(entry) => each(serde_json::from_slice(&entry.payload)?),
                Next::End => break,
                Next::Broken => {
                    let Position { segment, offset } = reader.position();
                    if index + 1 < numbers.len() || reader.later_group_follows()? {
                        return Err(Error::Damaged { segment, offset, what: "a frame is broken" });
                    }
                    break;
                }
            }
        }
        before = Some(reader.link());
    }
    Ok(())
}

pub(crate) fn broken_off(error: task::JoinError) -> Error {
    Error::File { path: PathBuf::from("trail"), source: io::Error::other(error) }
}
