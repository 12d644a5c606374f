//! The bytes of one file: what is read now, and what a power cut would go back to.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt},
};

use nix::fcntl::{FallocateFlags, fallocate};

use crate::Random;

/// Bytes of a page: what is kept or lost as one, unless it is torn.
pub const PAGE: u64 = 4096;
/// Bytes that a disk writes wholly or not at all.
const SECTOR: usize = 512;

/// How a power cut treats what was not synced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Loss {
    /// Nothing of it is found.
    All,
    /// All of it is found.
    None,
    /// Of each page and each name it is open whether it is found.
    Some,
}

impl Loss {
    pub fn any(random: &mut Random) -> Self {
        match random.below(6) {
            0 => Self::All,
            1 => Self::None,
            _ => Self::Some,
        }
    }

    /// Whether one thing is found.
    pub fn keeps(self, random: &mut Random) -> bool {
        match self {
            Self::All => false,
            Self::None => true,
            Self::Some => random.chance(2),
        }
    }
}

#[derive(Debug)]
pub struct Content {
    /// What is read; it may be longer than `size` until a truncation is synced.
    file: File,
    size: u64,
    durable_size: u64,
    /// Pages that differ from what is durable.
    unsynced: BTreeMap<u64, Page>,
}

#[derive(Debug)]
struct Page {
    /// What is durable; nothing: zeros.
    durable: Option<Box<[u8]>>,
    /// A sync of it has failed: the kernel believes it to be clean, and no later sync writes it.
    given_up: bool,
}

impl Content {
    pub fn new(file: File) -> Self {
        Self { file, size: 0, durable_size: 0, unsynced: BTreeMap::new() }
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that it takes up.
    pub fn allocated(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.blocks() * 512)
    }

    pub fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let length = (length as u64).min(self.size.saturating_sub(offset));
        let mut bytes = vec![0; length as usize];
        read_up_to(&self.file, offset, &mut bytes)?;
        Ok(bytes)
    }

    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        if offset > self.size {
            self.extend(offset)?;
        }
        self.remember(offset..end)?;
        self.file.write_all_at(bytes, offset)?;
        self.size = self.size.max(end);
        Ok(())
    }

    /// Some sectors of a write that fails.
    pub fn write_some(&mut self, offset: u64, bytes: &[u8], random: &mut Random) -> io::Result<()> {
        for (position, sector) in (0..).zip(bytes.chunks(SECTOR)) {
            if random.chance(2) {
                self.write(offset + position * SECTOR as u64, sector)?;
            }
        }
        Ok(())
    }

    pub fn truncate(&mut self, size: u64) -> io::Result<()> {
        if size > self.size {
            self.extend(size)?;
        }
        self.size = size;
        Ok(())
    }

    /// Space for a range, and the size that goes with it unless `keep_size`.
    pub fn allocate(&mut self, offset: u64, length: u64, keep_size: bool) -> io::Result<()> {
        let end = offset + length;
        if end > self.size && !keep_size {
            self.extend(end)?;
        }
        let mode = FallocateFlags::FALLOC_FL_KEEP_SIZE;
        Ok(fallocate(&self.file, mode, offset as i64, length as i64)?)
    }

    /// A range reads as zeros and takes up nothing.
    pub fn punch(&mut self, offset: u64, length: u64) -> io::Result<()> {
        self.remember(offset..(offset + length).min(self.size))?;
        let mode = FallocateFlags::FALLOC_FL_KEEP_SIZE | FallocateFlags::FALLOC_FL_PUNCH_HOLE;
        Ok(fallocate(&self.file, mode, offset as i64, length as i64)?)
    }

    /// Makes everything durable.
    pub fn sync(&mut self) -> io::Result<()> {
        self.unsynced.retain(|_, page| page.given_up);
        self.sync_size()
    }

    /// Makes a range durable that was just written with `O_DSYNC`, and the size.
    pub fn sync_range(&mut self, offset: u64, length: u64) -> io::Result<()> {
        for page in pages(offset..offset + length) {
            self.unsynced.remove(&page);
        }
        self.sync_size()
    }

    /// A sync that failed: what it should have written is never written again.
    pub fn fail_sync(&mut self) {
        self.unsynced.values_mut().for_each(|page| page.given_up = true);
    }

    /// The power is back; what was not synced is found, lost or torn.
    pub fn settle(&mut self, loss: Loss, random: &mut Random) -> io::Result<()> {
        if self.size != self.durable_size && !loss.keeps(random) {
            if self.durable_size > self.size {
                self.extend_physically(self.durable_size)?;
            }
            self.size = self.durable_size;
        }
        for (page, was) in std::mem::take(&mut self.unsynced) {
            let torn = loss == Loss::Some && random.chance(3);
            if !torn && loss.keeps(random) {
                continue;
            }
            let durable = was.durable.unwrap_or_else(|| vec![0; PAGE as usize].into());
            for (position, sector) in (0..).zip(durable.chunks(SECTOR)) {
                if !torn || random.chance(2) {
                    self.file.write_all_at(sector, page * PAGE + position * SECTOR as u64)?;
                }
            }
        }
        self.sync_size()
    }

    /// Nothing is left of what was behind the end.
    fn sync_size(&mut self) -> io::Result<()> {
        if self.file.metadata()?.len() != self.size {
            self.file.set_len(self.size)?;
        }
        self.durable_size = self.size;
        // Pages behind the end come back by no power cut any more.
        let end = self.size.div_ceil(PAGE);
        self.unsynced.retain(|page, _| *page < end);
        Ok(())
    }

    /// Zeros up to a new end.
    fn extend(&mut self, size: u64) -> io::Result<()> {
        let physical = self.file.metadata()?.len();
        if physical > self.size {
            let end = physical.min(size);
            self.remember(self.size..end)?;
            let mode = FallocateFlags::FALLOC_FL_KEEP_SIZE | FallocateFlags::FALLOC_FL_PUNCH_HOLE;
            fallocate(&self.file, mode, self.size as i64, (end - self.size) as i64)?;
        }
        self.extend_physically(size)?;
        self.size = size;
        Ok(())
    }

    fn extend_physically(&self, size: u64) -> io::Result<()> {
        if self.file.metadata()?.len() < size { self.file.set_len(size) } else { Ok(()) }
    }

    /// Keeps what is durable of pages that are about to be changed.
    fn remember(&mut self, range: Range<u64>) -> io::Result<()> {
        for number in pages(range) {
            if let Some(page) = self.unsynced.get_mut(&number) {
                page.given_up = false;
                continue;
            }
            let mut bytes = vec![0; PAGE as usize];
            let known = self.durable_size.saturating_sub(number * PAGE).min(PAGE);
            read_up_to(&self.file, number * PAGE, &mut bytes[..known as usize])?;
            let durable = bytes.iter().any(|byte| *byte != 0).then(|| bytes.into());
            self.unsynced.insert(number, Page { durable, given_up: false });
        }
        Ok(())
    }
}

