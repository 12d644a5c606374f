//! What the benchmark programs share: a signing client, a PostgreSQL under pgbench, the disk beneath, and the
//! arithmetic of medians. Figures are only ever printed beside a reference measured in the same run
//! (`docs/performance.md`).

pub mod client;
pub mod disk;
pub mod figures;
pub mod many;
pub mod postgres;
pub mod sizes;

/// Whatever ends a benchmark.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
