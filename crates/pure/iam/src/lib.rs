//! Policies and the decision over them: pure, total, without a clock (spec/policy.md §1–§9).

mod condition;
mod decide;
mod document;
mod principal;
mod request;
mod template;
mod wildcard;

pub use decide::{Decision, Granted, Policies, Reason, decide};
pub use document::{Document, Kind, Malformed};
pub use request::{Context, Principal, Request};
pub use wildcard::Pattern;
