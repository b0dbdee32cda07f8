//! Opens what a URI names: a file, a folder, an object of the store, an HTTP address or a live
//! source.

use moliceiro_decode::live::LiveOrigin;
use moliceiro_decode::{DecodeSettings, Decoding};
use moliceiro_nats::messages::shown_uri;
use moliceiro_nats::objects;
use thiserror::Error;
use url::Url;

use crate::context::Context;
use crate::fetch::{self, FetchError, Limits, fetch};
use crate::live;
use crate::spool::{SpoolError, spool};

/// What a URI turned out to be.
pub(crate) enum Source {
    /// It has an end of its own, and is being decoded.
    Video(Decoding),
    /// It has no end of its own.
    Live(LiveOrigin),
}

/// Why a source cannot be opened.
#[derive(Debug, Error)]
pub(crate) enum SourceError {
    /// The address has no video.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The object store has no video.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl SourceError {
    /// False when another ingest may be able to open it, or this one later.
    pub(crate) fn is_permanent(&self) -> bool {
        match self {
            Self::Fetch(_) => true,
            Self::Spool(error) => error.is_permanent(),
        }
    }
}

/// Opens `uri`, which must be allowed, and starts to decode it. Errors call an upload `name`:
/// people do not know the name of its object.
pub(crate) async fn open(
    context: &Context,
    uri: &Url,
    name: &str,
    settings: DecodeSettings,
) -> Result<Source, SourceError> {
    let ingest = &context.service.section;
    if live::is_rtsp(uri) {
        return Ok(Source::Live(LiveOrigin::Rtsp(uri.clone())));
    }
    if fetch::is_http(uri) {
        let limits = Limits {
            folder: ingest.spool.as_deref(),
            max_bytes: context.max_fetched_bytes,
            read_timeout: ingest.stall_timeout,
            first_pause: fetch::FIRST_PAUSE,
        };
        return match fetch(uri, &context.allowed, &limits).await {
            Ok(file) => {
                Ok(Source::Video(context.workers.start_file(file, shown_uri(uri), settings)))
            }
            Err(FetchError::Live { at, .. }) => Ok(Source::Live(LiveOrigin::Mjpeg(at))),
            Err(error) => Err(error.into()),
        };
    }
    if uri.scheme() != objects::SCHEME {
        return Ok(Source::Video(context.workers.start(uri, settings)));
    }
    let file = spool(&context.streams.objects, uri, name, ingest.spool.as_deref()).await?;
    Ok(Source::Video(context.workers.start_file(file, name.to_owned(), settings)))
}
