//! What was found in each frame.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use moliceiro_nats::VideoId;
use moliceiro_nats::detections::{Row, detections};
use moliceiro_nats::messages::{FrameResult, to_json};

use super::Api;
use super::problem::Problem;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Ndjson,
    Csv,
}

impl Format {
    /// The one that the client likes best; JSON lines if it does not mind.
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let accepts: Vec<_> = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let accepts = accepts.join(",");
        if accepts.trim().is_empty() {
            return Ok(Self::Ndjson);
        }
        let best = accepts.split(',').filter_map(accepted).filter(|(_, quality)| *quality > 0.0);
        let best = best.reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.map(|(format, _)| format).ok_or_else(|| {
            Problem::new(StatusCode::NOT_ACCEPTABLE, "there are application/x-ndjson and text/csv")
        })
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    fn head(self) -> Bytes {
        match self {
            Self::Ndjson => Bytes::new(),
            Self::Csv => format!("{}\n", Row::CSV_HEADER).into(),
        }
    }

    fn lines(self, frame: FrameResult) -> Bytes {
        let line = |row: Row| match self {
            Self::Ndjson => [to_json(&row), b"\n".to_vec()].concat(),
            Self::Csv => format!("{}\n", row.to_csv()).into_bytes(),
        };
        Row::of(frame).flat_map(line).collect::<Vec<u8>>().into()
    }
}

/// The format that one part of `Accept` names, and how much it is liked.
fn accepted(part: &str) -> Option<(Format, f32)> {
    let mut words = part.split(';').map(str::trim);
    let format = match words.next()?.to_ascii_lowercase().as_str() {
        "application/x-ndjson" | "application/ndjson" | "application/*" | "*/*" => Format::Ndjson,
        "text/csv" | "text/*" => Format::Csv,
        _ => return None,
    };
    let quality = words.find_map(|word| word.strip_prefix("q=")?.parse().ok());
    Some((format, quality.unwrap_or(1.0)))
}

/// Lists what is in each frame
///
/// One line for each object, by frame: those that are known now, also of a video that is not over.
/// They are kept for `streams.keep_detections`.
#[utoipa::path(
    get, path = "/videos/{id}/detections", tag = "videos",
    params(("id" = VideoId, Path, description = "The video's id")),
    responses(
        (status = 200, description = "One object a line", content((Row = "application/x-ndjson"), (String = "text/csv"))),
        (status = 406, description = "There is no such format", content_type = "application/problem+json", body = super::problem::ProblemBody),
        super::Unknown
    )
)]
pub(super) async fn list(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path(id) = id?;
    let format = Format::of(&headers)?;
    let video = api.video(&id).await?;
    let mut frames = Box::pin(detections(&api.means.streams, &video.id));
    // The first one tells whether the server gives any: later there is no other status to answer
    // with.
    let first = frames.next().await.transpose().map_err(Problem::unavailable)?;
    let lines = move |frame: Result<FrameResult, _>| frame.map(|frame| format.lines(frame));
    let lines = stream::iter(first).map(Ok).chain(frames).map(lines);
    let body = Body::from_stream(stream::iter([Ok(format.head())]).chain(lines));
    Ok(([(header::CONTENT_TYPE, format.content_type())], body).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_the_client_likes_best() {
        let format = |accept: &str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            Format::of(&headers).ok().map(Format::content_type)
        };
        for (accept, wanted) in [
            ("*/*", Some("application/x-ndjson")),
            ("text/csv", Some("text/csv; charset=utf-8; header=present")),
            ("text/html, text/csv;q=0.2, application/x-ndjson;q=0.9", Some("application/x-ndjson")),
            ("text/csv;q=0.9, */*;q=0.1", Some("text/csv; charset=utf-8; header=present")),
            ("text/html", None),
            ("text/csv;q=0", None),
        ] {
            assert_eq!(format(accept), wanted, "{accept}");
        }
    }
}
