//! A disk in memory that breaks on demand, and a plain array that knows what a crash may leave. Everything follows
//! from a seed.
#![allow(dead_code, reason = "each test uses a part")]

pub mod audit;
pub mod disk;
pub mod history;
pub mod memory;
pub mod model;

use std::sync::Mutex;

use ids::Entropy;
use volume::{VolumeKey, wrapped_keys};

pub const ID: &str = "vol-0a0a0a0a0a0a0a0a0";

/// The key of every simulated volume.
pub fn key() -> VolumeKey {
    VolumeKey::copy_from(&[0x42; 32]).unwrap()
}

/// Wraps a key, as the key service does; this one keeps no secret.
pub fn wrap(key: &VolumeKey) -> Vec<u8> {
    key.expose().iter().map(|byte| byte ^ 0x5a).collect()
}

/// The keys that a header names, unwrapped.
pub fn unwrap_keys(header: &[u8]) -> Vec<VolumeKey> {
    let unwrap = |wrapped: Vec<u8>| {
        let bytes: Vec<u8> = wrapped.iter().map(|byte| byte ^ 0x5a).collect();
        VolumeKey::copy_from(&bytes).unwrap()
    };
    wrapped_keys(header).unwrap().into_iter().map(|(_, wrapped)| unwrap(wrapped)).collect()
}

/// Numbers that look random, from a seed (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

/// Entropy from a seed.
pub struct SeededEntropy(Mutex<Random>);

impl SeededEntropy {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(Random::new(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut random = self.0.lock().unwrap();
        for byte in bytes {
            *byte = random.next() as u8;
        }
    }
}
