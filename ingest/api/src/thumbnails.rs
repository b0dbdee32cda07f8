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

use crate::problem::Problem;
use crate::responses::VideoErrors;
use crate::state::{ApiState, SharedState};
use crate::video::find_video;

/// A frame with its picture.
#[derive(Serialize, ToSchema)]
pub(crate) struct Thumbnail {
    /// The frame's index.
    frame: u64,
    /// The frame's presentation time, in seconds.
    time_s: Option<f64>,
    /// Width of the video's own upright frame in pixels, the unit of boxes. The picture may be
    /// smaller.
    width: u32,
    /// Height of that frame in pixels.
    height: u32,
    /// The picture as the detector gets it, without the border: a JPEG file in base64.
    #[schema(content_encoding = "base64", content_media_type = "image/jpeg")]
    jpeg: String,
}

impl From<messages::Thumbnail> for Thumbnail {
    fn from(thumbnail: messages::Thumbnail) -> Self {
        Self {
            frame: thumbnail.index,
            time_s: thumbnail.pts.map(|ns| ns as f64 / 1e9),
            width: thumbnail.source.width,
            height: thumbnail.source.height,
            jpeg: BASE64_STANDARD.encode(thumbnail.jpeg),
        }
    }
}

/// A few frames of a video with their pictures.
#[derive(Serialize, ToSchema)]
#[schema(as = Stills)]
pub(crate) struct Thumbnails {
    /// In the order of the video.
    stills: Vec<Thumbnail>,
}

/// The stored thumbnails of a video, by frame index.
async fn stored(state: &ApiState, video: &VideoId) -> Result<Vec<messages::Thumbnail>, Problem> {
    let stream = &state.streams.stills;
    let read = async |slot| match stream
        .get_last_raw_message_by_subject(&subjects::still(video, slot))
        .await
    {
        Ok(message) => from_cbor(&message.payload).map(Some).map_err(Problem::unavailable),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(Problem::unavailable(error)),
    };
    let mut stored: Vec<messages::Thumbnail> =
        try_join_all((0..STILLS).map(read)).await?.into_iter().flatten().collect();
    stored.sort_unstable_by_key(|thumbnail| thumbnail.index);
    Ok(stored)
}

/// Shows a few frames
///
/// At most 16 frames with their pictures, spread over the part of the video that is decoded:
/// they change until decoding ends. None if `ingest.stills` is off. They are kept for
/// `streams.keep`.
#[utoipa::path(
    get, path = "/videos/{id}/stills", tag = "videos",
    params(("id" = VideoId, Path, description = "The video's id")),
    responses(
        (status = 200, description = "The frames and their pictures", body = Thumbnails),
        VideoErrors
    )
)]
pub(crate) async fn list_stills(
    State(state): State<SharedState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Thumbnails>, Problem> {
    let Path(id) = id?;
    let video = find_video(&state, &id).await?.id;
    let stills = stored(&state, &video).await?.into_iter().map(Thumbnail::from).collect();
    Ok(Json(Thumbnails { stills }))
}
