//! Why a snapshot did not get into the store or out of it.

use std::io;

/// The store or this machine could not do it. Every call may be repeated.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The store could not do `action`.
    #[error("the store cannot {action}")]
    Store {
        action: String,
        #[source]
        source: object_store::Error,
    },
    /// This machine could not do `action`.
    #[error("cannot {action}")]
    Host {
        action: String,
        #[source]
        source: io::Error,
    },
    /// The store has no whole snapshot of this name.
    #[error("the store has no snapshot {0}")]
    NotFound(String),
    /// This machine has not the room for what a restore would fetch.
    #[error("{needed} bytes are to be fetched, and the host has room for {room}")]
    Full { needed: u64, room: u64 },
    /// Another server, with another root key, keeps its snapshots here.
    #[error("the store belongs to another server: give this one a prefix of its own")]
    OfAnother,
    /// What the store has is not what was put there, or a file changed while it was uploaded.
    #[error("{0}")]
    Damaged(String),
}

impl ArchiveError {
    pub(crate) fn store(action: impl Into<String>) -> impl FnOnce(object_store::Error) -> Self {
        let action = action.into();
        |source| Self::Store { action, source }
    }

    pub(crate) fn host(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        |source| Self::Host { action, source }
    }
}
