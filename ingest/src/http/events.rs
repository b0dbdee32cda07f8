//! A video as it changes, for whoever watches.

use std::convert::Infallible;
use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::kv;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt, stream};
use moliceiro_nats::messages::{Summary, VideoEntry, from_json, to_json};
use moliceiro_nats::{VideoId, subjects};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::Api;
use super::problem::Problem;
use super::videos::Video;

/// Events that wait for a slow client. When there are so many, the next one waits too.
const QUEUE: usize = 16;
/// Proxies end what is silent for longer.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A summary that is this late is no longer in its stream: the video's entry has it too.
const SUMMARY_LATE: Duration = Duration::from_secs(2);

/// Follows a video
///
/// Server-sent events: `video` with the video as it is, at once and at each change; `alarm` with an
/// alarm; `summary` with the summary, after which the stream ends. A client that connects again
/// gets all of it again.
#[utoipa::path(
    get, path = "/videos/{id}/events", tag = "videos",
    params(("id" = VideoId, Path, description = "The video's id")),
    responses((status = 200, description = "Server-sent events", content_type = "text/event-stream", body = String), super::Unknown)
)]
pub(super) async fn follow(
    State(api): State<Api>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let Path(id) = id?;
    let video = api.video(&id).await?;
    let notices = notices(&api, &video.id).await?;
    let entries = api
        .means
        .streams
        .videos
        .watch_with_history(video.id.as_str())
        .await
        .map_err(Problem::unavailable)?;
    let (events, queue) = mpsc::channel(QUEUE);
    let shutdown = api.shutdown.clone();
    api.tasks.spawn(async move {
        let following = tell(&events, &video, entries, notices);
        tokio::select! {
            () = following => {}
            () = events.closed() => {}
            () = shutdown.cancelled() => {}
        }
    });
    let events = stream::unfold(queue, |mut queue| async {
        queue.recv().await.map(|event| (Ok(event), queue))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

type Notices = pull::Ordered;

/// The video's alarms and its summary, those of the past too.
async fn notices(api: &Api, video: &VideoId) -> Result<Notices, Problem> {
    let config = pull::OrderedConfig {
        deliver_policy: DeliverPolicy::All,
        filter_subjects: vec![subjects::alarms(video), subjects::summary(video)],
        ..pull::OrderedConfig::default()
    };
    let consumer =
        api.means.streams.summaries.create_consumer(config).await.map_err(Problem::unavailable)?;
    consumer.messages().await.map_err(Problem::unavailable)
}

async fn tell(
    events: &mpsc::Sender<Event>,
    video: &Video,
    mut entries: kv::Watch,
    mut notices: Notices,
) {
    let mut last: Option<(Instant, Summary)> = None;
    let mut told = send(events, "video", video).await;
    while told {
        let late = last.as_ref().map(|(at, _)| *at);
        tokio::select! {
            Some(entry) = entries.next() => match entry.map(|entry| from_json::<VideoEntry>(&entry.value)) {
                Ok(Ok(entry)) => {
                    let summary = entry.summary.clone().filter(|_| entry.summary_published);
                    last = last.or(summary.map(|summary| (Instant::now() + SUMMARY_LATE, summary)));
                    told = send(events, "video", &Video::of(entry)).await;
                }
                Ok(Err(error)) => warn!(%error, "an entry cannot be read"),
                Err(error) => return warn!(%error, "an entry cannot be followed any more"),
            },
            Some(notice) = notices.next() => match notice {
                Ok(message) if message.subject.starts_with("alarms.") => told = send_json(events, "alarm", &message.payload).await,
                Ok(message) => {
                    send_json(events, "summary", &message.payload).await;
                    return;
                }
                Err(error) => return warn!(%error, "alarms cannot be followed any more"),
            },
            () = async { if let Some(late) = late { sleep_until(late).await } }, if late.is_some() => {
                if let Some((_, summary)) = &last {
                    send(events, "summary", summary).await;
                }
                return;
            }
            else => return,
        }
    }
}

async fn send<T: Serialize>(events: &mpsc::Sender<Event>, kind: &str, data: &T) -> bool {
    send_json(events, kind, &to_json(data)).await
}

/// JSON is one line, whoever wrote it: others may have published on the subject.
async fn send_json(events: &mpsc::Sender<Event>, kind: &str, json: &[u8]) -> bool {
    let text = String::from_utf8_lossy(json).replace(['\r', '\n'], " ");
    events.send(Event::default().event(kind).data(text)).await.is_ok()
}
