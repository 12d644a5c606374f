//! The cryptographic generator of the system.

use aws_lc_rs::rand;
use ids::Entropy;

/// Random bytes from aws-lc.
#[derive(Clone, Copy, Debug)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    /// # Panics
    /// If the system has no randomness: nothing secret can be made then.
    fn fill(&self, bytes: &mut [u8]) {
        rand::fill(bytes).expect("the system gives random bytes");
    }
}
