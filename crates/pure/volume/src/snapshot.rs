//! Snapshots, clones, and the end of an attach: each is a header that says where the log ends.

use std::sync::PoisonError;

use ids::Entropy;

use crate::{VolumeError, VolumeKey, header::Header, segments::Segments, volume::Volume};

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
        // Segments are removed by checkpoints alone.
        let _no_checkpoint = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        self.flush()?;
        self.checkpoint_alone()?;
        let (header, segments) = {
            let mut log = self.log();
            self.roll(&mut log);
            let mut header = log.header.clone();
            header.end = Some(log.position);
            (header, self.known_segments())
        };
        let checkpoint = self.segments.read_checkpoint();
        let checkpoint = checkpoint.map_err(|e| VolumeError::io("read the checkpoint", e))?;
        let header = self.vault.with(|ring| header.encode(ring.volume_key()))?;
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
        let _no_checkpoint = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        self.flush()?;
        self.checkpoint_alone()?;
        let mut log = self.log();
        // What came in since is committed too, and nothing can follow while the log is held.
        self.commit_rest(&mut log)?;
        self.roll(&mut log);
        let mut header = log.header.clone();
        header.end = Some(log.position);
        // No group may follow the end that the header names, not even if the host says that it could not be replaced.
        self.stop();
        self.replace_header(&header)
    }
}

/// The header of a clone: that of a snapshot of `source` under the id of the new volume, whose owner has the same key,
/// wrapped for the new volume.
///
/// # Errors
/// [`VolumeError::WrongVolume`], [`VolumeError::WrongKey`], [`VolumeError::Damaged`],
/// [`VolumeError::UnknownVersion`], [`VolumeError::Invalid`].
pub fn clone_header(
    header: &[u8],
    source: &str,
    id: &str,
    key: &VolumeKey,
    wrapped_key: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, VolumeError> {
    let mut parsed = Header::parse(header)?;
    if parsed.volume != source {
        return Err(VolumeError::WrongVolume { expected: source.into(), found: parsed.volume });
    }
    parsed.verify(key, header)?;
    parsed.rename(id, key, wrapped_key, entropy)?;
    Ok(parsed.encode(key))
}
