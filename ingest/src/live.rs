//! A live source: each of its windows becomes a video of its own, and a connection that is lost is
//! made again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::jetstream::stream::LastRawMessageErrorKind;
use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use moliceiro_nats::messages::{
    Abandoned, Connection as State, Ended, Event, FrameSelection, LiveStatus, Started, VideoEntry,
    VideoEvent, from_cbor, milliseconds_now,
};
use moliceiro_nats::publish::StoreError;
use moliceiro_nats::{Streams, VideoId, subjects};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::feed::{Fed, Published, feed};
use crate::report;
use moliceiro_decode::DecodeSettings;
use moliceiro_decode::live::{Disconnected, LiveOrigin, Window, connect};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Windows whose frames are not all published. While there are so many, frames are dropped.
const MOST_OPEN: usize = 3;
/// How often is said how many frames were dropped.
const SAY_INTERVAL: Duration = Duration::from_secs(5);
/// It says how it stands at least so often while it is connected.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);
/// How long the windows that are open may take to be published when the source is stopped.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// A source, and what it is followed with.
pub(crate) struct Source<'a> {
    pub(crate) streams: &'a Streams,
    /// The source, as a video.
    pub(crate) video: &'a VideoId,
    /// How it was begun.
    pub(crate) started: &'a Started,
    pub(crate) settings: DecodeSettings,
    /// Length of a window.
    pub(crate) window: Duration,
    /// Frames of one window that are on their way to the server.
    pub(crate) publish_window: usize,
}

/// Whether a URI names a live source by its scheme alone.
pub(crate) fn is_rtsp(uri: &Url) -> bool {
    ["rtsp", "rtsps"].contains(&uri.scheme())
}

/// Why a live source cannot be followed as it is asked for, if it cannot.
pub(crate) fn problem(video: &VideoId, choice: FrameSelection) -> Option<String> {
    if choice.start.is_some() || choice.end.is_some() {
        return Some("a live source has no times for start and end: leave them out".into());
    }
    video
        .window(0)
        .is_none()
        .then(|| format!("the id {video} is too long for a live source, whose windows have longer ones: 55 letters are the most"))
}

/// Ends the windows that an ingest has left that was killed, and tells how the source stood then.
pub(crate) async fn take_over(
    streams: &Streams,
    video: &VideoId,
    entry: Option<&VideoEntry>,
) -> Result<LiveStatus, String> {
    let said =
        match streams.results.get_last_raw_message_by_subject(&subjects::results(video)).await {
            Ok(message) => from_cbor::<VideoEvent>(&message.payload).ok().map(|said| said.event),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => None,
            Err(error) => return Err(error.to_string()),
        };
    let mut status = match said {
        Some(Event::Live(status)) => status,
        _ => entry.and_then(|entry| entry.live.clone()).unwrap_or_default(),
    };
    let abandoned =
        abandon(streams, &mut status, "the ingest that had it ended unexpectedly").await;
    abandoned.map(|()| status).map_err(|error| error.to_string())
}

/// Ends the windows that are open with what is published of them.
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

/// Follows a source until it ends, or until `stop`. The windows are ended then. Gives the end of
/// the source, if it has ended.
pub(crate) async fn follow(
    source: &Source<'_>,
    origin: LiveOrigin,
    status: LiveStatus,
    stop: &CancellationToken,
) -> Result<Option<Fed>, String> {
    let dropped = Arc::new(AtomicU64::new(status.dropped));
    let mut following = Following {
        source,
        origin,
        dropped,
        status,
        open: FuturesUnordered::new(),
        said_dropped: 0,
    };
    let end = following.run(stop).await.map_err(|error| error.to_string())?;
    let Some(problem) = end else { return Ok(None) };
    let ended = Ended {
        frames: 0,
        decoded: following.status.frames,
        duration: None,
        problem: problem.clone(),
    };
    let id = subjects::event_message_id(source.video, "ended");
    let stored =
        source.streams.publisher.publish_event(source.video, Some(&id), Event::Ended(ended)).await;
    stored.map_err(|error| error.to_string())?;
    Ok(Some(Fed { frames: following.status.frames, problem }))
}

type Feeding<'a> = BoxFuture<'a, (VideoId, Result<Fed, StoreError>)>;

struct Following<'a> {
    source: &'a Source<'a>,
    origin: LiveOrigin,
    dropped: Arc<AtomicU64>,
    said_dropped: u64,
    status: LiveStatus,
    /// Windows on their way into the queue.
    open: FuturesUnordered<Feeding<'a>>,
}

