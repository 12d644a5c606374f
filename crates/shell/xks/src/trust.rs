//! Which certificates a proxy may have: those of the system's authorities, and of a file.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::settings::BadSettings;

/// A TLS configuration that trusts the system's authorities and those of a PEM file.
pub(crate) fn client_config(authorities: Option<&Path>) -> Result<ClientConfig, BadSettings> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(%error, "some of the system's certificate authorities cannot be read");
    }
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = authorities {
        let bad = |detail: String| BadSettings::Authorities { path: path.display().to_string(), detail };
        let text = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(|error| bad(error.to_string()))?;
            roots.add(certificate).map_err(|error| bad(error.to_string()))?;
        }
        if roots.len() == before {
            return Err(bad("no certificate".into()));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| BadSettings::Client(error.to_string()))?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    // The signature covers the headers of HTTP/1.1, which every proxy speaks.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
