//! Time and randomness as arguments, so that a seed replays a run.

use crate::Timestamp;

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// The instant now.
    fn now(&self) -> Timestamp;
}

/// Where random bytes come from. Outside tests this is the cryptographic generator of the system.
pub trait Entropy: Send + Sync {
    /// Fills `bytes` with random bytes.
    fn fill(&self, bytes: &mut [u8]);
}
