//! Appending: one thread owns the file, and one disk flush serves all who wait.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use tokio::sync::{oneshot, watch};

use crate::{
    error::Error,
    frame::{self, FRAME_HEAD, Kind, Link, SEGMENT_HEAD},
    segments::{Next, Position, SegmentReader, segment_numbers, segment_path},
};

/// A new segment is begun past this size.
const SEGMENT_SIZE: u64 = 64 * 1024 * 1024;
/// A segment grows by this much, in zeros behind its last frame: a flush of bytes that have their place in the file takes
/// a third of the time of one that must also make the file longer.
const GROWTH: u64 = 256 * 1024;
/// Bytes that one flush covers at most; keeps the wait of the first one short.
const LARGEST_GROUP: usize = 4 * 1024 * 1024;

/// One frame to append and who waits for it.
pub(crate) struct Order {
    pub kind: Kind,
    pub payload: Vec<u8>,
    pub done: oneshot::Sender<Result<Position, String>>,
}

/// The end of the log on disk.
pub(crate) struct Tail {
    dir: PathBuf,
    file: File,
    segment: u64,
    /// Where the next frame goes.
    offset: u64,
    /// Length of the file; zeros from `offset` on.
    length: u64,
    link: Link,
}

impl Tail {
    /// Finds the end of the log; makes the first segment if there is none. What was written and never
    /// acknowledged is cut off and kept beside the log, as `NNNNNNNN.torn`.
    ///
    /// # Errors
    /// [`Error::Damaged`] if acknowledged bytes are broken in the last segment.
    pub(crate) fn recover(dir: &Path) -> Result<Self, Error> {
        let Some(last) = segment_numbers(dir)?.pop() else {
            return Self::begin_segment(dir, 0, Link::default());
        };
        let path = segment_path(dir, last);
        let length = fs::metadata(&path).map_err(Error::file(&path))?.len();
        if last > 0 && length < SEGMENT_HEAD as u64 {
            // The head is durable before any frame: a shorter file holds nothing, the crash came before.
            fs::remove_file(&path).map_err(Error::file(&path))?;
            return Self::recover(dir);
        }
        if last == 0 && length < SEGMENT_HEAD as u64 {
            return Self::begin_segment(dir, 0, Link::default());
        }
        let mut reader = SegmentReader::open(dir, last, None)?;
        loop {
            match reader.next()? {
                Next::Entry(_) => {}
                Next::End => break,
                Next::Broken => {
                    let Position { segment, offset } = reader.position();
                    if reader.later_group_follows()? {
                        return Err(Error::Damaged { segment, offset, what: "a frame is broken" });
                    }
                    cut(&path, offset)?;
                    break;
                }
            }
        }
        let file = OpenOptions::new().write(true).open(&path).map_err(Error::file(&path))?;
        let length = file.metadata().map_err(Error::file(&path))?.len();
        let offset = reader.position().offset;
        Ok(Self { dir: dir.into(), file, segment: last, offset, length, link: reader.link() })
    }

    pub(crate) const fn position(&self) -> Position {
        Position { segment: self.segment, offset: self.offset }
    }

    fn begin_segment(dir: &Path, number: u64, link: Link) -> Result<Self, Error> {
        let path = segment_path(dir, number);
        let open = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&path);
        let mut file = open.map_err(Error::file(&path))?;
        file.write_all(&frame::write_segment_head(number, &link)).map_err(Error::file(&path))?;
        file.sync_all().map_err(Error::file(&path))?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::file(dir))?;
        let offset = SEGMENT_HEAD as u64;
        Ok(Self { dir: dir.into(), file, segment: number, offset, length: offset, link })
    }

    /// Appends a group and makes it durable; says where each frame begins.
    fn append(&mut self, group: &[Order]) -> Result<Vec<Position>, Error> {
        if self.offset >= SEGMENT_SIZE {
            self.end()?;
            *self = Self::begin_segment(&self.dir, self.segment + 1, self.link)?;
        }
        let size: usize = group.iter().map(|order| FRAME_HEAD + order.payload.len()).sum();
        let end = self.offset + size as u64;
        let length = if end <= self.length { self.length } else { end.next_multiple_of(GROWTH) };
        let zeros = if end <= self.length { 0 } else { (length - end) as usize };
        let mut bytes = Vec::with_capacity(size + zeros);
        let mut link = self.link;
        let number = self.link.group + 1;
        let mut places = Vec::with_capacity(group.len());
        for order in group {
            places.push(Position { segment: self.segment, offset: self.offset + bytes.len() as u64 });
            link = frame::write_frame(&mut bytes, link.hash, number, order.kind, &order.payload);
        }
        bytes.resize(size + zeros, 0);
        let written = self.file.write_all_at(&bytes, self.offset).and_then(|()| self.file.sync_data());
        written.map_err(Error::file(segment_path(&self.dir, self.segment)))?;
        (self.offset, self.length, self.link) = (end, length, link);
        Ok(places)
    }

    /// Gives back the zeros behind the last frame.
    fn end(&mut self) -> Result<(), Error> {
        let cut = self.file.set_len(self.offset).and_then(|()| self.file.sync_all());
        self.length = self.offset;
        cut.map_err(Error::file(segment_path(&self.dir, self.segment)))
    }
}

/// Keeps the torn bytes for whoever wants to look, and cuts them off.
fn cut(path: &Path, offset: u64) -> Result<(), Error> {
    let kept = path.with_extension("torn");
    let bytes = fs::read(path).map_err(Error::file(path))?;
    let start = usize::try_from(offset).unwrap_or(bytes.len()).min(bytes.len());
    let torn = &bytes[start..];
    let torn = &torn[..torn.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)];
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&kept)
        .map_err(Error::file(&kept))?;
    file.write_all(torn).map_err(Error::file(&kept))?;
    let log = OpenOptions::new().write(true).open(path).map_err(Error::file(path))?;
    log.set_len(offset).and_then(|()| log.sync_all()).map_err(Error::file(path))?;
    tracing::warn!(path = %path.display(), offset, bytes = torn.len(), "cut off what was never acknowledged");
    Ok(())
}

/// Runs the writing thread until every sender is gone.
pub(crate) fn spawn(
    mut tail: Tail,
    orders: mpsc::Receiver<Order>,
    durable: watch::Sender<Position>,
) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("trail".into()).spawn(move || {
        let mut failed: Option<String> = None;
        while let Ok(first) = orders.recv() {
            let mut size = first.payload.len();
            let mut group = vec![first];
            while size < LARGEST_GROUP {
                let Ok(order) = orders.try_recv() else { break };
                size += order.payload.len();
                group.push(order);
            }
            // After a failed write or flush nothing can be said of the disk: never try again.
            let outcome = match &failed {
                Some(reason) => Err(reason.clone()),
                None => tail.append(&group).map_err(|error| error.to_string()),
            };
            match outcome {
                Ok(places) => {
                    durable.send_replace(tail.position());
                    for (order, place) in group.into_iter().zip(places) {
                        let _ = order.done.send(Ok(place));
                    }
                }
                Err(reason) => {
                    tracing::error!(%reason, "the audit trail failed");
                    for order in group {
                        let _ = order.done.send(Err(reason.clone()));
                    }
                    failed = Some(reason);
                }
            }
        }
        // Nothing depends on it: zeros at the end are no damage.
        if failed.is_none()
            && let Err(error) = tail.end()
        {
            tracing::warn!(%error, "the end of the audit trail was not cut off");
        }
    })
}
