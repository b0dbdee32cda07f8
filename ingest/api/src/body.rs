use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};

use crate::problem::Problem;

/// Maximum bytes of a form between the contents of two parts: the parser buffers them all.
const MAX_BETWEEN_PARTS: usize = 2 << 20;

/// A request's body with a limit on its size and on the client's pauses.
pub(crate) struct LimitedBody {
    data: BodyDataStream,
    limit: u64,
    remaining: u64,
    idle_timeout: Duration,
}

impl LimitedBody {
    /// Rejects a body that is encoded, or whose Content-Length exceeds the limit, before reading
    /// any of it.
    pub(crate) fn new(
        headers: &HeaderMap,
        body: Body,
        limit: u64,
        idle_timeout: Duration,
    ) -> Result<Self, Problem> {
        refuse_encoding(headers)?;
        let length = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > limit) {
            return Err(Problem::too_large(limit));
        }
        Ok(Self { data: body.into_data_stream(), limit, remaining: limit, idle_timeout })
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let next =
            tokio::time::timeout(self.idle_timeout, self.data.next()).await.map_err(|_| {
                let detail = format!("no data for {:?} (http.idle_timeout)", self.idle_timeout);
                Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
            })?;
        let bytes = next
            .transpose()
            .map_err(|error| Problem::bad_request(format!("the request is truncated: {error}")))?;
        if let Some(bytes) = &bytes {
            self.remaining = self
                .remaining
                .checked_sub(bytes.len() as u64)
                .ok_or_else(|| Problem::too_large(self.limit))?;
        }
        Ok(bytes)
    }

    /// Reads the whole body into memory: only for a small limit.
    pub(crate) async fn all(mut self) -> Result<Vec<u8>, Problem> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await? {
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }

    /// The body for a form's parser, one chunk per poll. Reset `unparsed` to 0 whenever the parser
    /// returns something.
    pub(crate) fn into_stream(
        self,
        unparsed: Arc<AtomicUsize>,
    ) -> impl Stream<Item = Result<Bytes, Problem>> + Send {
        stream::try_unfold((self, unparsed), |(mut body, unparsed)| async {
            // The parser reads everything that is ready before it parses any of it.
            tokio::task::yield_now().await;
            let Some(bytes) = body.next().await? else { return Ok(None) };
            if unparsed.fetch_add(bytes.len(), Ordering::Relaxed) > MAX_BETWEEN_PARTS {
                return Err(Problem::bad_request(
                    "the form has too many bytes between two of its parts",
                ));
            }
            Ok(Some((bytes, (body, unparsed))))
        })
    }
}

/// Rejects compressed content: a video's bytes are stored as they are sent, and a compressed file
/// is not a video.
pub(crate) fn refuse_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    let codings = |name| {
        let values = headers.get_all(name).into_iter();
        values.flat_map(|value| value.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii)
    };
    let is_plain = |coding: &[u8]| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity");
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let is_encoded = codings(header::CONTENT_ENCODING).any(|coding| !is_plain(coding))
        || codings(header::TRANSFER_ENCODING).any(|coding| !is_chunked(coding));
    if is_encoded {
        let detail = "send the content as it is, without Content-Encoding (RFC 9110, section 8.4)";
        return Err(Problem::unsupported_type(detail)
            .with(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_content_as_it_is_is_accepted() {
        for (name, value, is_accepted) in [
            ("content-encoding", "identity", true),
            ("content-encoding", "Identity", true),
            ("content-encoding", "gzip", false),
            ("content-encoding", "identity, br", false),
            ("content-encoding", "unknown", false),
            ("transfer-encoding", "chunked", true),
            ("transfer-encoding", "gzip, chunked", false),
        ] {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
            assert_eq!(refuse_encoding(&headers).is_ok(), is_accepted, "{name}: {value}");
        }
        assert!(refuse_encoding(&HeaderMap::new()).is_ok());
    }
}
