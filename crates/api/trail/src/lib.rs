//! The CloudTrail API over the audit trail of this server (spec/trail.md §5).

mod fault;
mod lookup_events;
mod token;

use std::sync::Arc;

use front::Router;

/// Serves every operation of CloudTrail.
pub fn operations(router: &mut Router, trail: Arc<audit::Trail>) {
    router.add::<lookup_events::LookupEvents>(trail);
}
