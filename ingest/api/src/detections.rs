use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use moliceiro_nats::VideoId;
use moliceiro_nats::detections::Row;
use moliceiro_nats::messages::{FrameResult, to_json};

use crate::negotiation::preferred;
use crate::problem::{Problem, ProblemBody};
use crate::responses::VideoErrors;
use crate::result_stream::stream_results;
use crate::state::SharedState;
use crate::video::find_video;

const NDJSON: &str = "application/x-ndjson";
const CSV: &str = "text/csv";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Ndjson,
    Csv,
}

impl Format {
    /// The format that the client prefers; JSON lines if it has no preference.
    fn negotiate(headers: &HeaderMap) -> Result<Self, Problem> {
        match preferred(headers, &[NDJSON, CSV]) {
            Some(CSV) => Ok(Self::Csv),
            Some(_) => Ok(Self::Ndjson),
            None => Err(Problem::not_acceptable(&[NDJSON, CSV])),
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Ndjson => NDJSON,
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
        Row::of(&frame).flat_map(line).collect::<Vec<u8>>().into()
    }
}

/// Lists the detections
///
/// One line for each object, by frame: those detected so far if the video has not ended. They are
/// kept for `streams.keep_detections`.
#[utoipa::path(
    get, path = "/videos/{id}/detections", tag = "videos",
    params(("id" = VideoId, Path, description = "The video's id")),
    responses(
        (
            status = 200, description = "One object per line; in JSON, each is a `Row`",
            content((String = "application/x-ndjson"), (String = "text/csv"))
        ),
        (
            status = 406, description = "Accept allows none of the formats",
            content_type = "application/problem+json", body = ProblemBody
        ),
        VideoErrors
    )
)]
pub(crate) async fn list_detections(
    State(state): State<SharedState>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path(id) = id?;
    let format = Format::negotiate(&headers)?;
    let video = find_video(&state, &id).await?.id;
    let body =
        stream_results(&state, &video, format.head(), move |frame| format.lines(frame)).await?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], body).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_the_client_prefers() {
        let ndjson = Some(Format::Ndjson);
        let csv = Some(Format::Csv);
        for (accept, expected) in [
            ("*/*", ndjson),
            ("application/ndjson", ndjson),
            ("text/csv", csv),
            ("text/*", csv),
            ("text/html, text/csv;q=0.2, application/x-ndjson;q=0.9", ndjson),
            ("text/csv;q=0.9, */*;q=0.1", csv),
            ("application/x-ndjson;q=0, */*", csv),
            ("application/ndjson;q=0, */*", csv),
            ("application/x-ndjson;q=0, text/csv;q=0, */*", None),
            ("application/*;q=0, */*", csv),
            ("text/html", None),
            ("text/csv;q=0", None),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            assert_eq!(Format::negotiate(&headers).ok(), expected, "{accept}");
        }
        assert_eq!(Format::negotiate(&HeaderMap::new()).ok(), ndjson);
    }
}
