//! Hygiene of a process that holds a data key and serves the kernel's writeback.

use nix::sys::mman::MlockAllFlags;
use nix::sys::resource::{Resource, setrlimit};

/// What the system granted; a `false` is worth a line in the log, not a refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hardening {
    /// No core dump, and no other process of the same user may trace or read this one.
    pub not_dumpable: bool,
    /// Pages stay in memory once touched: nothing secret reaches swap, and serving a write never waits for
    /// a page to come back from a disk that may itself wait for that write.
    pub locked: bool,
}

/// Hardens the whole process: no dumps, no swapping. Memory is locked as it is touched (`MCL_ONFAULT`), so
/// that large buffers which are mostly unused cost nothing.
#[must_use]
pub fn harden_io_process() -> Hardening {
    let no_core = setrlimit(Resource::RLIMIT_CORE, 0, 0).is_ok();
    let not_dumpable = nix::sys::prctl::set_dumpable(false).is_ok();
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    let locked =
        nix::sys::mman::mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault).is_ok();
    Hardening { not_dumpable: no_core && not_dumpable, locked }
}

/// Tells the kernel that the calling thread serves writeback: its allocations then never wait for I/O that it
/// would have to serve itself, and it is not throttled for pages that it is cleaning (`PR_SET_IO_FLUSHER`).
///
/// Threads and processes that the thread starts inherit this, so each serving thread calls it, not the main
/// one. Returns whether the kernel agreed (it asks for `CAP_SYS_RESOURCE`).
pub fn mark_io_thread() -> bool {
    /// `include/uapi/linux/prctl.h`.
    const PR_SET_IO_FLUSHER: libc::c_int = 57;
    // SAFETY: the call takes integers only and changes nothing but flags of the calling thread.
    unsafe { libc::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == 0 }
}
