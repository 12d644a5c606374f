//! Reading the log: from any place on, frame by frame, each checked against the chain.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use crate::{
    error::Error,
    frame::{self, FRAME_HEAD, Frame, Kind, LONGEST_PAYLOAD, Link, SEGMENT_HEAD},
};

/// A place between frames.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Position {
    pub segment: u64,
    pub offset: u64,
}

pub(crate) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.log"))
}

/// Numbers of the segments there are, in order.
pub(crate) fn segment_numbers(dir: &Path) -> Result<Vec<u64>, Error> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::file(dir))? {
        let name = entry.map_err(Error::file(dir))?.file_name();
        let number: Option<u64> =
            name.to_str().and_then(|name| name.strip_suffix(".log")).and_then(|stem| stem.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// A frame with its place and its payload.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub at: Position,
    pub kind: Kind,
    pub payload: Vec<u8>,
}

/// One segment, open for reading.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    file: File,
    path: PathBuf,
    number: u64,
    offset: u64,
    link: Link,
    buffer: Vec<u8>,
}

/// What comes next in a segment.
pub(crate) enum Next {
    Entry(Entry),
    /// The end of what is there: of the file, or zeros up to it.
    End,
    /// Bytes that are no frame of the chain.
    Broken,
}

impl SegmentReader {
    /// Opens a segment at its first frame. `before`: where the chain must stand, if that is known.
    pub(crate) fn open(dir: &Path, number: u64, before: Option<Link>) -> Result<Self, Error> {
        let path = segment_path(dir, number);
        let mut file = File::open(&path).map_err(Error::file(&path))?;
        let mut head = [0; SEGMENT_HEAD];
        let damaged = |what| Error::Damaged { segment: number, offset: 0, what };
        match file.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(damaged("the head is cut short"));
            }
            other => other.map_err(Error::file(&path))?,
        }
        let (named, link) = frame::read_segment_head(&head).ok_or_else(|| damaged("the head is not one"))?;
        if named != number || before.is_some_and(|before| before != link) {
            return Err(damaged("the segment does not follow the one before"));
        }
        Ok(Self { file, path, number, offset: SEGMENT_HEAD as u64, link, buffer: Vec::new() })
    }

    pub(crate) const fn link(&self) -> Link {
        self.link
    }

    pub(crate) const fn position(&self) -> Position {
        Position { segment: self.number, offset: self.offset }
    }

    /// Reads the next frame.
    pub(crate) fn next(&mut self) -> Result<Next, Error> {
        let frame = self.fill(FRAME_HEAD)?;
        if frame == 0 {
            return Ok(Next::End);
        }
        let length =
            self.buffer.get(4..8).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])) as usize;
        if frame < FRAME_HEAD || length > LONGEST_PAYLOAD {
            return self.broken();
        }
        self.fill(FRAME_HEAD + length)?;
        let at = self.position();
        let Some(frame) = frame::read_frame(&self.buffer, &self.link) else { return self.broken() };
        let entry = Entry { at, kind: frame.kind, payload: frame.payload.to_vec() };
        self.advance(&frame_size(&frame));
        Ok(Next::Entry(entry))
    }

    /// What is no frame: the zeros that a segment ends with while it is written, or damage.
    fn broken(&mut self) -> Result<Next, Error> {
        let zeros = self.buffer.iter().all(|byte| *byte == 0) && self.rest()?.iter().all(|byte| *byte == 0);
        Ok(if zeros { Next::End } else { Next::Broken })
    }

    /// Everything from the offset on.
    fn rest(&mut self) -> Result<Vec<u8>, Error> {
        let mut rest = Vec::new();
        self.file.seek(SeekFrom::Start(self.offset)).map_err(Error::file(&self.path))?;
        self.file.read_to_end(&mut rest).map_err(Error::file(&self.path))?;
        Ok(rest)
    }

    fn advance(&mut self, size: &(u64, Link)) {
        self.offset += size.0;
        self.link = size.1;
        self.buffer.clear();
    }

    /// Makes the buffer hold `wanted` bytes from the offset on, as far as the file goes; says how many it holds.
    fn fill(&mut self, wanted: usize) -> Result<usize, Error> {
        let held = self.buffer.len();
        if held < wanted {
            self.buffer.resize(wanted, 0);
            let mut read = held;
            self.file.seek(SeekFrom::Start(self.offset + held as u64)).map_err(Error::file(&self.path))?;
            while read < wanted {
                match self.file.read(&mut self.buffer[read..]) {
                    Ok(0) => break,
                    Ok(count) => read += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(Error::file(&self.path)(error)),
                }
            }
            self.buffer.truncate(read);
        }
        Ok(self.buffer.len())
    }

    /// Behind broken bytes: is there a whole frame of a group that was only written after they were durable?
    pub(crate) fn later_group_follows(&mut self) -> Result<bool, Error> {
        let rest = self.rest()?;
        Ok((0..rest.len().saturating_sub(FRAME_HEAD)).any(|start| {
            frame::read_loose_frame(&rest[start..])
                .is_some_and(|found| found.link.group > self.link.group + 1)
        }))
    }
}

fn frame_size(frame: &Frame<'_>) -> (u64, Link) {
    (frame.length() as u64, frame.link)
}
