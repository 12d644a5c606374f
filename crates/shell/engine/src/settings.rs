//! What an operator can set about the machine.

use std::{collections::BTreeMap, path::PathBuf};

pub use clusters::SpaceLimits;

pub use crate::protocol::Memory;

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
    /// How large volumes are and become. Sizes are multiples of 8 KiB.
    pub space: SpaceLimits,
    /// What an open volume may take of memory.
    pub memory: Memory,
    /// Settings of every database that differ from the defaults. Those that could harm the data or leave the volume
    /// are refused when an instance opens.
    pub parameters: BTreeMap<String, String>,
}
