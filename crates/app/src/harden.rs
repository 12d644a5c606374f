//! What every process of ours does first, as each may hold keys: no core dumps, no reading of its memory by
//! other processes of the same user.

use nix::sys::{prctl, resource};

/// Forbids core dumps and foreign reads of this process's memory.
pub fn process() {
    // Both only fail where the system forbids to be stricter; the service is no less correct then.
    let _ = resource::setrlimit(resource::Resource::RLIMIT_CORE, 0, 0);
    let _ = prctl::set_dumpable(false);
}
