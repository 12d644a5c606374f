//! TLS for addresses other than loopback: rustls with aws-lc-rs.

use std::{fs, path::Path, sync::Arc};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use zeroize::Zeroizing;

/// Why the certificate or its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("{path} holds no usable PEM: {detail}")]
    Pem { path: String, detail: String },
    #[error("the certificate and its key do not serve: {0}")]
    Refused(#[from] rustls::Error),
}

/// A TLS configuration from a certificate chain and a key, both PEM files.
///
/// # Errors
/// [`TlsError`] names the file and what is wrong with it.
pub fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let read = |path: &Path| {
        let bytes = fs::read(path).map(Zeroizing::new);
        bytes.map_err(|source| TlsError::Read { path: path.display().to_string(), source })
    };
    let bad = |path: &Path, detail: String| TlsError::Pem { path: path.display().to_string(), detail };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<_, _>>()
        .map_err(|error| bad(certificate, format!("{error:?}")))?;
    if chain.is_empty() {
        return Err(bad(certificate, "no certificate".into()));
    }
    let key_der =
        PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| bad(key, format!("{error:?}")))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key_der)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