impl<'a> Following<'a> {
    /// Gives what is wrong with the source, if it has ended and not only been stopped.
    async fn run(
        &mut self,
        stop: &CancellationToken,
    ) -> Result<Option<Option<String>>, StoreError> {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(FIRST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times();
        let mut pause = pauses.build();
        loop {
            let windows = self.status.windows + self.open.len() as u64;
            let end = self.connection(stop).await?;
            let reason = match end {
                Disconnected::Stopped => {
                    self.finish().await?;
                    self.say(State::Closed, None).await?;
                    return Ok(None);
                }
                // An address that is wrong from the start stays wrong.
                Disconnected::Refused(_) if windows == 0 => {
                    self.say(State::Closed, None).await?;
                    return Ok(Some(Some(end.to_string())));
                }
                Disconnected::Ended | Disconnected::Unusable(_) => {
                    self.finish().await?;
                    self.say(State::Closed, None).await?;
                    return Ok(Some((end != Disconnected::Ended).then(|| end.to_string())));
                }
                Disconnected::Refused(reason) | Disconnected::Lost(reason) => reason,
            };
            if self.status.windows + self.open.len() as u64 > windows {
                pause = pauses.build();
            }
            let next = pause.next().unwrap_or(LONGEST_PAUSE);
            report::live_connection_lost(self.source.video, &reason, next);
            self.say(State::Reconnecting, Some(reason)).await?;
            if self.wait(next, stop).await? {
                self.finish().await?;
                self.say(State::Closed, None).await?;
                return Ok(None);
            }
        }
    }

    /// Waits, and meanwhile publishes what is there. True if it was stopped.
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
                Some((window, fed)) = self.open.next() => self.close(&window, fed?).await?,
            }
        }
    }

    /// Follows one connection to its end.
    async fn connection(&mut self, stop: &CancellationToken) -> Result<Disconnected, StoreError> {
        let Source { settings, window, started, .. } = self.source;
        let connection = connect(
            self.origin.clone(),
            started.uri.clone(),
            settings.clone(),
            *window,
            self.dropped.clone(),
        );
        if self.status.connection != State::Reconnecting {
            self.say(State::Connecting, None).await?;
        }
        let mut ticks = tokio::time::interval(SAY_INTERVAL);
        while !stop.is_cancelled() {
            let room = self.open.len() < MOST_OPEN;
            tokio::select! {
                () = stop.cancelled() => break,
                next = connection.windows.recv(), if room => match next {
                    Ok(window) => self.begin(window).await?,
                    Err(_) => break,
                },
                Some((window, fed)) = self.open.next() => self.close(&window, fed?).await?,
                _ = ticks.tick() => if self.dropped.load(Relaxed) != self.said_dropped || self.is_silent() {
                    self.say(self.status.connection, self.status.reason.clone()).await?;
                },
            }
        }
        connection.windows.close();
        // The thread may have begun a window in the last moment.
        while let Ok(window) = connection.windows.recv().await {
            self.begin(window).await?;
        }
        Ok(connection.outcome().await)
    }

    /// Makes a video of a window.
    async fn begin(&mut self, Window { began, decoding }: Window) -> Result<(), StoreError> {
        let Source { streams, video, started, publish_window, .. } = *self.source;
        let began = began.duration_since(UNIX_EPOCH).unwrap_or_default();
        let began_at = u64::try_from(began.as_millis()).unwrap_or(u64::MAX);
        // That the id is not too long was checked before.
        let Some(window) = video.window(began_at) else { return Ok(()) };
        self.status.open.push(window.clone());
        self.say(State::Connected, None).await?;
        let name = format!("{} (from {})", started.name, clock(UNIX_EPOCH + began));
        let started = Started { name, uploaded_at: began_at, ..started.clone() };
        report::decoding(&window, &started, 0);
        self.open.push(Box::pin(async move {
            let id = subjects::event_message_id(&window, "started");
            let fed = match streams
                .publisher
                .publish_event(&window, Some(&id), Event::Started(started))
                .await
            {
                Ok(()) => {
                    feed(streams, &window, decoding, Published::default(), publish_window).await
                }
                Err(error) => Err(error),
            };
            (window, fed)
        }));
        Ok(())
    }

    async fn close(&mut self, window: &VideoId, fed: Fed) -> Result<(), StoreError> {
        self.status.open.retain(|open| open != window);
        self.status.windows += 1;
        self.status.frames += fed.frames;
        self.say(self.status.connection, self.status.reason.clone()).await
    }

    /// Waits until what is open is published, but not for ever.
    async fn finish(&mut self) -> Result<(), StoreError> {
        let until = tokio::time::Instant::now() + STOP_PATIENCE;
        while let Ok(Some((window, fed))) = tokio::time::timeout_at(until, self.open.next()).await {
            self.close(&window, fed?).await?;
        }
        self.open.clear();
        abandon(
            self.source.streams,
            &mut self.status,
            "there was no room for the rest of its frames when its source was stopped",
        )
        .await
    }

    /// Whoever looks for videos that nobody works on is not to find this one.
    fn is_silent(&self) -> bool {
        milliseconds_now()
            >= self.status.at + u64::try_from(LONGEST_SILENCE.as_millis()).unwrap_or(u64::MAX)
    }

    async fn say(&mut self, connection: State, reason: Option<String>) -> Result<(), StoreError> {
        let dropped = self.dropped.load(Relaxed);
        // Of two that are said in one instant, the later one is to be known as that.
        let at = milliseconds_now().max(self.status.at + 1);
        self.status = LiveStatus { at, connection, reason, dropped, ..self.status.clone() };
        self.said_dropped = dropped;
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
