//! A live source: each of its windows becomes a video of its own, and a lost connection is made
//! again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use backon::BackoffBuilder;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use moliceiro_decode::DecodeSettings;
use moliceiro_decode::live::{Disconnected, LiveOrigin, Window, connect};
use moliceiro_nats::messages::{
    Abandoned, Connection as State, Ended, Event, FrameSelection, LiveStatus, LiveWindow, Started,
    VideoEntry, milliseconds_now,
};
use moliceiro_nats::publish::StoreError;
use moliceiro_nats::{Streams, VideoError, VideoId, backoff, subjects};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::metrics::Metrics;
use crate::published::{Published, Watermark};
use crate::publisher::FramePublisher;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Windows that may be unpublished at the same time. While there are as many, frames are dropped.
const MAX_OPEN: usize = 3;
/// How often the number of dropped frames is reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// A connected source reports its status at least this often.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// How long publishing the open windows may take when the source is stopped.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A live source and how to follow it.
pub(crate) struct LiveSource<'a> {
    pub(crate) streams: &'a Streams,
    pub(crate) metrics: &'a Metrics,
    /// The source, as a video.
    pub(crate) video: &'a VideoId,
    /// How it started.
    pub(crate) started: &'a Started,
    pub(crate) settings: DecodeSettings,
    /// Length of a window.
    pub(crate) window: Duration,
    /// Frames of one window that may be unacknowledged at the same time.
    pub(crate) publish_window: usize,
}

/// Whether a URI names a live source by its scheme alone.
pub(crate) fn is_rtsp(uri: &Url) -> bool {
    ["rtsp", "rtsps"].contains(&uri.scheme())
}

/// Why a live source cannot be followed as requested.
#[derive(Debug, Error)]
pub(crate) enum LiveProblem {
    #[error("a live source has no times for start and end: leave them out")]
    Range,
    #[error(
        "the id {0} is too long for a live source, whose windows have longer ones: use at most 55 \
         characters"
    )]
    LongId(VideoId),
}

/// Whether a live source can be followed as requested.
pub(crate) fn check(video: &VideoId, selection: FrameSelection) -> Result<(), LiveProblem> {
    if selection.start.is_some() || selection.end.is_some() {
        return Err(LiveProblem::Range);
    }
    match video.window(0) {
        Some(_) => Ok(()),
        None => Err(LiveProblem::LongId(video.clone())),
    }
}

