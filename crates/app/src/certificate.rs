//! The certificate that `init` makes for an endpoint beyond loopback: a leaf, signed by an authority whose key is
//! forgotten at once, so that nothing else can ever be signed by what clients were told to trust.

use std::{fs::DirBuilder, io, os::unix::fs::DirBuilderExt as _};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use zeroize::Zeroizing;

use crate::home::{Home, write_private};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("a certificate for {names:?} cannot be made: {source}")]
    Made { names: Vec<String>, source: rcgen::Error },
    #[error("the certificate cannot be written: {0}")]
    Written(#[from] io::Error),
}

/// Makes a certificate for host names and addresses in the home's `tls` directory.
///
/// # Errors
/// [`CertificateError`]; for a name that is none among others.
pub fn create(home: &Home, names: &[String]) -> Result<(), CertificateError> {
    let (authority, certificate, key) =
        make(names).map_err(|source| CertificateError::Made { names: names.to_vec(), source })?;
    DirBuilder::new().recursive(true).mode(0o700).create(home.tls())?;
    write_private(&home.tls_key(), key.as_bytes())?;
    write_private(&home.tls_certificate(), certificate.as_bytes())?;
    write_private(&home.tls_authority(), authority.as_bytes())?;
    Ok(())
}

fn make(names: &[String]) -> Result<(String, String, Zeroizing<String>), rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("Strongroom authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = KeyPair::generate()?;
    let authority = params.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(params, authority_key);

    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = name("Strongroom endpoint");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?.pem();
    Ok((authority, certificate, Zeroizing::new(key.serialize_pem())))
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_certificate_serves() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        create(&home, &["db.example".into(), "10.0.0.7".into()]).unwrap();
        front::server_config(&home.tls_certificate(), &home.tls_key()).unwrap();
    }
}
