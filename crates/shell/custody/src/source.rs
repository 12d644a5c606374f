//! Where the root key comes from.

use std::path::PathBuf;

/// How the root key is kept.
#[derive(Clone, Debug)]
pub enum Source {
    /// In a file.
    File(PathBuf),
    /// Nowhere: made from the passphrase in one file, with the salt in another.
    Passphrase { file: PathBuf, passphrase_file: PathBuf },
}

impl Source {
    pub(crate) const fn file(&self) -> &PathBuf {
        match self {
            Self::File(file) | Self::Passphrase { file, .. } => file,
        }
    }
}
