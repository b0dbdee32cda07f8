use thiserror::Error;

use crate::tokens::TokensFileError;

/// Why HTTP cannot be served.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The address is in use, or this machine does not have it.
    #[error(
        "http.listen {address}: {source}; \
         give another HOST:PORT, or turn HTTP off with --listen ''"
    )]
    Listen {
        /// The value of `http.listen`.
        address: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The certificate or its key is unreadable, or the two do not match.
    #[error("{setting} {file} is not usable: {reason}")]
    Tls {
        /// The key of the setting.
        setting: &'static str,
        /// The file it names.
        file: String,
        /// What is wrong with the file.
        reason: TlsFileError,
    },
    /// The file with tokens cannot be used.
    #[error("http.tokens_file {file} is not usable: {reason}")]
    Tokens {
        /// The value of `http.tokens_file`.
        file: String,
        /// What is wrong with it.
        reason: TokensFileError,
    },
    /// The server ended without being asked to.
    #[error("the HTTP server failed: {0}")]
    Failed(std::io::Error),
}

/// What is wrong with a certificate or its key.
#[derive(Debug, Error)]
pub enum TlsFileError {
    /// The file is missing, unreadable or not PEM.
    #[error(transparent)]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// The certificate and the key do not work together.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}
