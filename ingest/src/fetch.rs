//! Downloads a video into an unlinked file: GStreamer can seek in it, and an ingest that takes the
//! video over gets the same frames.

use std::error::Error;
use std::fs::File;
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use backon::BackoffBuilder;
use moliceiro_nats::backoff;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED,
    LOCATION, RANGE,
};
use reqwest::{Client, Response, StatusCode, redirect};
use thiserror::Error;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tracing::{error, warn};
use url::Url;

use crate::allow::{Allowed, Refused};

#[cfg(test)]
mod tests;

/// Attempts in a row that bring no byte, after which the download fails.
const MAX_ATTEMPTS: usize = 7;
/// The pauses between the attempts add up to half a minute.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const MAX_REDIRECTS: usize = 5;

/// Why a video cannot be downloaded.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    /// The server refuses the request.
    #[error(
        "{uri}: the server answers {status}; check the address, and whether this machine may \
         read it"
    )]
    Status { uri: String, status: StatusCode },
    /// The server cannot be reached, or the connection is lost again and again.
    #[error(
        "{uri} cannot be downloaded: {reason}, after {attempts} attempts; check the server and \
         the network"
    )]
    Unreachable { uri: String, reason: Transient, attempts: usize },
    /// The server's certificate is not signed by a trusted authority.
    #[error(
        "{uri} is not trusted ({reason}); if you trust it, set SSL_CERT_FILE to a file with its \
         authority's certificate"
    )]
    Untrusted { uri: String, reason: String },
    /// It is larger than the settings allow.
    #[error("{uri} has more than the {max_bytes} bytes that http.upload_max_bytes allows")]
    TooLarge { uri: String, max_bytes: u64 },
    /// It redirects to an address that may not be read.
    #[error("{uri} redirects: {refused}")]
    Redirect { uri: String, refused: Refused },
    /// It redirects in circles, or without an address.
    #[error("{uri} redirects again and again, and never to a video")]
    RedirectLoop { uri: String },
    /// It is a stream without an end.
    #[error("{uri} is a live stream")]
    Live { uri: String, at: Url },
    /// The folder is full, for example.
    #[error(
        "a downloaded video cannot be written to {} ({source}): set ingest.spool to a folder with \
         enough space",
        .folder.display()
    )]
    Folder { folder: PathBuf, source: io::Error },
}

/// Why one attempt did not complete the download.
enum Failure {
    /// Another attempt would fail too.
    Permanent(FetchError),
    /// Another attempt may succeed.
    Transient(Transient),
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::Permanent(error)
    }
}

/// Bounds of a download.
pub(crate) struct Limits<'a> {
    /// Where the file is created; the system's temporary folder by default.
    pub(crate) folder: Option<&'a Path>,
    /// Largest size of a video.
    pub(crate) max_bytes: u64,
    /// How long a server may send nothing.
    pub(crate) read_timeout: Duration,
    /// Pause after the first failed attempt.
    pub(crate) first_pause: Duration,
}

