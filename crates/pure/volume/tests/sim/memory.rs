//! A disk in memory that never fails and keeps nothing of what was removed, for long histories. It counts what is written.

use std::{
    collections::BTreeMap,
    io,
    sync::{Mutex, MutexGuard},
};

use volume::{SLOT, Segments};

#[derive(Default)]
struct Files {
    header: Vec<u8>,
    checkpoint: Vec<u8>,
    segments: BTreeMap<u32, Vec<u8>>,
    written: u64,
}

#[derive(Default)]
pub struct Memory(Mutex<Files>);

impl Memory {
    /// Bytes written into segments.
    pub fn written(&self) -> u64 {
        self.files().written
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap()
    }
}

impl Segments for Memory {
    fn list(&self) -> io::Result<Vec<u32>> {
        Ok(self.files().segments.keys().copied().collect())
    }

    fn create(&self, segment: u32, size: u32) -> io::Result<()> {
        self.files().segments.insert(segment, vec![0; size as usize]);
        Ok(())
    }

    fn settle(&self, _: u32) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, segment: u32, offset: u32, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.files();
        files.written += bytes.len() as u64;
        let file = files.segments.get_mut(&segment).ok_or(io::ErrorKind::NotFound)?;
        file[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read(&self, segment: u32, offset: u32, buffer: &mut [u8]) -> io::Result<usize> {
        let files = self.files();
        let file = files.segments.get(&segment).ok_or(io::ErrorKind::NotFound)?;
        let rest = file.get(offset as usize..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn finish(&self, _: u32, _: u32) -> io::Result<()> {
        Ok(())
    }

    fn is_shared(&self, _: u32) -> bool {
        false
    }

    fn remove(&self, segment: u32) -> io::Result<()> {
        self.files().segments.remove(&segment);
        Ok(())
    }

    fn read_header(&self) -> io::Result<Vec<u8>> {
        Ok(self.files().header.clone())
    }

    fn replace_header(&self, bytes: &[u8]) -> io::Result<()> {
        self.files().header = bytes.to_vec();
        Ok(())
    }

    fn read_checkpoint(&self) -> io::Result<Vec<u8>> {
        Ok(self.files().checkpoint.clone())
    }

    fn write_checkpoint(&self, slot: usize, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.files();
        files.checkpoint.resize(2 * SLOT, 0);
        files.checkpoint[slot * SLOT..][..SLOT].copy_from_slice(bytes);
        Ok(())
    }
}
