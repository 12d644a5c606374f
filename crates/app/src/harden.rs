//! What every process of ours does first, as each may hold keys: no core dumps, no reading of its memory by
//! other processes of the same user, and no key in swap.

use nix::sys::{prctl, resource};

/// Forbids core dumps and foreign reads of this process's memory.
pub fn process() {
    // Both only fail where the system forbids to be stricter; the service is no less correct then.
    let _ = resource::setrlimit(resource::Resource::RLIMIT_CORE, 0, 0);
    let _ = prctl::set_dumpable(false);
}

/// Keeps this process's memory out of swap, where the system allows it.
pub fn lock_memory() {
    // With a limit, every later allocation beyond it would fail instead of merely being swappable.
    let unlimited = nix::unistd::geteuid().is_root()
        || resource::getrlimit(resource::Resource::RLIMIT_MEMLOCK)
            .is_ok_and(|(soft, _)| soft == libc::RLIM_INFINITY);
    // On fault: stacks and arenas reserve far more than they use.
    // SAFETY: takes no pointers.
    let locked =
        unlimited && unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) } == 0;
    if !locked {
        tracing::warn!("memory could not be locked: use encrypted swap or none");
    }
}
