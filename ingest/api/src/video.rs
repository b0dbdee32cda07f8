//! One video: what is known of it so far, and its cancellation.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{
    Fps, FrameSelection, LiveStatus, Offset, Started, Summary, VideoEntry, VideoState, VideoStatus,
};
use moliceiro_nats::videos::KnownVideo;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::Problem;
use crate::responses::{CancelErrors, VideoErrors};
use crate::state::{ApiState, SharedState, stored_in_time};

/// Where to query a video.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Links {
    /// State and counts, and finally the summary.
    pub(crate) video: String,
    /// The same as server-sent events, one at each change.
    events: String,
    /// The objects in each frame.
    detections: String,
}

impl Links {
    pub(crate) fn of(id: &VideoId) -> Self {
        let video = format!("/videos/{id}");
        Self { events: format!("{video}/events"), detections: format!("{video}/detections"), video }
    }
}

/// Numbers of frames.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Frames {
    /// Frames to analyse. Before all are decoded it is known only if the container announces it.
    total: Option<u64>,
    /// Frames decoded so far.
    decoded: u64,
    /// Frames analysed so far.
    counted: u64,
    /// Frames that could not be analysed.
    failed: u64,
}

/// A video and what is counted of it so far.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Video {
    /// The video's id.
    pub(crate) id: VideoId,
    /// The video's name.
    name: String,
    /// Where the video comes from.
    uri: String,
    /// The video's state.
    state: VideoState,
    /// Time of the upload, in milliseconds since 1970-01-01 UTC.
    pub(crate) uploaded_at: u64,
    /// Every Nth frame is analysed.
    every: u64,
    /// About this many frames per second are analysed, if the upload asked for that.
    #[schema(value_type = Option<f64>)]
    fps: Option<Fps>,
    /// Frames before this time are not analysed, in seconds.
    #[schema(value_type = Option<f64>)]
    start: Option<Offset>,
    /// Frames at or after this time are not analysed, in seconds.
    #[schema(value_type = Option<f64>)]
    end: Option<Offset>,
    /// The number of the analysed video track, if the upload asked for one.
    video_track: Option<u32>,
    /// The numbers of its frames.
    frames: Frames,
    /// Objects found so far, by class.
    classes: BTreeMap<String, u64>,
    /// Number of alarms so far.
    alarms: u64,
    /// The state of a live source. Its objects are counted in its windows, each a video of its own.
    live: Option<LiveStatus>,
    /// The final counts, once the video has ended.
    pub(crate) summary: Option<Summary>,
    /// Where to query more.
    links: Links,
}

impl Video {
    pub(crate) fn of(entry: VideoEntry) -> Self {
        let decoded = entry.published;
        let status = VideoStatus::from(entry);
        let FrameSelection { every, fps, start, end, video_track } = status.selection;
        Self {
            links: Links::of(&status.video),
            id: status.video,
            name: status.name,
            uri: status.uri,
            state: status.state,
            uploaded_at: status.uploaded_at,
            every,
            fps,
            start,
            end,
            video_track,
            frames: Frames {
                total: status.frames,
                decoded,
                counted: status.processed_frames,
                failed: status.failed_frames,
            },
            classes: status.classes,
            alarms: status.alarms,
            live: status.live,
            summary: status.summary,
        }
    }

    /// A video that no aggregator has an entry of yet.
    fn without_entry(id: VideoId, state: VideoState, started: Started) -> Self {
        let FrameSelection { every, fps, start, end, video_track } = started.selection;
        Self {
            links: Links::of(&id),
            id,
            name: started.name,
            uri: started.uri,
            state,
            uploaded_at: started.uploaded_at,
            every,
            fps,
            start,
            end,
            video_track,
            frames: Frames { total: None, decoded: 0, counted: 0, failed: 0 },
            classes: BTreeMap::new(),
            alarms: 0,
            live: None,
            summary: None,
        }
    }
}

/// A video by its id: from its entry, or else from its log.
pub(crate) async fn find_video(state: &ApiState, id: &str) -> Result<Video, Problem> {
    let video = VideoId::try_from(id.to_owned()).map_err(|_| Problem::unknown_video(id))?;
    Ok(match state.streams.videos().find(&video).await? {
        Some(KnownVideo::Entry(entry)) => Video::of(*entry),
        Some(KnownVideo::Queued(queued)) => Video::without_entry(video, VideoState::Queued, queued),
        Some(KnownVideo::Started(started)) => {
            Video::without_entry(video, VideoState::Decoding, started)
        }
        None => return Err(Problem::unknown_video(id)),
    })
}

/// Shows a video
#[utoipa::path(
    get, path = "/videos/{id}", tag = "videos",
    params(("id" = VideoId, Path, description = "The video's id")),
    responses(
        (status = 200, description = "The video and its counts so far", body = Video),
        VideoErrors
    )
)]
pub(crate) async fn show(
    State(state): State<SharedState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Video>, Problem> {
    let Path(id) = id?;
    find_video(&state, &id).await.map(Json)
}

/// Cancels a video
///
/// Its frames are removed from the queue. The counts so far are kept.
#[utoipa::path(
    delete, path = "/videos/{id}", tag = "videos",
    params(("id" = VideoId, Path, description = "The video's id")),
    responses(
        (status = 202, description = "The video is being cancelled"),
        VideoErrors,
        CancelErrors
    )
)]
pub(crate) async fn cancel(
    State(state): State<SharedState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let Path(id) = id?;
    let video = find_video(&state, &id).await?;
    if video.state.is_final() {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            format!("the video is {} already", state_name(video.state)),
        ));
    }
    stored_in_time(state.streams.videos().cancel(&video.id, "requested over HTTP")).await?;
    Ok(StatusCode::ACCEPTED)
}

/// The name of a state in JSON and in queries.
pub(crate) fn state_name(state: VideoState) -> String {
    serde_json::to_value(state)
        .ok()
        .and_then(|name| name.as_str().map(str::to_owned))
        .unwrap_or_default()
}
