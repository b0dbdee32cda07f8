//! `GET /videos/{id}/events`: the changes of a video as server-sent events.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt, stream};
use moliceiro_nats::messages::to_json;
use moliceiro_nats::videos::{VideoChange, VideoChanges, VideoError};
use moliceiro_nats::{TemporaryConsumer, VideoId, subjects};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::problem::Problem;
use crate::responses::VideoErrors;
use crate::state::{ApiState, SharedState};
use crate::video::{Video, find_video};

/// Events buffered for a slow client; after that, the video's changes are read at its pace.
const QUEUE: usize = 16;
/// Many proxies close a connection that is silent for longer.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// After this, the summary has expired from its stream; the video's entry still has it.
const SUMMARY_LATE: Duration = Duration::from_secs(2);

/// Follows a video
///
/// Server-sent events: `video` with the video, at once and at each change; `alarm` with an alarm;
/// `summary` with the summary, which is the last event. A client that reconnects gets all events
/// again.
#[utoipa::path(
    get, path = "/videos/{id}/events", tag = "videos",
    params(("id" = VideoId, Path, description = "The video's id")),
    responses(
        (
            status = 200, description = "Server-sent events",
            content_type = "text/event-stream", body = String
        ),
        VideoErrors
    )
)]
pub(crate) async fn follow_video(
    State(state): State<SharedState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let Path(id) = id?;
    let video = find_video(&state, &id).await?;
    let notices = notices(&state, &video.id).await?;
    let changes = state.streams.videos().watch(&video.id).await?;
    let (client, events) = mpsc::channel(QUEUE);
    let shutdown = state.shutdown.clone();
    state.tasks.spawn(async move {
        let client = Client(client);
        tokio::select! {
            _ = send_changes(&client, &video, changes, notices) => {}
            () = client.0.closed() => {}
            () = shutdown.cancelled() => {}
        }
    });
    let events = stream::unfold(events, |mut events| async {
        events.recv().await.map(|event| (Ok(event), events))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// Alarms and summaries.
struct Notices {
    messages: pull::Ordered,
    _consumer: TemporaryConsumer,
}

/// The video's alarms and its summary, including earlier ones.
async fn notices(state: &ApiState, video: &VideoId) -> Result<Notices, Problem> {
    let config = pull::OrderedConfig {
        deliver_policy: DeliverPolicy::All,
        filter_subjects: vec![subjects::alarms(video), subjects::summary(video)],
        ..pull::OrderedConfig::default()
    };
    let stream = &state.streams.summaries;
    let consumer = stream.create_consumer(config).await.map_err(Problem::unavailable)?;
    let on_server = TemporaryConsumer::new(stream, &consumer.cached_info().name);
    let messages = consumer.messages().await.map_err(Problem::unavailable)?;
    Ok(Notices { messages, _consumer: on_server })
}

/// Sends events until the summary, or until the client or the server is unavailable.
async fn send_changes(
    client: &Client,
    video: &Video,
    mut changes: VideoChanges,
    mut notices: Notices,
) -> ControlFlow<()> {
    // The two streams are independent: the summary may arrive before the entry that has it.
    let mut overdue: Option<(Instant, Vec<u8>)> = None;
    let (mut has_ended, mut has_summary) = (false, false);
    client.send("video", video).await?;
    loop {
        let deadline = overdue.as_ref().map(|(deadline, _)| *deadline);
        tokio::select! {
            Some(change) = changes.next() => match change {
                Ok(VideoChange::Written(stored)) => {
                    let entry = stored.entry;
                    has_ended = entry.summary.is_some();
                    let published = entry.summary.as_ref().filter(|_| entry.summary_published);
                    let late = published.map(|summary| (Instant::now() + SUMMARY_LATE, to_json(summary)));
                    overdue = overdue.or(late);
                    client.send("video", &Video::of(entry)).await?;
                }
                Ok(VideoChange::Deleted(_) | VideoChange::Loaded) => {}
                Err(error @ VideoError::Malformed { .. }) => warn!(%error, "ignoring an entry"),
                Err(error) => {
                    warn!(%error, "cannot follow the entry of a video");
                    return ControlFlow::Break(());
                }
            },
            Some(notice) = notices.messages.next() => match notice {
                Ok(message) if subjects::is_alarm(&message.subject) => {
                    client.send_json("alarm", &message.payload).await?;
                }
                Ok(message) => {
                    has_summary = true;
                    overdue = Some((Instant::now() + SUMMARY_LATE, message.payload.to_vec()));
                }
                Err(error) => {
                    warn!(%error, "cannot follow the alarms of a video");
                    return ControlFlow::Break(());
                }
            },
            () = wait_until(deadline), if deadline.is_some() => {
                if let Some((_, summary)) = &overdue {
                    client.send_json("summary", summary).await?;
                }
                return ControlFlow::Break(());
            }
            else => return ControlFlow::Break(()),
        }
        if let Some((_, summary)) = overdue.as_ref().filter(|_| has_ended && has_summary) {
            client.send_json("summary", summary).await?;
            return ControlFlow::Break(());
        }
    }
}

/// Never completes without a deadline.
async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The receiver of the events. Sending breaks once it has disconnected.
struct Client(mpsc::Sender<Event>);

impl Client {
    async fn send<T: Serialize>(&self, kind: &str, data: &T) -> ControlFlow<()> {
        self.send_json(kind, &to_json(data)).await
    }

    /// Puts JSON on one line: other programs may have published it on several.
    async fn send_json(&self, kind: &str, json: &[u8]) -> ControlFlow<()> {
        let text = String::from_utf8_lossy(json).replace(['\r', '\n'], " ");
        match self.0.send(Event::default().event(kind).data(text)).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}
