//! Other keys for a volume: renewal while it is open, clones with a key of their own, copies under another key.

use std::{ops::ControlFlow, path::Path, sync::Arc};

use envelope::SystemEntropy;
use volume::{BLOCK, Volume, VolumeError, VolumeKey, WrappedKey, clone_header, copy_resealed};

use super::VolumeDevice;
use crate::{
    segment_files::{self, SegmentFiles},
    volume_reader::VolumeReader,
};

/// Bytes of tree nodes that the target of a copy keeps in memory.
const NODE_CACHE: usize = 4 << 20;

impl VolumeDevice {
    /// Seals everything from now on under `key`, and in the background what was sealed before; [`super::Stats`] says how
    /// far that is. The header names the key as `wrapped_key` on return, and the older ones until nothing needs them.
    ///
    /// # Errors
    /// As [`Volume::renew_key`].
    pub fn renew_key(&self, key: VolumeKey, wrapped_key: &[u8]) -> Result<(), VolumeError> {
        self.volume.renew_key(key, wrapped_key)?;
        self.worker.wake();
        Ok(())
    }

    /// The wrapped keys that the header on the disk names, oldest first: one, and more until a renewal is through.
    pub fn wrapped_keys_now(&self) -> Vec<Vec<u8>> {
        self.volume.wrapped_keys()
    }

    /// The wrapped keys that opening the volume in `dir` takes, by generation, ascending. Read without any of them, so
    /// nothing vouches for them yet.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::Damaged`], [`VolumeError::UnknownVersion`], [`VolumeError::Io`].
    pub fn wrapped_keys(dir: &Path) -> Result<Vec<(u32, Vec<u8>)>, VolumeError> {
        volume::wrapped_keys(&segment_files::header(dir)?)
    }

    /// As [`VolumeDevice::clone_from`], from a source of which several generations are needed: `keys` are all of them,
    /// wrapped for the clone. With a key of its `own`, the clone is sealed anew under that in the background, once it is
    /// open.
    ///
    /// # Errors
    /// As [`VolumeDevice::clone_from`].
    pub fn clone_under(
        snapshot_dir: &Path,
        source_id: &str,
        dir: &Path,
        id: &str,
        keys: &[WrappedKey<'_>],
        own: Option<WrappedKey<'_>>,
    ) -> Result<(), VolumeError> {
        segment_files::copy(snapshot_dir, dir, |header| {
            clone_header(header, source_id, id, keys, own, &SystemEntropy)
        })
    }

    /// Copies a `source`, which is open for reading, into volume `id` under another key, in the new directory
    /// `dir`: whole, or not at all. A copy that a crash ended is begun again. `observe` is told how many bytes are
    /// copied, and of how many; [`ControlFlow::Break`] ends it.
    ///
    /// # Errors
    /// As [`VolumeDevice::create`], [`VolumeDevice::open`] and [`copy_resealed`].
    pub fn copy_resealed(
        source: &VolumeReader,
        dir: &Path,
        id: &str,
        own: WrappedKey<'_>,
        observe: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<(), VolumeError> {
        segment_files::build(dir, |new| {
            let files = SegmentFiles::make(new).map_err(|e| VolumeError::io("make the directory", e))?;
            let segment_size = source.header().segment_size;
            Volume::create(&files, id, own.key, own.wrapped, source.size(), segment_size, &SystemEntropy)?;
            let key = VolumeKey::copy_from(own.key.expose()).ok_or(VolumeError::WrongKey)?;
            let options = volume::Options {
                node_cache: NODE_CACHE,
                keep_committed: BLOCK,
                ..volume::Options::default()
            };
            let target = Volume::open(files, id, key, Arc::new(SystemEntropy), options)?;
            copy_resealed(&source.0, &target, observe)
        })
    }
}
