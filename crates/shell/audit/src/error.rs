//! Why the trail cannot go on.

use std::{io, path::PathBuf};

/// What went wrong with the log or its index.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    /// Something that had been acknowledged is changed or missing.
    #[error("the audit trail is damaged: segment {segment}, byte {offset}: {what}")]
    Damaged { segment: u64, offset: u64, what: &'static str },
    #[error("the index of the audit trail failed: {0}")]
    Index(#[from] sqlx::Error),
    #[error("a record is longer than the trail takes")]
    TooLong,
    /// A write or flush failed before: nothing more is accepted, as nothing can be said of the disk.
    #[error("the audit trail has failed and accepts no more records: {0}")]
    Failed(String),
    #[error("a record cannot be read: {0}")]
    Record(#[from] serde_json::Error),
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
