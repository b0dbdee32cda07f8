//! What is known of videos.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{
    Cancelled, Event, Fps, LiveStatus, Offset, Started, Summary, VideoEntry, VideoEvent,
    VideoState, VideoStatus, from_cbor, from_json,
};
use moliceiro_nats::subjects;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::problem::Problem;

const USUAL_LIMIT: usize = 50;
const LARGEST_LIMIT: usize = 500;

/// Where to ask for a video.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Links {
    /// Its state, its counts, and at last its summary.
    pub(super) video: String,
    /// The same as it changes, as server-sent events.
    events: String,
    /// What is in each frame.
    detections: String,
}

impl Links {
    pub(super) fn of(id: &VideoId) -> Self {
        let video = format!("/videos/{id}");
        Self { events: format!("{video}/events"), detections: format!("{video}/detections"), video }
    }
}

/// A video's frames.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Frames {
    /// Those that are to be looked at; not known before all are decoded, unless the container says.
    total: Option<u64>,
    /// Decoded so far.
    decoded: u64,
    /// Looked at.
    counted: u64,
    /// Could not be looked at.
    failed: u64,
}

/// A video, as far as it is counted.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Video {
    /// Its identity.
    pub(super) id: VideoId,
    /// What people call it.
    name: String,
    /// Where it comes from.
    uri: String,
    /// Where it is in its life.
    state: VideoState,
    /// When it was uploaded, in milliseconds since 1970-01-01 UTC.
    uploaded_at: u64,
    /// Each how many-th frame is looked at.
    every: u64,
    /// About how many frames per second are looked at, if that was asked for.
    #[schema(value_type = Option<f64>)]
    fps: Option<Fps>,
    /// No frame before this time is looked at, in seconds.
    #[schema(value_type = Option<f64>)]
    start: Option<Offset>,
    /// No frame at this time or later is looked at, in seconds.
    #[schema(value_type = Option<f64>)]
    end: Option<Offset>,
    /// Its frames.
    frames: Frames,
    /// Objects found so far, by class.
    classes: BTreeMap<String, u64>,
    /// Alarms raised so far.
    alarms: u64,
    /// How it stands, if it is a live source. What is in it is counted in its windows, each a video
    /// of its own.
    live: Option<LiveStatus>,
    /// Once nothing more will happen: what was in it.
    pub(super) summary: Option<Summary>,
    /// Where to ask for more.
    links: Links,
}

impl Video {
    pub(super) fn of(entry: VideoEntry) -> Self {
        let decoded = entry.published;
        let status = VideoStatus::from(entry);
        Self {
            links: Links::of(&status.video),
            id: status.video,
            name: status.name,
            uri: status.uri,
            state: status.state,
            uploaded_at: status.uploaded_at,
            every: status.selection.every,
            fps: status.selection.fps,
            start: status.selection.start,
            end: status.selection.end,
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

    /// One that no aggregator knows yet.
    fn begun(id: VideoId, state: VideoState, started: Started) -> Self {
        Self {
            links: Links::of(&id),
            id,
            name: started.name,
            uri: started.uri,
            state,
            uploaded_at: started.uploaded_at,
            every: started.selection.every,
            fps: started.selection.fps,
            start: started.selection.start,
            end: started.selection.end,
            frames: Frames { total: None, decoded: 0, counted: 0, failed: 0 },
            classes: BTreeMap::new(),
            alarms: 0,
            live: None,
            summary: None,
        }
    }

    /// The newest first; of those of one instant, by id.
    fn place(&self) -> Place {
        (Reverse(self.uploaded_at), self.id.clone())
    }
}

type Place = (Reverse<u64>, VideoId);

impl Api {
    /// What the aggregators wrote of a video.
    pub(super) async fn entry(&self, video: &VideoId) -> Result<Option<VideoEntry>, Problem> {
        let bytes =
            self.means.streams.videos.get(video.as_str()).await.map_err(Problem::unavailable)?;
        bytes.map(|bytes| from_json(&bytes).map_err(Problem::unavailable)).transpose()
    }

    /// A video that has an entry, or a log at least.
    pub(super) async fn video(&self, id: &str) -> Result<Video, Problem> {
        let video = VideoId::try_from(id.to_owned()).map_err(|_| Problem::no_such_video(id))?;
        if let Some(entry) = self.entry(&video).await? {
            return Ok(Video::of(entry));
        }
        let first = match self
            .means
            .streams
            .results
            .get_first_raw_message_by_subject(subjects::results(&video), 1)
            .await
        {
            Ok(message) => message,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                return Err(Problem::no_such_video(id));
            }
            Err(error) => return Err(Problem::unavailable(error)),
        };
        match from_cbor::<VideoEvent>(&first.payload) {
            Ok(VideoEvent { event: Event::Queued(queued), .. }) => {
                Ok(Video::begun(video, VideoState::Queued, queued))
            }
            Ok(VideoEvent { event: Event::Started(started), .. }) => {
                Ok(Video::begun(video, VideoState::Decoding, started))
            }
            _ => Err(Problem::no_such_video(id)),
        }
    }
}

/// Shows a video
#[utoipa::path(
    get, path = "/videos/{id}", tag = "videos",
    params(("id" = VideoId, Path, description = "The video's id")),
    responses((status = 200, description = "The video as far as it is counted", body = Video), super::Unknown)
)]
pub(super) async fn show(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Video>, Problem> {
    let Path(id) = id?;
    api.video(&id).await.map(Json)
}

/// Which videos.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Those in this state only.
    state: Option<VideoState>,
    /// So many at most: 50 if it is left out.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// Those after a page: what that page's `next` says.
    #[param(pattern = "^[0-9]{1,15}\\.[A-Za-z0-9_-]{1,64}$")]
    after: Option<String>,
}

