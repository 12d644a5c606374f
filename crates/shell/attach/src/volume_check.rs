//! Check and salvage of volumes and snapshots in directories that nobody writes to (decision 0141).

use std::{ops::ControlFlow, path::Path, sync::Arc};

use envelope::SystemEntropy;
use volume::{
    Anchor, BLOCK, Finding, Flaw, Header, Keys, Observe, Observed, Progress, Salvaged, Target, Volume,
    VolumeError, VolumeKey,
};

use crate::segment_files::{self, SegmentFiles};

/// Bytes that a salvage keeps unwritten before it writes them.
const WRITE_BEHIND: usize = 8 << 20;

/// Checks volume `id` in `dir`, whose log has to contain the `anchor`, if one is known: all that an attach or a read may
/// need, and which files there are. `observe` is told of each finding, and after each piece of up to 2 MiB how far it is.
/// Says whether it came to the end.
///
/// # Errors
/// [`VolumeError::NotFound`], [`VolumeError::InUse`], [`VolumeError::WrongVolume`], [`VolumeError::WrongKey`],
/// [`VolumeError::UnknownVersion`], [`VolumeError::Io`]. Damage is no error.
pub fn check(
    dir: &Path,
    id: &str,
    keys: impl Into<Keys>,
    anchor: Option<&Anchor>,
    observe: &mut Observe<'_>,
) -> Result<(Progress, ControlFlow<()>), VolumeError> {
    let files = SegmentFiles::open_read_only(dir)?;
    let strays = segment_files::strays(dir).map_err(|e| VolumeError::io("list the files", e))?;
    let told = u64::try_from(strays.len()).unwrap_or(u64::MAX);
    for stray in strays {
        let what = format!("{stray} is no file of a volume");
        let finding = Finding { flaw: Flaw::Leftover, place: None, blocks: 0..0, what };
        if observe(Observed::Found(&finding)).is_break() {
            return Ok((Progress::default(), ControlFlow::Break(())));
        }
    }
    let (mut progress, flow) = volume::check(&files, id, keys, anchor, observe)?;
    progress.findings += told;
    Ok((progress, flow))
}

/// Reads what is authentic out of volume `id` in `dir` into a new volume in the new directory `into`, of the same id,
/// size and newest wrapped key. It appears whole, or not at all. A volume whose log does not contain the `anchor`, if one
/// is known, is not refused: what is missing is told, and all of it may be old.
///
/// # Errors
/// As [`check`]; [`VolumeError::Damaged`] if not even the header or its copy can be read,
/// [`VolumeError::AlreadyExists`], [`VolumeError::Stopped`] if the observer ends it.
pub fn salvage(
    dir: &Path,
    id: &str,
    keys: impl Into<Keys>,
    anchor: Option<&Anchor>,
    into: &Path,
    observe: &mut Observe<'_>,
) -> Result<Salvaged, VolumeError> {
    let files = SegmentFiles::open_read_only(dir)?;
    let keys = keys.into();
    segment_files::build(into, |dir| {
        let mut target = NewVolume { dir, keys: keys.iter().map(copy_of).collect(), volume: None };
        let salvaged = volume::salvage(&files, id, keys, anchor, &mut target, observe)?;
        target.volume()?.close()?;
        Ok(salvaged)
    })
}

/// The volume that is being made.
struct NewVolume<'a> {
    dir: &'a Path,
    /// Of the source.
    keys: Vec<VolumeKey>,
    volume: Option<Volume<SegmentFiles>>,
}

impl NewVolume<'_> {
    fn volume(&self) -> Result<&Volume<SegmentFiles>, VolumeError> {
        self.volume.as_ref().ok_or(VolumeError::Invalid("the salvage has not begun"))
    }
}

impl Target for NewVolume<'_> {
    fn begin(&mut self, header: &Header) -> Result<(), VolumeError> {
        let last = header.generations.last().ok_or(VolumeError::Invalid("a header has a generation"))?;
        let (id, size) = (&header.volume, header.blocks * BLOCK as u64);
        let files = SegmentFiles::make(self.dir).map_err(|e| VolumeError::io("make the directory", e))?;
        let (wrapped, segment) = (&last.wrapped_key, header.segment_size);
        let newest = self.keys.iter().find(|key| last.is_of(key)).ok_or(VolumeError::WrongKey)?;
        Volume::create(&files, id, newest, wrapped, size, segment, &SystemEntropy)?;
        let (key, entropy) = (copy_of(newest), Arc::new(SystemEntropy));
        self.volume = Some(Volume::open(files, id, key, entropy, volume::Options::default())?);
        self.keys.clear();
        Ok(())
    }

    fn put(&mut self, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        let volume = self.volume()?;
        volume.write(offset, bytes)?;
        if volume.pending() > 4 * WRITE_BEHIND {
            volume.commit_down_to(WRITE_BEHIND)?;
        }
        if volume.checkpoint_is_due() {
            volume.checkpoint()?;
        }
        Ok(())
    }
}

fn copy_of(key: &VolumeKey) -> VolumeKey {
    VolumeKey::copy_from(key.expose()).expect("a key is as long as a key")
}