/// Downloads a video. After a lost connection, the download resumes where it stopped if the server
/// supports that.
pub(crate) async fn fetch(
    uri: &Url,
    allowed: &Allowed,
    limits: &Limits<'_>,
) -> Result<File, FetchError> {
    let folder = limits.folder.map_or_else(std::env::temp_dir, Path::to_owned);
    let file = tempfile::tempfile_in(&folder)
        .map_err(|source| FetchError::Folder { folder: folder.clone(), source })?;
    let client = Client::builder()
        .user_agent(concat!("moliceiro/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT.min(limits.read_timeout))
        .read_timeout(limits.read_timeout)
        .build();
    let shown = moliceiro_nats::messages::shown_uri(uri);
    let client = client.map_err(|error| FetchError::Unreachable {
        uri: shown.clone(),
        reason: Transient::Client(error),
        attempts: 0,
    })?;
    let file = tokio::fs::File::from_std(file);
    let mut download = Download {
        client,
        uri,
        shown,
        allowed,
        folder,
        max_bytes: limits.max_bytes,
        first_pause: limits.first_pause,
        file,
        written: 0,
        version: None,
    };
    download.run().await?;
    Ok(download.file.into_std().await)
}

/// A video being downloaded.
struct Download<'a> {
    client: Client,
    uri: &'a Url,
    /// The address without its password.
    shown: String,
    allowed: &'a Allowed,
    folder: PathBuf,
    max_bytes: u64,
    first_pause: Duration,
    file: tokio::fs::File,
    written: u64,
    /// The server's validator of these bytes: the download resumes only while it is the same.
    version: Option<String>,
}

impl Download<'_> {
    async fn run(&mut self) -> Result<(), FetchError> {
        let pauses = backoff(self.first_pause, MAX_PAUSE);
        let mut pause = pauses.build();
        let mut attempts = 0;
        let mut reported = false;
        loop {
            let before = self.written;
            let reason = match self.attempt().await {
                Ok(()) => return Ok(()),
                Err(Failure::Permanent(error)) => return Err(error),
                Err(Failure::Transient(reason)) => reason,
            };
            if self.written > before {
                pause = pauses.build();
                attempts = 0;
            }
            attempts += 1;
            if attempts >= MAX_ATTEMPTS {
                return Err(FetchError::Unreachable { uri: self.shown.clone(), reason, attempts });
            }
            if self.written == 0 && !std::mem::replace(&mut reported, true) {
                // `moliceiro run` prints only errors, and the retries take half a minute.
                error!(uri = self.shown, %reason, "cannot download a video yet; retrying");
            } else {
                warn!(
                    uri = self.shown,
                    %reason,
                    bytes = self.written,
                    "a video's server is unavailable; retrying"
                );
            }
            tokio::time::sleep(pause.next().unwrap_or(MAX_PAUSE)).await;
        }
    }

    /// Downloads what is missing.
    async fn attempt(&mut self) -> Result<(), Failure> {
        let (mut response, place) = self.request().await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT
                if range_start(response.headers()) == Some(self.written) => {}
            StatusCode::OK => self.restart(&response, place).await?,
            // The file is now shorter than what was downloaded of it.
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                (self.written, self.version) = (0, None);
                return Err(Failure::Transient(Transient::Changed));
            }
            status if is_transient(status) => {
                return Err(Failure::Transient(Transient::Status(status)));
            }
            status => return Err(FetchError::Status { uri: self.shown.clone(), status }.into()),
        }
        let expected = response.content_length().map(|rest| self.written.saturating_add(rest));
        while let Some(chunk) =
            response.chunk().await.map_err(|error| Failure::Transient(Transient::of(error)))?
        {
            if self.written + chunk.len() as u64 > self.max_bytes {
                return Err(FetchError::TooLarge {
                    uri: self.shown.clone(),
                    max_bytes: self.max_bytes,
                }
                .into());
            }
            self.file.write_all(&chunk).await.map_err(|source| self.unusable(source))?;
            self.written += chunk.len() as u64;
        }
        self.file.flush().await.map_err(|source| self.unusable(source))?;
        match expected {
            Some(expected) if self.written < expected => Err(Failure::Transient(Transient::Closed)),
            _ => Ok(()),
        }
    }

    /// Requests the video, and follows redirects.
    async fn request(&self) -> Result<(Response, Url), Failure> {
        let mut uri = self.uri.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.client.get(uri.clone()).header(ACCEPT_ENCODING, "identity");
            if let Some(version) = self.version.as_ref().filter(|_| self.written > 0) {
                request = request
                    .header(RANGE, format!("bytes={}-", self.written))
                    .header(IF_RANGE, version);
            }
            let response = request.send().await.map_err(|error| match untrusted(&error) {
                Some(reason) => FetchError::Untrusted { uri: self.shown.clone(), reason }.into(),
                None => Failure::Transient(Transient::of(error)),
            })?;
            if !response.status().is_redirection() {
                return Ok((response, uri));
            }
            let place = response
                .headers()
                .get(LOCATION)
                .and_then(|place| place.to_str().ok())
                .and_then(|place| uri.join(place).ok());
            uri = place
                .filter(is_http)
                .ok_or_else(|| FetchError::RedirectLoop { uri: self.shown.clone() })?;
            let checked = self.allowed.check_redirect(self.uri, uri).await;
            uri = checked
                .map_err(|refused| FetchError::Redirect { uri: self.shown.clone(), refused })?;
        }
        Err(FetchError::RedirectLoop { uri: self.shown.clone() }.into())
    }

    /// Empties the file, because the server sends the video from its start.
    async fn restart(&mut self, response: &Response, place: Url) -> Result<(), Failure> {
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let kind = text(CONTENT_TYPE).unwrap_or_default();
        if kind.trim_start().starts_with("multipart/") {
            return Err(FetchError::Live { uri: self.shown.clone(), at: place }.into());
        }
        // RFC 9110, 13.1.5: only a strong validator shows that the rest belongs to the same bytes.
        let strong = text(ETAG).filter(|tag| !tag.starts_with("W/"));
        self.version = strong.or(text(LAST_MODIFIED)).map(str::to_owned);
        self.written = 0;
        self.file.set_len(0).await.map_err(|source| self.unusable(source))?;
        self.file
            .seek(SeekFrom::Start(0))
            .await
            .map(drop)
            .map_err(|source| self.unusable(source).into())
    }

    fn unusable(&self, source: io::Error) -> FetchError {
        FetchError::Folder { folder: self.folder.clone(), source }
    }
}

/// Whether a URI is read by [`fetch`].
pub(crate) fn is_http(uri: &Url) -> bool {
    ["http", "https"].contains(&uri.scheme())
}

/// Whether a retry may be answered differently.
fn is_transient(status: StatusCode) -> bool {
    status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status)
}

/// Where the bytes of a partial answer start (RFC 9110, 14.4).
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

/// Why the server's certificate is refused, if that is the cause of the error.
fn untrusted(error: &reqwest::Error) -> Option<String> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error @ rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return Some(error.to_string());
        }
        // The error that an `io::Error` carries is not its source, but the carried error's source
        // is.
        cause = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(carried) => Some(carried),
            None => error.source(),
        };
    }
    None
}

/// Why an attempt failed that may succeed later.
#[derive(Debug, Error)]
pub(crate) enum Transient {
    /// The client could not be built.
    #[error("{0}")]
    Client(reqwest::Error),
    /// A limit on time was reached.
    #[error("the server does not answer in time")]
    Timeout,
    /// The request failed; the outer errors only say so, the innermost one says why.
    #[error("{}", innermost(.0))]
    Request(reqwest::Error),
    /// The server is overloaded or failing.
    #[error("the server answers {0}")]
    Status(StatusCode),
    /// The file is not the one whose first bytes were downloaded.
    #[error("the file has changed in the meantime")]
    Changed,
    /// The server closed the connection before the end.
    #[error("the connection was closed")]
    Closed,
}

impl Transient {
    fn of(error: reqwest::Error) -> Self {
        if error.is_timeout() { Self::Timeout } else { Self::Request(error) }
    }
}

fn innermost(error: &reqwest::Error) -> &dyn Error {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}
