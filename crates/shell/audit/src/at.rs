//! Reading frames by their place.

use std::{fs::File, os::unix::fs::FileExt as _, path::Path};

use trail::Record;

use crate::{
    error::Error,
    frame::{self, FRAME_HEAD, LONGEST_PAYLOAD, SEGMENT_HEAD},
    segments::{Entry, Position, segment_path},
};

/// The record of the frame at a place.
pub(crate) fn read_at(dir: &Path, at: Position) -> Result<Record, Error> {
    let entry = Segment::open(dir, at.segment)?.entry(at)?;
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
    while at < end && entries.len() < most {
        at.offset = at.offset.max(SEGMENT_HEAD as u64);
        if at.offset >= segment.length && at.segment < end.segment {
            at = Position { segment: at.segment + 1, offset: SEGMENT_HEAD as u64 };
            segment = Segment::open(dir, at.segment)?;
            continue;
        }
        if at >= end {
            break;
        }
        let entry = segment.entry(at)?;
        at.offset += (FRAME_HEAD + entry.payload.len()) as u64;
        entries.push(entry);
    }
    Ok((entries, at))
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

    fn entry(&self, at: Position) -> Result<Entry, Error> {
        let damaged = |what| Error::Damaged { segment: self.number, offset: at.offset, what };
        let mut head = [0; FRAME_HEAD];
        self.file.read_exact_at(&mut head, at.offset).map_err(|_| damaged("a frame is cut short"))?;
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if length > LONGEST_PAYLOAD {
            return Err(damaged("a frame is broken"));
        }
        let mut bytes = vec![0; FRAME_HEAD + length];
        self.file.read_exact_at(&mut bytes, at.offset).map_err(|_| damaged("a frame is cut short"))?;
        let frame = frame::read_loose_frame(&bytes).ok_or_else(|| damaged("a frame is broken"))?;
        Ok(Entry { at, kind: frame.kind, payload: frame.payload.to_vec() })
    }
}
