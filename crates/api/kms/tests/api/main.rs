//! The KMS API through a real pipeline: real store, custody and trail, a directory in memory, a clock that
//! tests turn.

mod aliases;
mod authorization;
mod cryptography;
mod durability;
mod grants;
mod keys;
mod policies;
mod records;
mod rotation;
mod states;
mod table;
mod world;
