//! A video behind an HTTP address, brought into a file that has no name: GStreamer can seek in it,
//! and whoever takes the video over gets the same frames.

use std::error::Error;
use std::fs::File;
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED,
    LOCATION, RANGE,
};
use reqwest::{Client, Response, StatusCode, redirect};
use thiserror::Error;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tracing::warn;
use url::Url;

use crate::allow::{Allowed, Refused};

#[cfg(test)]
mod tests;

/// Tries in a row that bring nothing, after which a video is given up.
const MOST_TRIES: usize = 7;
/// The pauses between them are half a minute in all.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const MOST_REDIRECTS: usize = 5;

/// Why a video is not fetched.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    /// The server has none for us.
    #[error(
        "{uri}: the server answers {status}; check the address, and whether it is open to this machine"
    )]
    Status { uri: String, status: StatusCode },
    /// No server, or a connection that breaks again and again.
    #[error(
        "{uri} cannot be fetched: {reason}, after {tries} tries; check the server and the network"
    )]
    OutOfReach { uri: String, reason: String, tries: usize },
    /// Nobody who is trusted says that it is the server which it calls itself.
    #[error(
        "{uri} is not trusted ({reason}); if you do, name a file with its authority's certificate in SSL_CERT_FILE"
    )]
    Untrusted { uri: String, reason: String },
    /// More bytes than may be.
    #[error("{uri} has more than {most} bytes, which http.upload_max_bytes allows")]
    TooLarge { uri: String, most: u64 },
    /// It leads to an address that may not be read.
    #[error("{uri} leads elsewhere: {refused}")]
    Redirect { uri: String, refused: Refused },
    /// It leads in circles, or nowhere.
    #[error("{uri} leads from one address to the next, and to no video")]
    Lost { uri: String },
    /// It is no file, but a stream that does not end.
    #[error("{uri} is a live stream")]
    Live { uri: String, at: Url },
    /// There is no room for it here, for example.
    #[error("a fetched video cannot be written to {} ({source}): give ingest.spool a folder with room for it", .folder.display())]
    Folder { folder: PathBuf, source: io::Error },
}

/// Why one try did not bring all.
enum Failure {
    /// No other try will.
    Final(FetchError),
    /// It may go better next time.
    Passing(String),
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::Final(error)
    }
}

/// How videos are fetched.
pub(crate) struct Limits<'a> {
    /// Where the file is made.
    pub(crate) folder: Option<&'a Path>,
    /// Bytes that a video may have.
    pub(crate) most: u64,
    /// How long a server may send nothing.
    pub(crate) patience: Duration,
    /// How long after a first failure it is tried again.
    pub(crate) first_pause: Duration,
}

/// Fetches a video. A connection that is lost is made anew, after a pause, and goes on where it was
/// lost if the server can.
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
        .connect_timeout(CONNECT_TIMEOUT.min(limits.patience))
        .read_timeout(limits.patience)
        .build();
    let shown = moliceiro_nats::messages::shown_uri(uri);
    let client = client.map_err(|error| FetchError::OutOfReach {
        uri: shown.clone(),
        reason: error.to_string(),
        tries: 0,
    })?;
    let file = tokio::fs::File::from_std(file);
    let mut fetch = Fetch {
        client,
        uri,
        shown,
        allowed,
        folder,
        most: limits.most,
        first_pause: limits.first_pause,
        file,
        written: 0,
        version: None,
    };
    fetch.run().await?;
    Ok(fetch.file.into_std().await)
}

/// A video being fetched.
struct Fetch<'a> {
    client: Client,
    uri: &'a Url,
    /// The address as people may see it.
    shown: String,
    allowed: &'a Allowed,
    folder: PathBuf,
    most: u64,
    first_pause: Duration,
    file: tokio::fs::File,
    written: u64,
    /// What the server calls these bytes: they go on only while it calls them so.
    version: Option<String>,
}

