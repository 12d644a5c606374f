//! Policies and the decision over them: pure, total, without a clock (spec/policy.md §1–§9).

mod condition;
mod decide;
mod document;
mod principal;
mod request;
mod shown;
mod template;
mod wildcard;

pub use decide::{
    Decision, Granted, Judgement, Layer, Miss, Policies, Reason, Voice, decide, judge, near_misses, speaking,
};
pub use document::{Document, Kind, Malformed};
pub use request::{Context, Principal, Request};
pub use shown::with_deleted_principals;
pub use wildcard::Pattern;
