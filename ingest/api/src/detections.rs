use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use moliceiro_nats::VideoId;
use moliceiro_nats::detections::Row;
use moliceiro_nats::messages::{FrameResult, to_json};
use moliceiro_replay::TrackNumbers;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::analyses::track_numbers;
use crate::negotiation::preferred;
use crate::problem::{Problem, ProblemBody};
use crate::responses::VideoErrors;
use crate::result_stream::{missing_header, stream_results};
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

    fn head(self, has_tracks: bool) -> Bytes {
        match self {
            Self::Ndjson => Bytes::new(),
            Self::Csv if has_tracks => format!("{}\n", Row::TRACKED_CSV_HEADER).into(),
            Self::Csv => format!("{}\n", Row::CSV_HEADER).into(),
        }
    }

    fn lines(self, frame: &FrameResult, numbers: Option<&TrackNumbers>) -> Bytes {
        let line = |row: Row| match self {
            Self::Ndjson => [to_json(&row), b"\n".to_vec()].concat(),
            Self::Csv if numbers.is_some() => format!("{}\n", row.to_tracked_csv()).into_bytes(),
            Self::Csv => format!("{}\n", row.to_csv()).into_bytes(),
        };
        let lines: Vec<u8> = match numbers {
            Some(numbers) => numbers.rows(frame).flat_map(line).collect(),
            None => Row::of(frame).flat_map(line).collect(),
        };
        lines.into()
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DetectionOptions {
    /// Also the number of the track that each object belongs to. Default: false.
    #[serde(default)]
    #[param(required = false)]
    tracks: bool,
}

/// Lists the detections
///
/// One line for each object, by frame: those detected so far if the video has not ended. They are
/// kept for `streams.keep_detections`. If results of counted frames are not stored any more, the
/// header `Moliceiro-Missing-Frames` has their number, and the first and the last of them:
/// `2; first=3; last=7`.
#[utoipa::path(
    get, path = "/videos/{id}/detections", tag = "videos",
    params(("id" = VideoId, Path, description = "The video's id"), DetectionOptions),
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
    options: Result<Query<DetectionOptions>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path(id) = id?;
    let Query(options) = options?;
    let format = Format::negotiate(&headers)?;
    let video = find_video(&state, &id).await?.id;
    let numbers = match options.tracks {
        true => Some(track_numbers(&state, &video).await?),
        false => None,
    };
    let missing = missing_header(&state, &video).await?;
    let head = format.head(options.tracks);
    let lines = move |frame| format.lines(&frame, numbers.as_ref());
    let body = stream_results(&state, &video, head, lines).await?;
    Ok((missing, [(header::CONTENT_TYPE, format.content_type())], body).into_response())
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