/// Some of the videos, the newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct Page {
    /// The videos.
    videos: Vec<Video>,
    /// What `after` has to be for those that follow; null if there are none.
    next: Option<String>,
}

/// Lists videos
///
/// The newest first. The `Link` header leads to the next page.
#[utoipa::path(
    get, path = "/videos", tag = "videos", params(Wanted),
    responses((status = 200, description = "Some of the videos", body = Page, headers(("link" = String, description = "The next page, if there is one"))), super::Refused)
)]
pub(super) async fn list(
    State(api): State<Api>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(wanted) = wanted?;
    let limit = wanted.limit.unwrap_or(USUAL_LIMIT);
    if !(1..=LARGEST_LIMIT).contains(&limit) {
        return Err(Problem::bad_request(format!("limit must be 1 to {LARGEST_LIMIT}")));
    }
    let after = wanted.after.as_deref().map(read_cursor).transpose()?;
    let page = page(&api, wanted.state, limit, after).await?;
    let Some(next) = &page.next else { return Ok(Json(page).into_response()) };
    let state =
        wanted.state.map(|state| format!("&state={}", state_name(state))).unwrap_or_default();
    let link = format!("</videos?limit={limit}{state}&after={next}>; rel=\"next\"");
    let link = HeaderValue::from_str(&link).map_err(Problem::unavailable)?;
    Ok(([(header::LINK, link)], Json(page)).into_response())
}

fn state_name(state: VideoState) -> String {
    serde_json::to_value(state)
        .ok()
        .and_then(|name| name.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn read_cursor(text: &str) -> Result<Place, Problem> {
    let wrong = || Problem::bad_request("after is none that a page gave");
    let (time, id) = text.split_once('.').ok_or_else(wrong)?;
    Ok((
        Reverse(time.parse().map_err(|_| wrong())?),
        VideoId::try_from(id.to_owned()).map_err(|_| wrong())?,
    ))
}

fn write_cursor((Reverse(time), id): &Place) -> String {
    format!("{time}.{id}")
}

/// A video in the order of its place.
struct Placed(Place, Video);

impl PartialEq for Placed {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Placed {}

impl PartialOrd for Placed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Placed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

/// Looks through all entries, and keeps no more of them than a page has.
async fn page(
    api: &Api,
    state: Option<VideoState>,
    limit: usize,
    after: Option<Place>,
) -> Result<Page, Problem> {
    let config = pull::OrderedConfig {
        deliver_policy: DeliverPolicy::LastPerSubject,
        filter_subject: format!("$KV.{}.>", subjects::VIDEOS_BUCKET),
        ..pull::OrderedConfig::default()
    };
    let consumer = api
        .means
        .streams
        .videos
        .stream
        .create_consumer(config)
        .await
        .map_err(Problem::unavailable)?;
    let mut left = consumer.cached_info().num_pending > 0;
    let mut entries = consumer.messages().await.map_err(Problem::unavailable)?;
    let mut best = BinaryHeap::with_capacity(limit + 1);
    let mut more = false;
    while left {
        let Some(message) = entries.next().await else { break };
        let message = message.map_err(Problem::unavailable)?;
        left = message.info().is_ok_and(|info| info.pending > 0);
        let Ok(entry) = from_json::<VideoEntry>(&message.payload) else { continue };
        if state.is_some_and(|state| state != entry.state) {
            continue;
        }
        let video = Video::of(entry);
        let place = video.place();
        if after.as_ref().is_some_and(|after| place <= *after) {
            continue;
        }
        best.push(Placed(place, video));
        if best.len() > limit {
            best.pop();
            more = true;
        }
    }
    let videos = best.into_sorted_vec();
    let next = videos.last().filter(|_| more).map(|Placed(place, _)| write_cursor(place));
    Ok(Page { videos: videos.into_iter().map(|Placed(_, video)| video).collect(), next })
}

/// Cancels a video
///
/// Its frames leave the queue. What was counted so far stays.
#[utoipa::path(
    delete, path = "/videos/{id}", tag = "videos",
    params(("id" = VideoId, Path, description = "The video's id")),
    responses((status = 202, description = "The video is being cancelled"), super::Unknown, super::Over)
)]
pub(super) async fn cancel(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let Path(id) = id?;
    let video = api.video(&id).await?;
    if video.state.is_final() {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            format!("the video is {} already", state_name(video.state)),
        ));
    }
    let cancelled = Event::Cancelled(Cancelled { reason: "asked for by HTTP".into() });
    let message_id = subjects::event_message_id(&video.id, "cancelled");
    super::in_time(api.means.streams.publisher.publish_event(
        &video.id,
        Some(&message_id),
        cancelled,
    ))
    .await?;
    Ok(StatusCode::ACCEPTED)
}
