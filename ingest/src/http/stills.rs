//! A few frames of a video, for people to look at.

use async_nats::jetstream::stream::LastRawMessageErrorKind;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::try_join_all;
use moliceiro_nats::messages::{self, STILLS, from_cbor};
use moliceiro_nats::{VideoId, subjects};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::problem::Problem;

/// A frame that there is a picture of.
#[derive(Serialize, ToSchema)]
pub(super) struct Thumbnail {
    /// The frame's index.
    frame: u64,
    /// The frame's presentation time, in seconds.
    time_s: Option<f64>,
    /// Width of the video's own upright frame in pixels, which boxes are in. The picture may be
    /// smaller.
    width: u32,
    /// Height of that frame.
    height: u32,
    /// The picture, as the detector gets it, without its border: a JPEG file as base64.
    #[schema(content_encoding = "base64", content_media_type = "image/jpeg")]
    jpeg: String,
}

/// Frames of a video that there are pictures of.
#[derive(Serialize, ToSchema)]
pub(super) struct Stills {
    /// In the order of the video.
    stills: Vec<Thumbnail>,
}

/// Those that are kept, by their frames' indexes.
async fn kept(api: &Api, video: &VideoId) -> Result<Vec<messages::Thumbnail>, Problem> {
    let stills = &api.means.streams.stills;
    let look = async |slot| match stills
        .get_last_raw_message_by_subject(&subjects::still(video, slot))
        .await
    {
        Ok(message) => from_cbor(&message.payload).map(Some).map_err(Problem::unavailable),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(Problem::unavailable(error)),
    };
    let mut kept: Vec<messages::Thumbnail> =
        try_join_all((0..STILLS).map(look)).await?.into_iter().flatten().collect();
    kept.sort_unstable_by_key(|still| still.index);
    Ok(kept)
}

/// Shows a few frames
///
/// At most eight, spread over the video as far as it is decoded, each with its picture: as long as
/// the video is decoded, others take their place. None if `ingest.stills` is off; they are kept for
/// `streams.keep`.
#[utoipa::path(
    get, path = "/videos/{id}/stills", tag = "videos",
    params(("id" = VideoId, Path, description = "The video's id")),
    responses((status = 200, description = "Those that are kept", body = Stills), super::Unknown)
)]
pub(super) async fn list(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Stills>, Problem> {
    let Path(id) = id?;
    let video = api.video(&id).await?.id;
    let still = |still: messages::Thumbnail| Thumbnail {
        frame: still.index,
        time_s: still.pts.map(|ns| ns as f64 / 1e9),
        width: still.source.width,
        height: still.source.height,
        jpeg: BASE64_STANDARD.encode(still.jpeg),
    };
    Ok(Json(Stills { stills: kept(&api, &video).await?.into_iter().map(still).collect() }))
}
