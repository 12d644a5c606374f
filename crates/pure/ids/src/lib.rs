//! The words that every part shares: accounts, regions, resource names, instants, and the two traits
//! through which time and randomness come in (nothing below the binary reads a clock of its own).

mod account;
mod arn;
mod clock;
mod regions;
mod timestamp;

pub use account::{AccountId, InvalidAccountId, InvalidRegion, Region};
pub use arn::{Arn, InvalidArn};
pub use clock::{Clock, Entropy};
pub use regions::Regions;
pub use timestamp::{InvalidTimestamp, Timestamp};
