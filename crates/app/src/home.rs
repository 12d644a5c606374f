//! The home directory: everything that a server keeps.
//!
//! ```text
//! config.toml    settings (config.rs)
//! root.key       the root key, or how the passphrase makes it (crate custody); back it up elsewhere
//! credentials    the administrator's credentials, as an AWS shared credentials file
//! state.db       keys, policies, clusters (crate store); secrets in it are sealed under the root key
//! trail/         the audit trail (crate audit)
//! volumes/       sealed volumes; snapshots/ sealed snapshots
//! tls/           certificate, its key and its authority, if `init` made them
//! run/           sockets, pid and endpoint of what is running; may be emptied when nothing is
//! ```

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

/// Where a server keeps everything.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

/// Held while a server runs; two on one home would destroy each other's state.
#[derive(Debug)]
pub struct HomeLock(#[expect(dead_code, reason = "held for its drop")] Flock<File>);

impl Home {
    /// A home at a path, there or not.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    pub fn root_key(&self) -> PathBuf {
        self.0.join("root.key")
    }

    pub fn credentials(&self) -> PathBuf {
        self.0.join("credentials")
    }

    pub fn state(&self) -> PathBuf {
        self.0.join("state.db")
    }

    pub fn trail(&self) -> PathBuf {
        self.0.join("trail")
    }

    pub fn tls(&self) -> PathBuf {
        self.0.join("tls")
    }

    pub fn tls_authority(&self) -> PathBuf {
        self.tls().join("authority.pem")
    }

    pub fn tls_certificate(&self) -> PathBuf {
        self.tls().join("certificate.pem")
    }

    pub fn tls_key(&self) -> PathBuf {
        self.tls().join("key.pem")
    }

    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    pub fn endpoint(&self) -> PathBuf {
        self.run().join("endpoint")
    }

    pub fn pid(&self) -> PathBuf {
        self.run().join("serve.pid")
    }

    /// The socket for the operator's own commands (admin.rs).
    pub fn admin(&self) -> PathBuf {
        self.run().join("admin")
    }

    /// The accounts that the running server knows, one a line.
    pub fn served_accounts(&self) -> PathBuf {
        self.run().join("accounts")
    }

    /// Makes the directories; only their owner may enter.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(&self) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        for dir in
            [self.0.clone(), self.trail(), self.run(), self.0.join("volumes"), self.0.join("snapshots")]
        {
            builder.create(&dir)?;
        }
        // An existing directory may have been open to others.
        fs::set_permissions(&self.0, Permissions::from_mode(0o700))
    }

    /// Locks the home for one server.
    ///
    /// # Errors
    /// `WouldBlock` if a server runs on it.
    pub fn lock(&self) -> io::Result<HomeLock> {
        let file =
            OpenOptions::new().create(true).append(true).mode(0o600).open(self.run().join("serve.lock"))?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map(HomeLock).map_err(|(_, errno)| errno.into())
    }
}

/// Writes a file that only its owner may read, whole or not at all.
///
/// # Errors
/// What the system says; the old file is untouched then.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_locked_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("home"));
        home.create().unwrap();
        assert_eq!(fs::metadata(home.path()).unwrap().permissions().mode() & 0o777, 0o700);
        let lock = home.lock().unwrap();
        assert_eq!(home.lock().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        home.lock().unwrap();
    }

    #[test]
    fn a_private_file_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