/// Why the windows of an earlier ingest cannot be ended.
#[derive(Debug, Error)]
pub(crate) enum TakeOverError {
    /// The last event of the source cannot be read.
    #[error("cannot read the video's last event: {0}")]
    Read(#[from] VideoError),
    /// The end of a window cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Ends the windows that a killed ingest left open. Returns the source's last known status.
pub(crate) async fn take_over(
    streams: &Streams,
    video: &VideoId,
    entry: Option<&VideoEntry>,
) -> Result<LiveStatus, TakeOverError> {
    let mut status = match streams.videos().last_event(video).await? {
        Some(Event::Live(status)) => status,
        _ => entry.and_then(|entry| entry.live.clone()).unwrap_or_default(),
    };
    abandon(streams, &mut status, "its ingest ended unexpectedly").await?;
    Ok(status)
}

/// Ends the open windows with what is published of them.
async fn abandon(
    streams: &Streams,
    status: &mut LiveStatus,
    reason: &str,
) -> Result<(), StoreError> {
    for window in status.open.drain(..) {
        let id = subjects::event_message_id(&window, "abandoned");
        streams
            .publisher
            .publish_event(
                &window,
                Some(&id),
                Event::Abandoned(Abandoned { reason: reason.into() }),
            )
            .await?;
        status.windows += 1;
    }
    Ok(())
}

/// Follows a source until it ends or `stop` is cancelled, then ends its windows. Returns the
/// source's own end, unless it was stopped.
pub(crate) async fn follow(
    source: &LiveSource<'_>,
    origin: LiveOrigin,
    status: LiveStatus,
    stop: &CancellationToken,
) -> Result<Option<Published>, StoreError> {
    let dropped = Arc::new(AtomicU64::new(status.dropped));
    let mut follower = Follower {
        source,
        origin,
        dropped,
        status,
        open: FuturesUnordered::new(),
        reported_dropped: 0,
    };
    let problem = match follower.run(stop).await? {
        SourceEnd::Stopped => return Ok(None),
        SourceEnd::Ended => None,
        SourceEnd::Broken(reason) => Some(reason.to_string()),
    };
    let ended = Ended {
        frames: 0,
        decoded: follower.status.frames,
        duration: None,
        problem: problem.clone(),
        notices: vec![],
        skipped: None,
    };
    let id = subjects::event_message_id(source.video, "ended");
    source.streams.publisher.publish_event(source.video, Some(&id), Event::Ended(ended)).await?;
    Ok(Some(Published { frames: follower.status.frames, problem }))
}

type Publishing<'a> = BoxFuture<'a, (VideoId, Result<Published, StoreError>)>;

/// How following a source ended.
enum SourceEnd {
    Stopped,
    Ended,
    Broken(Disconnected),
}

struct Follower<'a> {
    source: &'a LiveSource<'a>,
    origin: LiveOrigin,
    dropped: Arc<AtomicU64>,
    reported_dropped: u64,
    status: LiveStatus,
    /// Windows being published.
    open: FuturesUnordered<Publishing<'a>>,
}

impl Follower<'_> {
    async fn run(&mut self, stop: &CancellationToken) -> Result<SourceEnd, StoreError> {
        let pauses = backoff(FIRST_PAUSE, MAX_PAUSE);
        let mut pause = pauses.build();
        loop {
            let windows = self.status.windows + self.open.len() as u64;
            let reason = match self.follow_connection(stop).await? {
                Disconnected::Stopped => return self.close(SourceEnd::Stopped).await,
                Disconnected::Ended => return self.close(SourceEnd::Ended).await,
                // An address that is wrong from the start stays wrong.
                refused @ Disconnected::Refused(_) if windows == 0 => {
                    return self.close(SourceEnd::Broken(refused)).await;
                }
                unusable @ Disconnected::Unusable(_) => {
                    return self.close(SourceEnd::Broken(unusable)).await;
                }
                Disconnected::Refused(reason) | Disconnected::Lost(reason) => reason,
            };
            if self.status.windows + self.open.len() as u64 > windows {
                pause = pauses.build();
            }
            let next = pause.next().unwrap_or(MAX_PAUSE);
            self.source.metrics.live_connection_lost(self.source.video, &reason, next);
            self.report(State::Reconnecting, Some(reason)).await?;
            if self.wait(next, stop).await? {
                return self.close(SourceEnd::Stopped).await;
            }
        }
    }

    async fn close(&mut self, end: SourceEnd) -> Result<SourceEnd, StoreError> {
        self.publish_open_windows().await?;
        self.report(State::Closed, None).await?;
        Ok(end)
    }

