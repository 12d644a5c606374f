//! Tests of the workspace itself (`tests/arrows.rs` holds the arrows between crates), and a store that breaks: a file
//! system which forgets what was not synced when its power is cut, for everything that claims to survive that. And an
//! external key store proxy that can misbehave.

pub mod lossy;
mod random;
pub mod xks;

pub use random::Random;
