//! The certificate authority of a home: clients that trust `<home>/ca/ca.pem` know every database of that home.
//!
//! ```text
//! ca/ca.pem    its certificate; for everyone
//! ca/ca.key    its private key (0600), used only to sign servers' certificates
//! ```
//!
//! Whoever has the private key can pretend to be a database, not read one: it has nothing to do with keys of volumes.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use envelope::SecretBytes;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use zeroize::Zeroizing;

/// The CA and what it signs are valid from here on; a fixed day, so that no clock that is wrong can do harm.
const NOT_BEFORE: (i32, u8, u8) = (2025, 1, 1);
/// Servers get a new key and certificate at every start; an end that comes before the CA's would only break them.
const NOT_AFTER: (i32, u8, u8) = (2055, 1, 1);

/// A server's certificate and its private key.
#[derive(Debug)]
pub struct ServerCertificate {
    /// The server's certificate, then the CA's, as PEM.
    pub chain: String,
    /// As PEM.
    pub key: SecretBytes,
}

/// The files of a home's CA.
#[derive(Debug)]
pub struct Authority {
    dir: PathBuf,
}

impl Authority {
    /// The CA below a home.
    pub fn of(home: &Path) -> Self {
        Self { dir: home.join("ca") }
    }

    /// Makes a key and a certificate for a server that is reached by these names and addresses. Makes the CA if there
    /// is none yet.
    ///
    /// # Errors
    /// What the system says; `InvalidData` for a damaged CA; `InvalidInput` for a name that no certificate can hold.
    pub fn issue(&self, subject: &str, names: &[String]) -> io::Result<ServerCertificate> {
        let ca_key = self.key()?;
        let ca = params(&[], "Strongroom database CA", |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        })?;
        let path = self.dir.join("ca.pem");
        let ca_pem = match fs::read_to_string(&path) {
            Ok(pem) => pem,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let pem = ca.self_signed(&ca_key).map_err(invalid)?.pem();
                write_once(&path, pem.as_bytes(), 0o644)?;
                pem
            }
            Err(error) => return Err(error),
        };
        let key = KeyPair::generate().map_err(invalid)?;
        let server = params(names, subject, |params| {
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.use_authority_key_identifier_extension = true;
        })?;
        let server = server.signed_by(&key, &Issuer::from_params(&ca, &ca_key)).map_err(invalid)?;
        Ok(ServerCertificate {
            chain: server.pem() + &ca_pem,
            key: SecretBytes::new(key.serialize_pem().into_bytes()),
        })
    }

    /// The CA's private key, made once.
    fn key(&self) -> io::Result<KeyPair> {
        DirBuilder::new().recursive(true).mode(0o755).create(&self.dir)?;
        let path = self.dir.join("ca.key");
        if !path.exists() {
            let key = KeyPair::generate().map_err(invalid)?;
            write_once(&path, Zeroizing::new(key.serialize_pem()).as_bytes(), 0o600)?;
        }
        KeyPair::from_pem(&Zeroizing::new(fs::read_to_string(&path)?)).map_err(invalid)
    }
}

fn params(
    names: &[String],
    common_name: &str,
    set: impl FnOnce(&mut CertificateParams),
) -> io::Result<CertificateParams> {
    let invalid_name = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    let mut params = CertificateParams::new(names).map_err(|error: rcgen::Error| invalid_name(error))?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    let day = |(year, month, day)| date_time_ymd(year, month, day);
    (params.not_before, params.not_after) = (day(NOT_BEFORE), day(NOT_AFTER));
    set(&mut params);
    Ok(params)
}

fn invalid(error: rcgen::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Makes a file, whole or not at all; one that is there already stays.
fn write_once(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let unique = format!("{:?}.new", std::thread::current().id()).replace(['(', ')'], "");
    let temporary = path.with_extension(format!("{}-{unique}", std::process::id()));
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let made = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_authority_is_made_once_and_its_key_is_private() {
        let home = tempfile::tempdir().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let first = Authority::of(home.path()).issue("db-A", &names).unwrap();
        let second = Authority::of(home.path()).issue("db-B", &names).unwrap();
        let ca = fs::read_to_string(home.path().join("ca/ca.pem")).unwrap();
        assert!(first.chain.ends_with(&ca) && second.chain.ends_with(&ca));
        assert_ne!(first.key.expose(), second.key.expose());
        let mode =
            |name| fs::metadata(home.path().join("ca").join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("ca.key"), mode("ca.pem")), (0o600, 0o644));
        assert_eq!(fs::read_dir(home.path().join("ca")).unwrap().count(), 2);
    }

    #[test]
    fn a_damaged_authority_is_an_error_and_not_replaced() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("ca")).unwrap();
        fs::write(home.path().join("ca/ca.key"), "nothing").unwrap();
        let error = Authority::of(home.path()).issue("db-A", &[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(fs::read_to_string(home.path().join("ca/ca.key")).unwrap(), "nothing");
    }
}
