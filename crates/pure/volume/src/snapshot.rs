//! Snapshots, clones, and the end of an attach: each is a header that says where the log ends.

use std::sync::PoisonError;

use ids::Entropy;

use crate::{
    VolumeError, VolumeKey,
    header::{Generation, Header},
    segments::Segments,
    volume::Volume,
};

/// A volume at one moment: its header and checkpoint, and the segments to be linked. Nothing writes to those any
/// more, and none of them is removed while the image is shown.
#[derive(Clone, Debug)]
pub struct Image {
    pub header: Vec<u8>,
    pub checkpoint: Vec<u8>,
    pub segments: Vec<u32>,
}

impl<S: Segments> Volume<S> {
    /// Shows an image of everything that was written before, while writes go on.
    ///
    /// # Errors
    /// As [`Volume::flush`], and those of `save`.
    pub fn snapshot(&self, save: impl FnOnce(&Image) -> Result<(), VolumeError>) -> Result<(), VolumeError> {
        // What is linked is not written any more, and segments are removed by checkpoints alone.
        let mut cleaner = self.cleaner();
        let _no_checkpoint = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        self.flush()?;
        self.checkpoint_alone()?;
        self.end_cleaning(&mut cleaner);
        let (header, segments) = {
            let (mut log, mut disk) = (self.log(), self.disk());
            self.end_segment(&mut log, &mut disk)?;
            let mut header = log.header.clone();
            header.end = Some(log.position);
            (header, self.known_segments())
        };
        let checkpoint = self.segments.read_checkpoint();
        let checkpoint = checkpoint.map_err(|e| VolumeError::io("read the checkpoint", e))?;
        let header = self.encode_header(&header)?;
        save(&Image { header, checkpoint, segments: segments.into_iter().collect() })
    }

    /// Ends an attach: commits, writes a checkpoint, and says in the header where the log ends. The keys are wiped
    /// and the volume is locked, also after an error.
    ///
    /// # Errors
    /// As [`Volume::flush`].
    pub fn close(&self) -> Result<(), VolumeError> {
        let detached = self.detach();
        self.lock();
        detached
    }

    fn detach(&self) -> Result<(), VolumeError> {
        self.end_cleaning(&mut self.cleaner());
        self.log().ending = true;
        let _no_checkpoint = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        self.flush()?;
        self.checkpoint_alone()?;
        let (mut log, mut disk) = (self.log(), Some(self.disk()));
        // What came in since is committed too, and nothing can follow while the log is held.
        self.commit_rest(&mut log, &mut disk)?;
        let mut disk = disk.unwrap_or_else(|| self.disk());
        self.end_segment(&mut log, &mut disk)?;
        let mut header = log.header.clone();
        header.end = Some(log.position);
        // No group may follow the end that the header names, not even if the host says that it could not be replaced.
        self.stop();
        self.replace_header(&header)
    }
}

/// A volume key, and how it is wrapped for a volume.
#[derive(Clone, Copy, Debug)]
pub struct WrappedKey<'a> {
    pub key: &'a VolumeKey,
    pub wrapped: &'a [u8],
}

/// The header of a clone: that of a snapshot of `source` under the id of the new volume. `keys` are those of the
/// source, wrapped for the new volume: one for each generation, in any order. With a key of its `own`, the clone begins
/// another generation, and its cleaner renews what it shares with the source.
///
/// # Errors
/// [`VolumeError::WrongVolume`], [`VolumeError::WrongKey`], [`VolumeError::Damaged`],
/// [`VolumeError::UnknownVersion`], [`VolumeError::Invalid`].
pub fn clone_header(
    header: &[u8],
    source: &str,
    id: &str,
    keys: &[WrappedKey<'_>],
    own: Option<WrappedKey<'_>>,
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, VolumeError> {
    let mut parsed = Header::parse(header)?;
    if parsed.volume != source {
        return Err(VolumeError::WrongVolume { expected: source.into(), found: parsed.volume });
    }
    let find = |row: &Generation| keys.iter().find(|known| row.is_of(known.key)).ok_or(VolumeError::WrongKey);
    let newest = find(parsed.last_generation())?.key;
    parsed.verify(newest, header)?;
    parsed.rename(id)?;
    for row in &mut parsed.generations {
        let WrappedKey { key, wrapped } = *find(row)?;
        *row = Generation::new(row.generation, key, wrapped, entropy)?;
    }
    if let Some(own) = own {
        parsed.begin_generation(own.key, own.wrapped, entropy)?;
    }
    Ok(parsed.encode(own.map_or(newest, |own| own.key)))
}
