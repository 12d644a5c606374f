//! Reading frames by their place.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

use trail::Record;

use crate::{
    error::Error,
    frame::{self, FRAME_HEAD, LONGEST_PAYLOAD, SEGMENT_HEAD},
    segments::{Entry, Position, segment_path},
};

/// Read at once where one frame follows the other, and where one is wanted.
const READ_AHEAD: usize = 256 * 1024;
const ONE_RECORD: usize = 4 * 1024;

/// The record of the frame at a place.
pub(crate) fn read_at(dir: &Path, at: Position) -> Result<Record, Error> {
    let entry = Segment::open(dir, at.segment)?.entry(&mut Chunk::default(), at, ONE_RECORD)?;
    Ok(serde_json::from_slice(&entry.payload)?)
}

/// Up to `most` frames from a place on, and the place behind the last of them. `end` is known to be durable.
pub(crate) fn read_range(
    dir: &Path,
    from: Position,
    end: Position,
    most: usize,
) -> Result<(Vec<Entry>, Position), Error> {
    let mut at = from;
    let mut entries = Vec::new();
    let mut segment = Segment::open(dir, at.segment)?;
    let mut chunk = Chunk::default();
    while at < end && entries.len() < most {
        at.offset = at.offset.max(SEGMENT_HEAD as u64);
        // A segment that was ended has no zeros behind its last frame.
        if at.offset >= segment.length && at.segment < end.segment {
            at = Position { segment: at.segment + 1, offset: SEGMENT_HEAD as u64 };
            segment = Segment::open(dir, at.segment)?;
            chunk = Chunk::default();
            continue;
        }
        if at >= end {
            break;
        }
        let entry = segment.entry(&mut chunk, at, READ_AHEAD)?;
        at.offset += (FRAME_HEAD + entry.payload.len()) as u64;
        entries.push(entry);
    }
    Ok((entries, at))
}

/// Bytes of a segment that were read at once: many frames for one call of the system.
#[derive(Default)]
struct Chunk {
    from: u64,
    bytes: Vec<u8>,
}

impl Chunk {
    /// `length` bytes at an offset of a file, reading on to `ahead` bytes if they are not here.
    fn at(&mut self, file: &File, offset: u64, length: usize, ahead: usize) -> io::Result<&[u8]> {
        let start = offset.checked_sub(self.from).and_then(|start| usize::try_from(start).ok());
        let held = start.filter(|start| start.saturating_add(length) <= self.bytes.len());
        let start = if let Some(start) = held {
            start
        } else {
            self.from = offset;
            self.bytes.clear();
            let most = length.max(ahead) as u64;
            let mut reader = Reader { file, offset };
            (&mut reader).take(most).read_to_end(&mut self.bytes)?;
            0
        };
        self.bytes.get(start..start + length).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// A file from an offset on.
struct Reader<'a> {
    file: &'a File,
    offset: u64,
}

impl io::Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(into, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

struct Segment {
    file: File,
    number: u64,
    length: u64,
}

impl Segment {
    fn open(dir: &Path, number: u64) -> Result<Self, Error> {
        let path = segment_path(dir, number);
        let file = File::open(&path).map_err(Error::file(&path))?;
        let length = file.metadata().map_err(Error::file(&path))?.len();
        Ok(Self { file, number, length })
    }

    fn entry(&self, chunk: &mut Chunk, at: Position, ahead: usize) -> Result<Entry, Error> {
        let damaged = |what| Error::Damaged { segment: self.number, offset: at.offset, what };
        let cut_short = |_| damaged("a frame is cut short");
        let head = chunk.at(&self.file, at.offset, FRAME_HEAD, ahead).map_err(cut_short)?;
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if length > LONGEST_PAYLOAD {
            return Err(damaged("a frame is broken"));
        }
        let bytes = chunk.at(&self.file, at.offset, FRAME_HEAD + length, ahead).map_err(cut_short)?;
        let frame = frame::read_loose_frame(bytes).ok_or_else(|| damaged("a frame is broken"))?;
        Ok(Entry { at, kind: frame.kind, payload: frame.payload.to_vec() })
    }
}
