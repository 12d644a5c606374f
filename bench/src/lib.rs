//! What the benchmark programs share: a signing client and the arithmetic of medians. Figures are only ever
//! printed beside a reference measured in the same run (`docs/performance.md`).

pub mod client;
pub mod figures;
