//! The root key file.
//!
//! JSON, as an operator may have to look at it: `version`, `kind` (`key` or `passphrase`), then `key` (hex), or
//! the parameters of Argon2id with the salt; and `check`, 32 zero bytes sealed under the root key, which tells a
//! wrong key from a damaged store.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use argon2::{Algorithm, Argon2, Params, Version};
use envelope::{RootKey, SystemEntropy, sealed};
use ids::Entropy as _;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

use crate::source::Source;

const CHECK_PURPOSE: &[u8] = b"strongroom/root-key-check/v1";
/// RFC 9106, second recommended option: 64 MiB, three passes, four lanes.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 4;
/// More than this is no parameter that we wrote.
const MOST_MEMORY_KIB: u32 = 4 * 1024 * 1024;

/// Why the root key cannot be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{0} is there already: a root key is never overwritten")]
    Exists(PathBuf),
    #[error("{0} can be read by others than its owner: `chmod 600` it")]
    OpenToOthers(PathBuf),
    #[error("{0} is not a root key file, or is damaged")]
    Damaged(PathBuf),
    #[error("{0} holds a {1} root key, but the settings say otherwise")]
    OtherKind(PathBuf, &'static str),
    #[error("the passphrase is not that of {0}")]
    WrongPassphrase(PathBuf),
    #[error("the passphrase in {0} is empty")]
    NoPassphrase(PathBuf),
}

#[derive(Deserialize, Serialize, ZeroizeOnDrop)]
struct Content {
    version: u32,
    #[serde(flatten)]
    kind: Kind,
    check: String,
}

#[derive(Deserialize, Serialize, ZeroizeOnDrop)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Kind {
    Key { key: String },
    Passphrase { memory_kib: u32, passes: u32, lanes: u32, salt: String },
}

pub(crate) fn create(source: &Source) -> Result<RootKey, Error> {
    let path = source.file();
    let (key, kind) = match source {
        Source::File(_) => {
            let key = RootKey::generate(&SystemEntropy);
            let kind = Kind::Key { key: hex::encode(key.expose()) };
            (key, kind)
        }
        Source::Passphrase { passphrase_file, .. } => {
            let passphrase = passphrase(passphrase_file)?;
            let mut salt = [0; 16];
            SystemEntropy.fill(&mut salt);
            let key = derive(&passphrase, &salt, (MEMORY_KIB, PASSES, LANES))
                .ok_or_else(|| Error::Damaged(path.clone()))?;
            let salt = hex::encode(salt);
            (key, Kind::Passphrase { memory_kib: MEMORY_KIB, passes: PASSES, lanes: LANES, salt })
        }
    };
    let check = hex::encode(sealed::seal(key.expose(), CHECK_PURPOSE, b"", &[0; 32], &SystemEntropy));
    let content = Content { version: 1, kind, check };
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    serde_json::to_writer_pretty(&mut *text, &content).map_err(|_| Error::Damaged(path.clone()))?;
    text.push(b'\n');
    write_new(path, &text)?;
    Ok(key)
}

pub(crate) fn open(source: &Source) -> Result<RootKey, Error> {
    let path = source.file();
    let file = |source| Error::File { path: path.clone(), source };
    let mode = fs::metadata(path).map_err(file)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Error::OpenToOthers(path.clone()));
    }
    let text = Zeroizing::new(fs::read(path).map_err(file)?);
    let damaged = || Error::Damaged(path.clone());
    let content: Content = serde_json::from_slice(&text).map_err(|_| damaged())?;
    if content.version != 1 {
        return Err(damaged());
    }
    let check = hex::decode(&content.check).map_err(|_| damaged())?;
    let fits = |key: &RootKey| sealed::open(key.expose(), CHECK_PURPOSE, b"", &check).is_ok();
    match (&content.kind, source) {
        (Kind::Key { key }, Source::File(_)) => {
            let bytes = Zeroizing::new(hex::decode(key).map_err(|_| damaged())?);
            RootKey::copy_from(&bytes).filter(fits).ok_or_else(damaged)
        }
        (
            Kind::Passphrase { memory_kib, passes, lanes, salt },
            Source::Passphrase { passphrase_file, .. },
        ) => {
            let salt = hex::decode(salt).map_err(|_| damaged())?;
            let passphrase = passphrase(passphrase_file)?;
            let key = derive(&passphrase, &salt, (*memory_kib, *passes, *lanes)).ok_or_else(damaged)?;
            if fits(&key) { Ok(key) } else { Err(Error::WrongPassphrase(path.clone())) }
        }
        (Kind::Key { .. }, Source::Passphrase { .. }) => Err(Error::OtherKind(path.clone(), "plain")),
        (Kind::Passphrase { .. }, Source::File(_)) => Err(Error::OtherKind(path.clone(), "passphrase")),
    }
}