impl Fetch<'_> {
    async fn run(&mut self) -> Result<(), FetchError> {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(self.first_pause)
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times();
        let (mut pause, mut tries) = (pauses.build(), 0);
        loop {
            let before = self.written;
            let reason = match self.attempt().await {
                Ok(()) => return Ok(()),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(reason)) => reason,
            };
            if self.written > before {
                (pause, tries) = (pauses.build(), 0);
            }
            tries += 1;
            if tries >= MOST_TRIES {
                return Err(FetchError::OutOfReach { uri: self.shown.clone(), reason, tries });
            }
            warn!(
                uri = self.shown,
                reason,
                bytes = self.written,
                "a video's server is out of reach; trying again"
            );
            tokio::time::sleep(pause.next().unwrap_or(LONGEST_PAUSE)).await;
        }
    }

    /// Brings what is not there yet.
    async fn attempt(&mut self) -> Result<(), Failure> {
        let (mut response, place) = self.ask().await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT
                if range_start(response.headers()) == Some(self.written) => {}
            StatusCode::OK => self.begin(&response, place).await?,
            // The file has become shorter than what is here of it.
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                (self.written, self.version) = (0, None);
                return Err(Failure::Passing("the file has changed meanwhile".into()));
            }
            status if is_passing(status) => {
                return Err(Failure::Passing(format!("the server answers {status}")));
            }
            status => return Err(FetchError::Status { uri: self.shown.clone(), status }.into()),
        }
        let expected = response.content_length().map(|rest| self.written.saturating_add(rest));
        while let Some(chunk) =
            response.chunk().await.map_err(|error| Failure::Passing(innermost(&error)))?
        {
            if self.written + chunk.len() as u64 > self.most {
                return Err(
                    FetchError::TooLarge { uri: self.shown.clone(), most: self.most }.into()
                );
            }
            self.file.write_all(&chunk).await.map_err(|source| self.unusable(source))?;
            self.written += chunk.len() as u64;
        }
        self.file.flush().await.map_err(|source| self.unusable(source))?;
        match expected {
            Some(expected) if self.written < expected => {
                Err(Failure::Passing("the connection was closed".into()))
            }
            _ => Ok(()),
        }
    }

    /// Asks for the video, wherever it has moved to.
    async fn ask(&self) -> Result<(Response, Url), Failure> {
        let mut uri = self.uri.clone();
        for _ in 0..=MOST_REDIRECTS {
            let mut request = self.client.get(uri.clone()).header(ACCEPT_ENCODING, "identity");
            if let Some(version) = self.version.as_ref().filter(|_| self.written > 0) {
                request = request
                    .header(RANGE, format!("bytes={}-", self.written))
                    .header(IF_RANGE, version);
            }
            let response = request.send().await.map_err(|error| match untrusted(&error) {
                Some(reason) => FetchError::Untrusted { uri: self.shown.clone(), reason }.into(),
                None => Failure::Passing(innermost(&error)),
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
                .ok_or_else(|| FetchError::Lost { uri: self.shown.clone() })?;
            let checked = self.allowed.check(&uri).await;
            uri = checked
                .map_err(|refused| FetchError::Redirect { uri: self.shown.clone(), refused })?;
        }
        Err(FetchError::Lost { uri: self.shown.clone() }.into())
    }

    /// Makes room for a file that comes from its start.
    async fn begin(&mut self, response: &Response, place: Url) -> Result<(), Failure> {
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let kind = text(CONTENT_TYPE).unwrap_or_default();
        if kind.trim_start().starts_with("multipart/") {
            return Err(FetchError::Live { uri: self.shown.clone(), at: place }.into());
        }
        // RFC 9110, 13.1.5: only a strong validator tells that the rest belongs to the same bytes.
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

/// Whether the same request may be answered otherwise later.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status)
}

/// Where the bytes of a partial answer begin (RFC 9110, 14.4).
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

/// Why the server's certificate is refused, if it is that what is wrong.
fn untrusted(error: &reqwest::Error) -> Option<String> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error @ rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return Some(error.to_string());
        }
        // What an `io::Error` carries is not its source: that is the source of what it carries.
        cause = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(carried) => Some(carried),
            None => error.source(),
        };
    }
    None
}

/// What is really wrong: the outer errors only say that a request failed.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it does not answer in time".into();
    }
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
