//! The operating system user who runs the database.

use std::io;

use nix::unistd::{Gid, Uid, User};

/// A user without rights.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Account {
    pub uid: Uid,
    pub gid: Gid,
}

impl Account {
    /// Looks a user up.
    ///
    /// # Errors
    /// There is none of this name, or it is root, who must not run PostgreSQL.
    pub fn named(name: &str) -> io::Result<Self> {
        let user = User::from_name(name)?
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no user {name}")))?;
        if user.uid.is_root() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "PostgreSQL does not run as root"));
        }
        Ok(Self { uid: user.uid, gid: user.gid })
    }
}
