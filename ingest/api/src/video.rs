//! One video: what is known of it so far, and its cancellation.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{
    AlarmRule, AnalyticsSummary, Deinterlace, Fps, FrameSelection, Line, LiveStatus, Offset,
    Started, Summary, UsedModel, VideoEntry, VideoState, VideoStatus, Zone,
};
use moliceiro_nats::videos::KnownVideo;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

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
    /// How interlaced video is analysed, if the upload asked for that.
    #[schema(inline)]
    deinterlace: Option<Deinterlace>,
    /// Whether frames that differ little from the analysed one before them carry its objects.
    skip_still: bool,
    /// Whether only key frames are decoded.
    key_frames: bool,
    /// The model that analyses it; null until an ingest has started it.
    model: Option<UsedModel>,
    /// Why its frames are not analysed now, if no detector serves its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<String>,
    /// The numbers of its frames.
    frames: Frames,
    /// Objects found so far, by class.
    classes: BTreeMap<String, u64>,
    /// The most objects of a class in one frame so far.
    most_at_once: BTreeMap<String, u64>,
    /// The classes that are counted; empty: all.
    labels: Vec<String>,
    /// The alarm rules of its upload; null: those of the setting `aggregator.alarms`.
    #[schema(value_type = Option<Vec<String>>)]
    rules: Option<Vec<AlarmRule>>,
    /// Number of alarms so far.
    alarms: u64,
    /// Tracks, lines and zones so far; null if nothing is tracked, or nothing is counted yet.
    analytics: Option<AnalyticsSummary>,
    /// The lines of its upload.
    #[schema(value_type = Vec<String>)]
    lines: Vec<Line>,
    /// The zones of its upload.
    #[schema(value_type = Vec<String>)]
    zones: Vec<Zone>,
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
        let Started { labels, alarms: rules, tracking, .. } = entry.started.clone();
        let status = VideoStatus::from(entry);
        let FrameSelection { every, fps, start, end, video_track, deinterlace, .. } =
            status.selection;
        let FrameSelection { skip_still, key_frames, .. } = status.selection;
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
            deinterlace,
            skip_still,
            key_frames,
            model: status.model,
            waiting: None,
            frames: Frames {
                total: status.frames,
                decoded,
                counted: status.processed_frames,
                failed: status.failed_frames,
            },
            classes: status.classes,
            most_at_once: status.most_at_once,
            labels,
            rules,
            alarms: status.alarms,
            analytics: status.analytics,
            lines: tracking.lines,
            zones: tracking.zones,
            live: status.live,
            summary: status.summary,
        }
    }

    /// A video that no aggregator has an entry of yet.
    fn without_entry(id: VideoId, state: VideoState, started: Started) -> Self {
        let FrameSelection { every, fps, start, end, video_track, deinterlace, .. } =
            started.selection;
        let FrameSelection { skip_still, key_frames, .. } = started.selection;
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
            deinterlace,
            skip_still,
            key_frames,
            model: started.model,
            waiting: None,
            frames: Frames { total: None, decoded: 0, counted: 0, failed: 0 },
            classes: BTreeMap::new(),
            most_at_once: BTreeMap::new(),
            labels: started.labels,
            rules: started.alarms,
            alarms: 0,
            analytics: None,
            lines: started.tracking.lines,
            zones: started.tracking.zones,
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
pub(crate) async fn show_video(
    State(state): State<SharedState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Video>, Problem> {
    let Path(id) = id?;
    let mut video = find_video(&state, &id).await?;
    if let Some(model) = video.model.as_ref().filter(|_| !video.state.is_final()) {
        let consumers = state.streams.all_detectors().await.map_err(Problem::unavailable)?;
        if consumers.iter().any(|of| of.model == model.name && of.is_unserved()) {
            video.waiting = Some(format!("no detector serves the model {}", model.name));
        }
    }
    Ok(Json(video))
}

/// Whether to keep what is known of the video.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CancelOptions {
    /// Delete a video that has ended: its counts, summary, alarms, detections and pictures.
    /// Default: false.
    #[serde(default)]
    #[param(required = false)]
    forget: bool,
}

/// Cancels a video, or deletes one that has ended
///
/// Without `forget`, its frames are removed from the queue, and the counts so far are kept. With
/// `forget=true`, everything that is stored of the video is deleted. A video that is still being
/// counted must be cancelled first.
#[utoipa::path(
    delete, path = "/videos/{id}", tag = "videos",
    params(("id" = VideoId, Path, description = "The video's id"), CancelOptions),
    responses(
        (status = 202, description = "The video is being cancelled"),
        (status = 204, description = "The video is deleted"),
        VideoErrors,
        CancelErrors
    )
)]
pub(crate) async fn cancel_video(
    State(state): State<SharedState>,
    id: Result<Path<String>, PathRejection>,
    options: Result<Query<CancelOptions>, QueryRejection>,
) -> Result<StatusCode, Problem> {
    let Path(id) = id?;
    let Query(options) = options?;
    let video = find_video(&state, &id).await?;
    if options.forget {
        if video.summary.is_none() {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                format!("the video is {}: cancel it first", state_name(video.state)),
            ));
        }
        state.streams.videos().forget(&video.id).await?;
        return Ok(StatusCode::NO_CONTENT);
    }
    if video.state.is_final() {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            format!("the video is {} already; ?forget=true deletes it", state_name(video.state)),
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
