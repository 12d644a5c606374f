//! The KMS API through a real pipeline: real store, custody and trail, a directory in memory, a clock that tests turn.

mod aliases;
mod cryptography;
mod keys;
mod rotation;
mod states;
mod world;
