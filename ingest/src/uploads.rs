use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt;
use moliceiro_nats::messages::{
    Event, FrameSelection, LiveStatus, Offset, Started, Upload, VideoEntry, VideoEvent, VideoState,
    from_cbor, from_json, shown_uri, to_json,
};
use moliceiro_nats::objects;
use moliceiro_nats::publish::StoreError;
use moliceiro_nats::{Streams, VideoId, subjects};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;
use url::Url;

use crate::allow::{Allowed, Refused};
use crate::feed::{Fed, Published, end_unread, feed};
use crate::fetch::{self, FetchError, Limits, fetch};
use crate::live;
use crate::report;
use crate::settings::IngestService;
use crate::spool::spool;
use moliceiro_decode::live::LiveOrigin;
use moliceiro_decode::{self as decode, DecodeSettings, Decoding};

const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
/// How long a pull waits for an upload. At the end the last pull is waited for, so that no upload
/// is handed to nobody.
const PULL_EXPIRY: Duration = Duration::from_secs(1);
/// How often is looked whether somebody has cancelled a video that is in work.
const CANCEL_CHECK: Duration = Duration::from_millis(500);

/// What all videos are ingested with.
#[derive(Clone)]
pub(crate) struct Means {
    pub(crate) streams: Streams,
    pub(crate) allowed: Arc<Allowed>,
}

/// One video being ingested.
struct Job {
    means: Means,
    service: Arc<IngestService>,
    hand_back: CancellationToken,
    message: Message,
}

/// Takes uploads, each as soon as one of the places is free, until `shutdown`; then hands back what
/// it has.
pub(crate) async fn run(means: &Means, service: &IngestService, shutdown: &CancellationToken) {
    let service = Arc::new(service.clone());
    let places = Arc::new(Semaphore::new(service.ingest.videos));
    let jobs = TaskTracker::new();
    // Told only when nothing is pulled here any more: what is handed back is for others.
    let hand_back = CancellationToken::new();
    while let Some(Ok(place)) = shutdown.run_until_cancelled(places.clone().acquire_owned()).await {
        let Some(message) = next_upload(&means.streams).await else { continue };
        let job = Job {
            means: means.clone(),
            service: service.clone(),
            hand_back: hand_back.clone(),
            message,
        };
        jobs.spawn(async move {
            job.run().await;
            drop(place);
        });
    }
    hand_back.cancel();
    jobs.close();
    jobs.wait().await;
}

async fn next_upload(streams: &Streams) -> Option<Message> {
    let batch = streams.ingest.batch().max_messages(1).expires(PULL_EXPIRY).messages().await;
    let next = match batch {
        Ok(mut messages) => messages.next().await?,
        Err(error) => Err(error.into()),
    };
    match next {
        Ok(message) => Some(message),
        Err(error) => {
            warn!(%error, "cannot pull uploads; trying again");
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            None
        }
    }
}

/// What becomes of an upload's message.
enum Verdict {
    /// Every frame and the end are stored: nobody needs what it was made from any more.
    Ack(VideoId, Url),
    /// It is no upload.
    Drop,
    /// Nobody wants its video any more.
    Cancelled(VideoId, Url),
    /// This ingest is ending: another goes on, and it costs no attempt.
    HandBack(VideoId, Upload),
    /// It may go better next time.
    Retry(String),
}

/// Why a video is not being decoded.
enum Unopened {
    /// It never will be.
    Never(String),
    /// Somebody else may be able to, or this ingest later.
    NotNow(String),
    /// It has no end of its own.
    Live(LiveOrigin),
}

/// What became of a video that was to be decoded.
enum Decoded {
    /// All that there is of it is published.
    Whole(Fed),
    /// It is to be followed.
    Live(LiveOrigin),
}

impl Job {
    async fn run(self) {
        let _in_hand = report::InHand::new();
        let progress = async {
            let mut ticks = tokio::time::interval(self.service.streams.upload_ack_wait / 3);
            loop {
                ticks.tick().await;
                if let Err(error) = self.message.ack_with(AckKind::Progress).await {
                    warn!(%error, "cannot tell the server that an upload is in work");
                }
            }
        };
        let verdict = tokio::select! {
            verdict = self.ingest() => verdict,
            () = progress => unreachable!("progress is told for ever"),
        };
        let done = match verdict {
            Verdict::Ack(video, uri) => self.finish(&video, &uri).await,
            Verdict::Drop => self.message.ack_with(AckKind::Term).await,
            Verdict::Cancelled(video, uri) => self.forget(&video, &uri).await,
            Verdict::HandBack(video, upload) => self.hand_back(video, upload).await,
            Verdict::Retry(reason) => {
                report::upload_retried(self.video().as_ref(), &reason);
                self.message.ack_with(AckKind::Nak(Some(PAUSE_AFTER_ERROR))).await
            }
        };
        if let Err(error) = done {
            report::upload_not_acknowledged(self.video().as_ref(), &error);
        }
    }

    /// Which video it is of, if it is an upload.
    fn video(&self) -> Option<VideoId> {
        let (sequence, stored_at) = self.stored();
        Upload::parse(&self.message.payload).ok().map(|upload| upload.video(sequence, stored_at))
    }

