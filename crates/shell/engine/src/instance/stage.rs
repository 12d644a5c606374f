//! Where the database finds its files, inside the private mount namespace; nobody outside sees any of it, and it
//! vanishes with the namespace.
//!
//! ```text
//! /run/strongroom             tmpfs (outside: an empty directory)
//!   <db-…>/
//!     device, mount/          what crate attach makes: the sealed device, and the file system on it
//!       volume-id             marker.rs
//!       data/                 data directory
//!       log/                  the database's logs
//!       tls/                  its certificate and private key
//!     server/                 the database's own: configuration, socket, what is said before the log begins
//! /dev/shm                    tmpfs: shared memory of parallel queries would stay behind in the machine's
//! ```
//!
//! The paths are short, and below no directory that is closed to the database's user: a home is, and may lie deeper
//! than a socket's address can say.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use clusters::InstanceResourceId;
use nix::mount::{MsFlags, mount};

use super::account::Account;

const ROOT: &str = "/run/strongroom";

/// The paths of one instance.
#[derive(Clone, Debug)]
pub struct Stage(PathBuf);

impl Stage {
    /// Those of an instance.
    pub fn of(id: &InstanceResourceId) -> Self {
        Self(Path::new(ROOT).join(id.as_str()))
    }

    /// Where the volume is attached.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The mounted file system.
    pub fn mount(&self) -> PathBuf {
        self.0.join("mount")
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.mount().join("data")
    }

    /// Logs.
    pub fn log(&self) -> PathBuf {
        self.mount().join("log")
    }

    /// Certificate and private key.
    pub fn tls(&self) -> PathBuf {
        self.mount().join("tls")
    }

    /// Configuration and socket.
    pub fn server(&self) -> PathBuf {
        self.0.join("server")
    }

    /// Sets the stage, in the private mount namespace.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_up(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o755).create(ROOT)?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("strongroom"), ROOT, Some("tmpfs"), flags, Some("mode=0755,size=16m"))?;
        mount(Some("strongroom"), "/dev/shm", Some("tmpfs"), flags, Some("mode=1777"))?;
        make_dir(&self.0, 0o755)
    }
}

/// Makes a directory that belongs to the database; one that is there stays.
///
/// # Errors
/// What the system says.
pub fn make_servers_dir(path: &Path, account: &Account) -> io::Result<()> {
    make_dir(path, 0o700)?;
    give(path, account)
}

/// Writes a file that only the database may read.
///
/// # Errors
/// What the system says.
pub fn write_for_server(path: &Path, bytes: &[u8], account: &Account) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Closed to others from its first moment by the process's umask.
    fs::write(path, bytes)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    give(path, account)
}

fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

fn give(path: &Path, account: &Account) -> io::Result<()> {
    chown(path, Some(account.uid.as_raw()), Some(account.gid.as_raw()))
}
