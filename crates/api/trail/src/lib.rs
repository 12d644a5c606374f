//! The CloudTrail API over the audit trail of this server (spec/trail.md §5), and the closing of records that a
//! crash left open.

mod fault;
mod interrupted;
mod lookup_events;
mod token;

use std::sync::Arc;

use front::Router;

pub use interrupted::{CloseError, close_interrupted};

/// Serves every operation of CloudTrail.
pub fn operations(router: &mut Router, trail: Arc<audit::Trail>) {
    router.add::<lookup_events::LookupEvents>(trail);
}