    async fn ingest(&self) -> Verdict {
        let upload = match Upload::parse(&self.message.payload) {
            Ok(upload) => upload,
            Err(reason) => {
                report::upload_malformed(&reason);
                return Verdict::Drop;
            }
        };
        let (sequence, stored_at) = self.stored();
        let video = upload.video(sequence, stored_at);
        let entry = self.entry(&video).await;
        if entry.as_ref().is_some_and(is_cancelled) {
            return match live::take_over(&self.means.streams, &video, entry.as_ref()).await {
                Ok(_) => Verdict::Cancelled(video, upload.uri),
                Err(reason) => Verdict::Retry(reason),
            };
        }
        if entry.as_ref().is_some_and(|entry| entry.ended.is_some()) {
            report::upload_known(&video);
            return Verdict::Ack(video, upload.uri);
        }
        let refused = match self.means.allowed.check(&upload.uri).await {
            Err(refused) if !self.is_last_delivery() => return Verdict::Retry(refused.to_string()),
            checked => checked,
        };
        let left = match live::take_over(&self.means.streams, &video, entry.as_ref()).await {
            Ok(left) => left,
            Err(reason) => return Verdict::Retry(reason),
        };
        let done = entry.as_ref().map_or(Published::default(), Published::of);
        // A take-over keeps to what was begun, whatever its own settings.
        let begun = match entry {
            Some(entry) if entry.state != VideoState::Queued => Some(entry.started),
            _ => self.begun(&video).await,
        };
        let started = begun.unwrap_or_else(|| upload.started(stored_at, self.service.ingest.every));
        report::decoding(&video, &started, done.below);
        let choice = started.choice();
        let id = subjects::event_message_id(&video, "started");
        if let Err(error) = self
            .means
            .streams
            .publisher
            .publish_event(&video, Some(&id), Event::Started(started.clone()))
            .await
        {
            return Verdict::Retry(error.to_string());
        }
        let fed = tokio::select! {
            fed = self.hand_back.run_until_cancelled(self.decode(&video, refused, choice, done)) => fed,
            () = self.until_cancelled(&video) => return Verdict::Cancelled(video, upload.uri),
        };
        match fed {
            Some(Ok(Decoded::Live(origin))) => {
                self.follow(video, upload, &started, origin, left).await
            }
            Some(Ok(Decoded::Whole(fed))) => {
                report::all_published(&video, &fed);
                Verdict::Ack(video, upload.uri)
            }
            Some(Err(reason)) => Verdict::Retry(reason),
            None => hand_back(video, upload, choice),
        }
    }

    /// Follows a live source to its end, or until it is cancelled, or this ingest is stopped.
    async fn follow(
        &self,
        video: VideoId,
        upload: Upload,
        started: &Started,
        origin: LiveOrigin,
        left: LiveStatus,
    ) -> Verdict {
        let (ingest, choice) = (&self.service.ingest, started.choice());
        let source = live::Source {
            streams: &self.means.streams,
            video: &video,
            started,
            settings: ingest.decoding(choice, 0),
            window: upload.window.map_or(ingest.window, Offset::duration),
            publish_window: ingest.publish_window,
        };
        let stop = self.hand_back.child_token();
        let cancelled = async {
            self.until_cancelled(&video).await;
            stop.cancel();
            std::future::pending::<()>().await;
        };
        let followed = tokio::select! {
            followed = live::follow(&source, origin, left, &stop) => followed,
            () = cancelled => unreachable!("it waits for ever"),
        };
        match followed {
            Ok(Some(fed)) => {
                report::all_published(&video, &fed);
                Verdict::Ack(video, upload.uri)
            }
            Ok(None) if self.hand_back.is_cancelled() => hand_back(video, upload, choice),
            Ok(None) => Verdict::Cancelled(video, upload.uri),
            Err(reason) => Verdict::Retry(reason),
        }
    }

    /// Stores the frames and the end of the video. An error says why it should be tried again.
    async fn decode(
        &self,
        video: &VideoId,
        uri: Result<Url, Refused>,
        choice: FrameSelection,
        done: Published,
    ) -> Result<Decoded, String> {
        let (streams, ingest) = (&self.means.streams, &self.service.ingest);
        let opened = match uri {
            Ok(uri) => self.open(&uri, ingest.decoding(choice, done.below)).await,
            Err(refused) => Err(Unopened::Never(refused.to_string())),
        };
        let fed = match opened {
            Ok(decoding) => feed(streams, video, decoding, done, ingest.publish_window).await,
            Err(Unopened::Never(problem)) => end_unread(streams, video, done, problem).await,
            Err(Unopened::NotNow(reason)) => return Err(reason),
            Err(Unopened::Live(origin)) => match live::problem(video, choice) {
                Some(problem) => end_unread(streams, video, done, problem).await,
                None => return Ok(Decoded::Live(origin)),
            },
        };
        fed.map(Decoded::Whole).map_err(|error: StoreError| error.to_string())
    }

