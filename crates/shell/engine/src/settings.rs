//! What an operator can set about the machine.

use std::{collections::BTreeMap, path::PathBuf};

/// Settings of [`crate::LocalHost`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where volumes (`volumes/<vol-…>`), snapshots (`snapshots/<snap-…>`), what instances need to run
    /// (`instances/<db-…>`) and the authority for their certificates (`ca/`) lie.
    pub home: PathBuf,
    /// The program that runs `instance --dir <directory>` by calling [`crate::run_instance`].
    pub program: PathBuf,
    /// Operating system user, without rights, who runs the databases.
    pub postgres_user: String,
    /// Bytes that a new volume seems to have; the disk holds only what is written. A multiple of 8 KiB.
    pub volume_size: u64,
    /// Settings of every database that differ from the defaults. Those that could harm the data or leave the volume
    /// are refused when an instance opens.
    pub parameters: BTreeMap<String, String>,
}
