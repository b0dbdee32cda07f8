use std::error::Error as StdError;

use futures_util::future::BoxFuture;
use thiserror::Error;
use url::Url;

/// Decides which URIs an upload may name.
pub trait UriPolicy: Send + Sync + 'static {
    /// Returns an error for a URI that must not be read. Opens nothing.
    fn permit<'a>(&'a self, uri: &'a Url) -> BoxFuture<'a, Result<(), UriRefused>>;
}

/// The policy's reason for refusing a URI. Clients see its text, so it must not contain secrets.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct UriRefused(Box<dyn StdError + Send + Sync>);

impl UriRefused {
    /// Wraps the error of a policy.
    pub fn new(reason: impl StdError + Send + Sync + 'static) -> Self {
        Self(Box::new(reason))
    }
}