    async fn open(&self, uri: &Url, settings: DecodeSettings) -> Result<Decoding, Unopened> {
        let ingest = &self.service.ingest;
        if live::is_rtsp(uri) {
            return Err(Unopened::Live(LiveOrigin::Rtsp(uri.clone())));
        }
        if fetch::is_http(uri) {
            let most = self.service.http.upload_max_bytes;
            let (folder, patience) = (ingest.spool.as_deref(), ingest.stall_timeout);
            let limits = Limits { folder, most, patience, first_pause: fetch::FIRST_PAUSE };
            let fetched = fetch(uri, &self.means.allowed, &limits).await;
            return match fetched {
                Ok(file) => Ok(decode::start_file(file, shown_uri(uri), settings)),
                Err(FetchError::Live { at, .. }) => Err(Unopened::Live(LiveOrigin::Mjpeg(at))),
                Err(error) => Err(Unopened::Never(error.to_string())),
            };
        }
        if uri.scheme() != objects::SCHEME {
            return Ok(decode::start(uri, settings));
        }
        match spool(&self.means.streams.objects, uri, ingest.spool.as_deref()).await {
            Ok(file) => Ok(decode::start_file(file, uri.to_string(), settings)),
            Err(error) if error.is_final() => Err(Unopened::Never(error.to_string())),
            Err(error) => Err(Unopened::NotNow(error.to_string())),
        }
    }

    /// Before the last one, an upload that may not be read here is left to others, who may read it.
    fn is_last_delivery(&self) -> bool {
        let allowed = self.means.streams.ingest.cached_info().config.max_deliver;
        self.message.info().is_ok_and(|info| allowed > 0 && info.delivered >= allowed)
    }

    /// Acknowledges the upload, and only then removes the bytes that were uploaded for it.
    async fn finish(&self, video: &VideoId, uri: &Url) -> Result<(), async_nats::Error> {
        self.message.double_ack().await?;
        if uri.scheme() == objects::SCHEME
            && let Err(error) = self.means.streams.objects.remove_of(uri, video.as_str()).await
        {
            warn!(%video, %error, "an uploaded video's bytes stay until streams.keep is over");
        }
        Ok(())
    }

    /// Where and when the upload was stored: both are the same for each of its deliveries.
    fn stored(&self) -> (u64, SystemTime) {
        match self.message.info() {
            Ok(info) => (info.stream_sequence, info.published.into()),
            Err(error) => {
                warn!(%error, "the upload's message says nothing of where it was stored");
                (0, SystemTime::now())
            }
        }
    }

    /// What is known of the video so far. If that cannot be had, the video is decoded from its
    /// start, which is safe.
    async fn entry(&self, video: &VideoId) -> Option<VideoEntry> {
        let bytes = match self.means.streams.videos.get(video.as_str()).await {
            Ok(bytes) => bytes?,
            Err(error) => {
                warn!(%video, %error, "cannot look up the video");
                return None;
            }
        };
        from_json(&bytes)
            .inspect_err(|error| warn!(%video, %error, "the video's entry cannot be read"))
            .ok()
    }

    async fn until_cancelled(&self, video: &VideoId) {
        loop {
            tokio::time::sleep(CANCEL_CHECK).await;
            if self.entry(video).await.as_ref().is_some_and(is_cancelled) {
                return;
            }
        }
    }

    /// How the video was begun, if no aggregator has seen that yet.
    async fn begun(&self, video: &VideoId) -> Option<Started> {
        let mut from = 1;
        loop {
            let message = self
                .means
                .streams
                .results
                .get_first_raw_message_by_subject(subjects::results(video), from)
                .await
                .ok()?;
            match from_cbor::<VideoEvent>(&message.payload).ok()?.event {
                Event::Started(started) => return Some(started),
                Event::Queued(_) => from = message.sequence + 1,
                _ => return None,
            }
        }
    }

    /// Takes a cancelled video out of the queues. The aggregator removed its frames too, but more
    /// may have come since.
    async fn forget(&self, video: &VideoId, uri: &Url) -> Result<(), async_nats::Error> {
        report::upload_cancelled(video);
        if let Err(error) = self.means.streams.frames.purge().filter(subjects::frames(video)).await
        {
            warn!(%video, %error, "cannot remove the frames of a cancelled video");
        }
        self.finish(video, uri).await
    }

    /// Queues the upload anew, as the same video, before this delivery of it is acknowledged.
    async fn hand_back(&self, video: VideoId, mut upload: Upload) -> Result<(), async_nats::Error> {
        report::upload_handed_back(&video);
        let (sequence, _) = self.stored();
        let id = format!("{video}/handed-back/{sequence}");
        upload.id = Some(video);
        self.means
            .streams
            .publisher
            .publish(subjects::UPLOAD_SUBJECT, &id, to_json(&upload).into())
            .await?;
        self.message.double_ack().await
    }
}

/// Leaves the video to another ingest, which looks at the same frames.
fn hand_back(video: VideoId, upload: Upload, choice: FrameSelection) -> Verdict {
    let every = choice.fps.is_none().then_some(choice.every);
    Verdict::HandBack(video, Upload { every, ..upload })
}

fn is_cancelled(entry: &VideoEntry) -> bool {
    entry.state == VideoState::Cancelled
}
