//! HTTPS with the operator's certificate.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{HttpError, TlsFileError};
use crate::settings::HttpSettings;

const CERTIFICATE: &str = "http.tls_certificate";
const KEY: &str = "http.tls_key";

/// The TLS configuration; `None` if the settings name no certificate.
pub(crate) fn configuration(
    settings: &HttpSettings,
) -> Result<Option<Arc<ServerConfig>>, HttpError> {
    let (Some(certificate), Some(key)) = (&settings.tls_certificate, &settings.tls_key) else {
        return Ok(None);
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|reason| unusable(CERTIFICATE, certificate, reason))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|reason| unusable(KEY, key, reason))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|reason| unusable(CERTIFICATE, certificate, reason))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|reason| unusable(CERTIFICATE, certificate, reason))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(Arc::new(config)))
}

pub(crate) fn acceptor(config: Arc<ServerConfig>, handshake_timeout: Duration) -> RustlsAcceptor {
    RustlsAcceptor::new(RustlsConfig::from_config(config)).handshake_timeout(handshake_timeout)
}

fn unusable(setting: &'static str, file: &Path, reason: impl Into<TlsFileError>) -> HttpError {
    HttpError::Tls { setting, file: file.display().to_string(), reason: reason.into() }
}
