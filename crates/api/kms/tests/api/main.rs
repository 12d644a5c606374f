//! The KMS API through a real pipeline: real store, custody and trail, a directory in memory, a clock that
//! tests turn.

mod accounts;
mod aliases;
mod authorization;
mod conditions;
mod cryptography;
mod durability;
mod ends;
mod external_keys;
mod grants;
mod imports;
mod key_stores;
mod keys;
mod macs;
mod pairs;
mod policies;
mod quotas;
mod records;
mod regions;
mod replicas;
mod rotation;
mod states;
mod table;
mod world;
