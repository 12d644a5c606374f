//! A lossy store: a FUSE file system that treats its users as badly as POSIX allows.
//!
//! What a program sees is always the newest content. Beside it, the store knows of every file and every directory what
//! is durable: bytes by `fsync`, `fdatasync` or `O_DSYNC`, names only by an `fsync` of their directory. A power cut
//! fails everything from then on; at the restart, each page of 4 KiB and each name that was not synced is found as it
//! was, as it should be, or (a page) as a mixture of both by sectors of 512 bytes.
//!
//! It also fails chosen operations with `EIO` or `ENOSPC`, is slow on request, and has a capacity.
//!
//! ```text
//! mount  ─►  disk (names, power, faults)  ─►  content (pages of a file), directories (names and their changes)
//! control: lines on standard input
//! ```

mod content;
mod control;
mod directories;
mod disk;
mod faults;
mod mount;

pub use control::run;