    /// Pauses while the open windows are published. Returns true if the source was stopped.
    async fn wait(
        &mut self,
        pause: Duration,
        stop: &CancellationToken,
    ) -> Result<bool, StoreError> {
        let until = tokio::time::Instant::now() + pause;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(true),
                () = tokio::time::sleep_until(until) => return Ok(false),
                Some((window, published)) = self.open.next() => {
                    self.window_published(&window, published?).await?;
                },
            }
        }
    }

    /// Follows one connection to its end.
    async fn follow_connection(
        &mut self,
        stop: &CancellationToken,
    ) -> Result<Disconnected, StoreError> {
        let LiveSource { settings, window, started, .. } = self.source;
        let connection = connect(
            self.origin.clone(),
            started.uri.clone(),
            settings.clone(),
            *window,
            self.dropped.clone(),
        );
        if self.status.connection != State::Reconnecting {
            self.report(State::Connecting, None).await?;
        }
        let mut ticks = tokio::time::interval(REPORT_INTERVAL);
        while !stop.is_cancelled() {
            let may_open = self.open.len() < MAX_OPEN;
            tokio::select! {
                () = stop.cancelled() => break,
                next = connection.windows.recv(), if may_open => match next {
                    Ok(window) => self.open_window(window).await?,
                    Err(_) => break,
                },
                Some((window, published)) = self.open.next() => {
                    self.window_published(&window, published?).await?;
                },
                _ = ticks.tick() => if self.is_report_due() {
                    self.report(self.status.connection, self.status.reason.clone()).await?;
                },
            }
        }
        connection.windows.close();
        // The thread may have opened a window in the last moment.
        while let Ok(window) = connection.windows.recv().await {
            self.open_window(window).await?;
        }
        Ok(connection.outcome().await)
    }

    /// Makes a video of a window.
    async fn open_window(
        &mut self,
        Window { began: opened, decoding }: Window,
    ) -> Result<(), StoreError> {
        let LiveSource { streams, metrics, video, started, publish_window, .. } = *self.source;
        let opened = opened.duration_since(UNIX_EPOCH).unwrap_or_default();
        let opened_at = u64::try_from(opened.as_millis()).unwrap_or(u64::MAX);
        // `check` has made sure that the id is short enough.
        let Some(window) = video.window(opened_at) else { return Ok(()) };
        self.status.open.push(window.clone());
        let follows = self.status.last.replace(window.clone());
        let of_source = LiveWindow { source: video.clone(), follows };
        self.report(State::Connected, None).await?;
        let name = format!("{} (from {})", started.name, clock(UNIX_EPOCH + opened));
        let started =
            Started { name, uploaded_at: opened_at, window: Some(of_source), ..started.clone() };
        metrics.decoding(&window, &started, 0);
        let (model, skip_still) = (started.model(), started.selection.skip_still);
        self.open.push(Box::pin(async move {
            let id = subjects::event_message_id(&window, "started");
            let event = Event::Started(started);
            let model = &model;
            let published = match streams.publisher.publish_event(&window, Some(&id), event).await {
                Ok(()) => {
                    let (video, window) = (&window, publish_window);
                    let publisher = FramePublisher::new(streams, metrics, video, model, window);
                    let publisher = FramePublisher { skip_still, ..publisher };
                    publisher.publish_video(decoding, Watermark::default()).await
                }
                Err(error) => Err(error),
            };
            (window, published)
        }));
        Ok(())
    }

    async fn window_published(
        &mut self,
        window: &VideoId,
        published: Published,
    ) -> Result<(), StoreError> {
        self.status.open.retain(|open| open != window);
        self.status.windows += 1;
        self.status.frames += published.frames;
        self.report(self.status.connection, self.status.reason.clone()).await
    }

    /// Waits until the open windows are published, for a bounded time.
    async fn publish_open_windows(&mut self) -> Result<(), StoreError> {
        let until = tokio::time::Instant::now() + STOP_TIMEOUT;
        while let Ok(Some((window, published))) =
            tokio::time::timeout_at(until, self.open.next()).await
        {
            self.window_published(&window, published?).await?;
        }
        self.open.clear();
        abandon(
            self.source.streams,
            &mut self.status,
            "the queue was full when its source was stopped: the rest of its frames is missing",
        )
        .await
    }

    /// A source that reports nothing for long would count as stalled.
    fn is_report_due(&self) -> bool {
        let heartbeat = u64::try_from(HEARTBEAT.as_millis()).unwrap_or(u64::MAX);
        self.dropped.load(Relaxed) != self.reported_dropped
            || milliseconds_now() >= self.status.at + heartbeat
    }

    async fn report(
        &mut self,
        connection: State,
        reason: Option<String>,
    ) -> Result<(), StoreError> {
        let dropped = self.dropped.load(Relaxed);
        // Two reports of the same millisecond must not have the same time: the later one is newer.
        let at = milliseconds_now().max(self.status.at + 1);
        self.status = LiveStatus { at, connection, reason, dropped, ..self.status.clone() };
        self.reported_dropped = dropped;
        self.source
            .streams
            .publisher
            .publish_event(self.source.video, None, Event::Live(self.status.clone()))
            .await
    }
}

/// Hours, minutes and seconds, UTC.
fn clock(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.get(11..19).map_or(text.clone(), |clock| format!("{clock} UTC"))
}
