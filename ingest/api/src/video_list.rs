//! `GET /videos`: the videos in pages, the newest first.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::pin::pin;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::VideoState;
use moliceiro_nats::videos::VideoError;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::problem::Problem;
use crate::responses::RequestErrors;
use crate::state::{ApiState, SharedState};
use crate::video::{Video, state_name};

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 500;

/// Which videos to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListOptions {
    /// Only videos in this state.
    state: Option<VideoState>,
    /// Maximum number of videos. Default: 50.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// Continue after a page: the value of that page's `next`.
    #[param(pattern = "^[0-9]{1,15}\\.[A-Za-z0-9_-]{1,64}$")]
    after: Option<String>,
}

/// A page of videos, the newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Page {
    /// The videos.
    videos: Vec<Video>,
    /// The value of `after` for the next page; null on the last page.
    next: Option<String>,
}

/// Lists videos
///
/// The newest first. The `Link` header has the URL of the next page.
#[utoipa::path(
    get, path = "/videos", tag = "videos", params(ListOptions),
    responses(
        (
            status = 200, description = "A page of videos", body = Page,
            headers(("link" = String, description = "The next page, if there is one"))
        ),
        RequestErrors
    )
)]
pub(crate) async fn list_videos(
    State(state): State<SharedState>,
    options: Result<Query<ListOptions>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(options) = options?;
    let limit = options.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::bad_request(format!("limit must be 1 to {MAX_LIMIT}")));
    }
    let after = options.after.as_deref().map(Position::parse).transpose()?;
    let page = page(&state, options.state, limit, after).await?;
    let Some(next) = &page.next else { return Ok(Json(page).into_response()) };
    let filter =
        options.state.map(|state| format!("&state={}", state_name(state))).unwrap_or_default();
    let link = format!("</videos?limit={limit}{filter}&after={next}>; rel=\"next\"");
    let link = HeaderValue::from_str(&link).map_err(Problem::unavailable)?;
    Ok(([(header::LINK, link)], Json(page)).into_response())
}

/// A video's position in the list: the newest first; those uploaded in the same millisecond by id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    uploaded_at: Reverse<u64>,
    id: VideoId,
}

impl Position {
    fn of(video: &Video) -> Self {
        Self { uploaded_at: Reverse(video.uploaded_at), id: video.id.clone() }
    }

    fn parse(cursor: &str) -> Result<Self, Problem> {
        let invalid = || Problem::bad_request("after must be the `next` of an earlier page");
        let (time, id) = cursor.split_once('.').ok_or_else(invalid)?;
        Ok(Self {
            uploaded_at: Reverse(time.parse().map_err(|_| invalid())?),
            id: VideoId::try_from(id.to_owned()).map_err(|_| invalid())?,
        })
    }

    fn to_cursor(&self) -> String {
        format!("{}.{}", self.uploaded_at.0, self.id)
    }
}

/// A video that is compared by its position only.
struct Positioned(Position, Video);

impl PartialEq for Positioned {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Positioned {}

impl PartialOrd for Positioned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Positioned {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

/// Reads all entries, but holds only as many as a page has.
async fn page(
    state: &ApiState,
    wanted: Option<VideoState>,
    limit: usize,
    after: Option<Position>,
) -> Result<Page, Problem> {
    let mut entries = pin!(state.streams.videos().entries());
    let mut best = BinaryHeap::with_capacity(limit + 1);
    let mut more = false;
    while let Some(stored) = entries.next().await {
        let entry = match stored {
            Ok(stored) => stored.entry,
            Err(VideoError::Malformed { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        if wanted.is_some_and(|wanted| wanted != entry.state) {
            continue;
        }
        let video = Video::of(entry);
        let position = Position::of(&video);
        if after.as_ref().is_some_and(|after| position <= *after) {
            continue;
        }
        best.push(Positioned(position, video));
        if best.len() > limit {
            best.pop();
            more = true;
        }
    }
    let videos = best.into_sorted_vec();
    let next = videos.last().filter(|_| more).map(|Positioned(position, _)| position.to_cursor());
    Ok(Page { videos: videos.into_iter().map(|Positioned(_, video)| video).collect(), next })
}