/// The first line of the file.
fn passphrase(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let read = fs::read(path).map_err(|source| Error::File { path: path.into(), source });
    let mut bytes = Zeroizing::new(read?);
    let end = bytes.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(bytes.len());
    bytes[end..].zeroize();
    bytes.truncate(end);
    if bytes.is_empty() { Err(Error::NoPassphrase(path.into())) } else { Ok(bytes) }
}

fn derive(passphrase: &[u8], salt: &[u8], (memory, passes, lanes): (u32, u32, u32)) -> Option<RootKey> {
    if memory > MOST_MEMORY_KIB || passes > 64 || lanes > 64 {
        return None;
    }
    let parameters = Params::new(memory, passes, lanes, Some(32)).ok()?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
        .hash_password_into(passphrase, salt, &mut *key)
        .ok()?;
    RootKey::copy_from(&*key)
}

/// Whole or not at all, and never over another.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let error = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists(path.into()),
        _ => Error::File { path: path.into(), source },
    };
    let temporary = path.with_extension("new");
    let _ = fs::remove_file(&temporary);
    let mut file =
        OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary).map_err(error)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(error)?;
    let placed = fs::hard_link(&temporary, path).map_err(error);
    let _ = fs::remove_file(&temporary);
    placed?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Custody;

    #[test]
    fn a_file_key_opens_again_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let source = Source::File(dir.path().join("root.key"));
        let made = Custody::create(&source).unwrap();
        let sealed = made.seal("a", b"x");
        let again = Custody::open(&source).unwrap();
        assert_eq!(again.open_sealed("a", &sealed).unwrap().expose(), b"x");
        assert!(again.open_sealed("b", &sealed).is_err(), "another place");
        assert!(matches!(Custody::create(&source), Err(Error::Exists(_))));
    }

    #[test]
    fn a_passphrase_opens_what_it_made_and_another_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let (file, passphrase_file) = (dir.path().join("root.key"), dir.path().join("passphrase"));
        fs::write(&passphrase_file, "correct horse\n").unwrap();
        let source = Source::Passphrase { file: file.clone(), passphrase_file: passphrase_file.clone() };
        let sealed = Custody::create(&source).unwrap().seal("a", b"x");
        let before = fs::read(&file).unwrap();
        assert!(Custody::open(&source).unwrap().open_sealed("a", &sealed).is_ok());
        fs::write(&passphrase_file, "wrong horse").unwrap();
        assert!(matches!(Custody::open(&source), Err(Error::WrongPassphrase(_))));
        fs::write(&passphrase_file, "\n").unwrap();
        assert!(matches!(Custody::open(&source), Err(Error::NoPassphrase(_))));
        assert!(matches!(Custody::open(&Source::File(file.clone())), Err(Error::OtherKind(..))));
        assert_eq!(fs::read(&file).unwrap(), before, "nothing is written");
    }

    #[test]
    fn a_damaged_or_open_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        let source = Source::File(path.clone());
        assert!(matches!(Custody::open(&source), Err(Error::File { .. })));
        drop(Custody::create(&source).unwrap());
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(matches!(Custody::open(&source), Err(Error::Damaged(_))));
        let flipped: String = whole.replacen("\"key\": \"", "\"key\": \"00", 1);
        fs::write(&path, flipped).unwrap();
        assert!(matches!(Custody::open(&source), Err(Error::Damaged(_))));
        fs::write(&path, whole).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Custody::open(&source), Err(Error::OpenToOthers(_))));
    }
}
