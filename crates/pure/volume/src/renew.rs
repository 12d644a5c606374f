//! Renewal of the volume key: a new generation for all that is sealed from now on, and the cleaner for what was sealed
//! before (decision 0112). When nothing that a recovery or a read may need is of an older generation, those go out of the
//! header, and their keys out of memory.
//!
//! INVARIANT: a generation is dropped only by a header that is durable after both slots of the checkpoint, the position
//! from which the log is replayed, and every live record are of a newer one. A salt is drawn for each epoch, so a key of
//! an epoch is of one generation.

use crate::{
    VolumeError, VolumeKey,
    header::{Epoch, Header},
    keys::Keyring,
    log::Log,
    segments::Segments,
    volume::Volume,
};

/// The wrapped keys that a header names, by generation, ascending: those that are needed to open the volume. Nothing
/// vouches for them before it is opened.
///
/// # Errors
/// [`VolumeError::Damaged`], [`VolumeError::UnknownVersion`].
pub fn wrapped_keys(header: &[u8]) -> Result<Vec<(u32, Vec<u8>)>, VolumeError> {
    let rows = Header::parse(header)?.generations;
    Ok(rows.into_iter().map(|row| (row.generation, row.wrapped_key)).collect())
}

impl<S: Segments> Volume<S> {
    /// Begins a generation: on return, everything is sealed under `key`, which the header names as `wrapped_key`. What
    /// was sealed before follows in [`Volume::clean_step`]. May be called again before that has come to its end. After
    /// an error or a crash the volume may know the new key or not: [`wrapped_keys`] says.
    ///
    /// # Errors
    /// [`VolumeError::Invalid`] for a wrapped key outside its range, or too many generations; [`VolumeError::Stopped`],
    /// [`VolumeError::Locked`], [`VolumeError::Io`].
    pub fn renew_key(&self, key: VolumeKey, wrapped_key: &[u8]) -> Result<(), VolumeError> {
        // Nobody has sealed anything that is not written.
        let (mut log, mut disk) = (self.log(), self.disk());
        self.state().check()?;
        let mut header = log.header.clone();
        let generation = header.begin_generation(&key, wrapped_key, &*self.entropy)?;
        self.vault.add_key(generation, key)?;
        let begun = self.begin_epoch_behind(&mut log, &mut disk, header);
        if begun.is_err() {
            self.vault.keep_generations(|other| other != generation);
        }
        begun
    }

    /// The wrapped keys that the header on the disk names, oldest first: what the next open takes. Waits for a commit that
    /// is under way.
    pub fn wrapped_keys(&self) -> Vec<Vec<u8>> {
        self.log().header.generations.iter().map(|row| row.wrapped_key.clone()).collect()
    }

    /// Whether the header names older generations, to be dropped when [`Volume::clean_step`] is through.
    pub fn is_renewing(&self) -> bool {
        self.vault.with(|ring| ring.generations() > 1).unwrap_or(false)
    }

    /// A segment with live records of an older generation, whoever else holds it: the one that has the fewest.
    pub(crate) fn choose_of_older_generation(&self) -> Option<u32> {
        if !self.is_renewing() {
            return None;
        }
        let mut movable: Vec<(u32, u32, u32)> = {
            let state = self.state();
            // What was written aside may lie behind the position; of an earlier epoch, no replay needs it.
            let old = state.usage.iter().filter(|(segment, usage)| {
                (**segment < state.replay_from || usage.epoch < state.replay_epoch)
                    && !state.is_spoken_for(**segment)
            });
            old.map(|(segment, usage)| (usage.live, *segment, usage.epoch)).collect()
        };
        movable.sort_unstable();
        let older = |ring: &Keyring| {
            movable.iter().find(|(.., epoch)| ring.is_older(*epoch)).map(|(_, segment, _)| *segment)
        };
        self.vault.with(older).ok().flatten()
    }

    /// Goes on with a renewal when no segment of an older generation is left to be cleaned; says whether it took a step.
    /// For those who hold the lock of checkpoints.
    pub(crate) fn advance_renewal(&self) -> Result<bool, VolumeError> {
        if !self.is_renewing() {
            return Ok(false);
        }
        let emptied = {
            let state = self.state();
            // Copies that the tree does not know yet may be of an older generation.
            (!state.emptied.is_empty() && state.stuck.is_empty()) || !state.moved.is_empty()
        };
        if emptied {
            self.checkpoint_alone()?;
            return Ok(true);
        }
        // No other renewal begins while the log is held.
        let mut log = self.log();
        let [one, other] = log.slot_epochs;
        let replayed = self.state().replay_epoch;
        if self.vault.with(|ring| [replayed, one, other].iter().any(|epoch| ring.is_older(*epoch)))? {
            drop(log);
            // The next checkpoint moves the position, and goes into the other slot.
            self.state().checkpoint_anyway = true;
            self.checkpoint_alone()?;
            return Ok(true);
        }
        // Those that are left are in segments that cannot be read.
        if self.renewal().1 == 0 {
            self.drop_generations(&mut log)?;
        }
        Ok(false)
    }

    /// How many generations there are, and the live records of older ones as of the last checkpoint.
    pub(crate) fn renewal(&self) -> (u64, u64) {
        let generations = self.vault.with(Keyring::generations).unwrap_or_default() as u64;
        if generations <= 1 {
            return (generations, 0);
        }
        let usage: Vec<_> = self.state().usage.values().copied().collect();
        let older = |ring: &Keyring| {
            let older = usage.iter().filter(|usage| ring.is_older(usage.epoch));
            older.map(|usage| u64::from(usage.live)).sum()
        };
        (generations, self.vault.with(older).unwrap_or_default())
    }

    /// Drops all generations but the newest. Of the epochs only those rows stay that an anchor may name, without a key.
    fn drop_generations(&self, log: &mut Log) -> Result<(), VolumeError> {
        self.state().check()?;
        let newest = log.header.last_generation().generation;
        let mut header = log.header.clone();
        header.generations.retain(|row| row.generation == newest);
        header.epochs.retain(|row| row.generation == newest || self.may_be_anchored(log, row));
        self.replace_header(&header)?;
        log.header = header;
        self.vault.keep_generations(|generation| generation == newest);
        Ok(())
    }

    /// Whether the key service may remember an epoch: by the anchor that the volume was opened with, or by one that was
    /// taken since.
    fn may_be_anchored(&self, log: &Log, row: &Epoch) -> bool {
        let epoch = row.start.epoch;
        epoch >= log.first_epoch || self.options.anchor.is_some_and(|anchor| anchor.epoch == epoch)
    }
}