fn pages(range: Range<u64>) -> Range<u64> {
    range.start / PAGE..range.end.div_ceil(PAGE)
}

/// Reads; what is behind the end of the file stays as it is.
fn read_up_to(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64)? {
            0 => break,
            more => read += more,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Content {
        Content::new(tempfile::tempfile().unwrap())
    }

    #[test]
    fn what_was_synced_outlives_every_power_cut() {
        for seed in 0..50 {
            let mut random = Random::new(seed);
            let mut content = content();
            content.write(0, &[1; 10_000]).unwrap();
            content.sync().unwrap();
            content.write(20_000, &[2; 5000]).unwrap();
            content.sync_range(20_000, 5000).unwrap();
            content.settle(Loss::any(&mut random), &mut random).unwrap();
            let expected = [vec![1; 10_000], vec![0; 10_000], vec![2; 5000]].concat();
            assert_eq!(content.read(0, 100_000).unwrap(), expected, "seed {seed}");
        }
    }

    #[test]
    fn what_was_not_synced_is_lost_found_or_torn_by_sectors() {
        let mut seen = [0; 3];
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let mut content = content();
            content.write(0, &[1; 4096]).unwrap();
            content.sync().unwrap();
            content.write(0, &[2; 4096]).unwrap();
            assert_eq!(content.read(0, 4096).unwrap(), [2; 4096], "readers see the newest");
            content.settle(Loss::Some, &mut random).unwrap();
            let found = content.read(0, 4096).unwrap();
            let sectors: Vec<u8> = found.chunks(512).map(|sector| sector[0]).collect();
            assert!(found.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
            let new = sectors.iter().filter(|value| **value == 2).count();
            seen[if new == 0 {
                0
            } else if new == 8 {
                1
            } else {
                2
            }] += 1;
        }
        assert!(seen.iter().all(|times| *times > 20), "{seen:?}");
    }

    #[test]
    fn a_truncation_that_was_not_synced_can_be_undone() {
        let mut random = Random::new(1);
        let mut content = content();
        content.write(0, &[1; 20_000]).unwrap();
        content.sync().unwrap();
        content.truncate(5000).unwrap();
        content.write(9000, &[3; 10]).unwrap();
        let now = [vec![1; 5000], vec![0; 4000], vec![3; 10]].concat();
        assert_eq!(content.read(0, 30_000).unwrap(), now);
        content.settle(Loss::All, &mut random).unwrap();
        assert_eq!(content.read(0, 30_000).unwrap(), [1; 20_000]);
        content.truncate(5000).unwrap();
        content.sync().unwrap();
        content.allocate(0, 8000, false).unwrap();
        content.settle(Loss::None, &mut random).unwrap();
        assert_eq!(content.read(0, 30_000).unwrap(), [vec![1; 5000], vec![0; 3000]].concat());
    }

    #[test]
    fn a_page_whose_sync_has_failed_stays_unsynced_until_it_is_written_again() {
        let mut random = Random::new(1);
        let mut content = content();
        content.allocate(0, 8192, false).unwrap();
        content.sync().unwrap();
        content.write(0, &[1; 8192]).unwrap();
        content.fail_sync();
        content.write(0, &[2; 4096]).unwrap();
        content.sync().unwrap();
        content.settle(Loss::All, &mut random).unwrap();
        assert_eq!(content.read(0, 8192).unwrap(), [vec![2; 4096], vec![0; 4096]].concat());
    }
}
