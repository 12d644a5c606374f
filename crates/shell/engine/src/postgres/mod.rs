//! PostgreSQL: how its settings, its roles and its data directory are made.

pub mod config;
pub mod parameters;
pub mod roles;
pub mod wal;

/// The bootstrap superuser, whom only the instance process can be.
pub const ADMIN: &str = "rdsadmin";
