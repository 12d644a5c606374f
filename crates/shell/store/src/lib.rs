//! State in SQL: one SQLite file (WAL, `synchronous=FULL`), migrations inside the binary.
//!
//! INVARIANT: a mutation commits in the same transaction as the event id of its trail record
//! ([`Store::change`]), so that after a crash the record can be closed from what SQL says (`design.md` §3).
//! Statements are such that PostgreSQL takes them as well. Which tables there are: `migrations/`.

mod database;

pub use database::{Change, Error, Store};
pub use sqlx;
