//! Decodes a source that has no end of its own, and cuts it into windows.
//!
//! GStreamer gives a live source's frames when they come, wanted or not. So nothing here waits for
//! anybody but the source: a frame that nobody takes in time is dropped, and counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSinkCallbacks};
use moliceiro_messages::Size;
use thiserror::Error;
use url::Url;

use super::elements::{self, accept_strides, element, watch_elements};
use super::error::{self, DecodeError, Problem};
use super::geometry::Orientation;
use super::output::{Frames, Output, RawFrame};
use super::pipeline::Running;
use super::run::start_of;
use super::watch::Watch;
use super::{Announced, DecodeEvent, DecodeSettings, Decoded, Decoding, Observer};

/// Decoded frames that wait. Each may be tens of megabytes.
const QUEUED_FRAMES: usize = 8;
/// Pictures that wait to be published: some seconds.
const QUEUED_PICTURES: usize = 64;
/// How often a wait is interrupted to look whether anybody still wants the source.
const POLL: Duration = Duration::from_millis(50);

/// Where a live source is.
#[derive(Clone, Debug)]
pub enum LiveOrigin {
    /// `rtsp://` or `rtsps://`
    Rtsp(Url),
    /// JPEGs, one after the other, in one HTTP answer that does not end
    /// (`multipart/x-mixed-replace`).
    Mjpeg(Url),
}

/// Why a connection to a live source is over.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Disconnected {
    /// The source says that it ends.
    #[error("the source has ended")]
    Ended,
    /// Nobody wants more of it.
    #[error("stopped")]
    Stopped,
    /// There is no such source, or it is not for us.
    #[error("{0}")]
    Refused(String),
    /// It may be there again later.
    #[error("{0}")]
    Lost(String),
    /// It can never be counted.
    #[error(transparent)]
    Unusable(DecodeError),
}

/// A part of a live source, as a video of its own.
#[derive(Debug)]
pub struct Window {
    /// When its first frame came.
    pub began: SystemTime,
    /// Its frames, with indexes from 0.
    pub decoding: Decoding,
}

/// A connection to a live source. Closing `windows` stops it: the window that is open then ends as
/// it is.
#[derive(Debug)]
pub struct Connection {
    /// The windows, each as soon as it has a frame.
    pub windows: async_channel::Receiver<Window>,
    outcome: async_channel::Receiver<Disconnected>,
}

impl Connection {
    /// How it ended. To be asked after the last window.
    pub async fn outcome(self) -> Disconnected {
        self.windows.close();
        self.outcome.recv().await.unwrap_or(Disconnected::Unusable(DecodeError::Panicked))
    }
}

/// Connects on a new thread. `name` is what errors call the source; `dropped` counts frames that
/// nobody took in time.
pub fn connect(
    origin: LiveOrigin,
    name: String,
    settings: DecodeSettings,
    window: Duration,
    dropped: Arc<AtomicU64>,
) -> Connection {
    // One that waits to be taken is enough: while it does, no other is begun.
    let (windows, receiver) = async_channel::bounded(1);
    let (done, outcome) = async_channel::bounded(1);
    let settings = DecodeSettings { queue: QUEUED_PICTURES, skip_before: 0, ..settings };
    let source = LiveSource { name, settings, window, windows, dropped };
    let thread = std::thread::Builder::new().name("live".into()).spawn(move || {
        // Nobody asks about a connection that is given up.
        let _ = done.try_send(source.run(&origin));
    });
    if let Err(error) = thread {
        tracing::error!(%error, "cannot start a thread for a live source");
    }
    Connection { windows: receiver, outcome }
}

struct LiveSource {
    name: String,
    settings: DecodeSettings,
    window: Duration,
    windows: async_channel::Sender<Window>,
    dropped: Arc<AtomicU64>,
}

impl LiveSource {
    fn run(&self, origin: &LiveOrigin) -> Disconnected {
        let stream = match Stream::open(origin, self) {
            Ok(stream) => stream,
            Err(error) => return Disconnected::Unusable(error),
        };
        let (mut open, mut last) = (None::<OpenWindow>, Instant::now());
        let end = loop {
            if self.windows.is_closed() {
                break Disconnected::Stopped;
            }
            match stream.samples.recv_timeout(POLL) {
                Ok(sample) => {
                    last = Instant::now();
                    if open.as_ref().is_some_and(|window| window.since.elapsed() >= self.window) {
                        open.take().into_iter().for_each(|window| window.end(None));
                    }
                    if let Err(error) = self.take(&sample, &mut open) {
                        break Disconnected::Unusable(error);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(end) = stream.end(&self.name) {
                        break end;
                    }
                    if last.elapsed() > self.settings.stall_timeout {
                        break Disconnected::Lost(format!(
                            "no frame for {:?}",
                            self.settings.stall_timeout
                        ));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    break Disconnected::Lost("GStreamer gave the source up".into());
                }
            }
        };
        if let Some(window) = open {
            window.end(match &end {
                Disconnected::Ended | Disconnected::Stopped => None,
                lost => Some(lost.to_string()),
            });
        }
        end
    }

    /// Puts a frame into the window that is open, or begins one with it.
    fn take(&self, sample: &gst::Sample, open: &mut Option<OpenWindow>) -> Result<(), DecodeError> {
        if open.is_none() {
            *open = self.begin();
        }
        match open {
            Some(window) => {
                let dropped = window
                    .take(sample)
                    .map_err(|reason| DecodeError::Failed { video: self.name.clone(), reason })?;
                if dropped {
                    self.drop_frame();
                }
            }
            None => self.drop_frame(),
        }
        Ok(())
    }

    /// Nothing, as long as an earlier window is not taken.
    fn begin(&self) -> Option<OpenWindow> {
        let (frames, receiver) = async_channel::bounded(self.settings.queue);
        let (done, outcome) = async_channel::bounded(1);
        let announced = Announced::default();
        let decoding = Decoding { frames: receiver, announced: announced.clone(), outcome };
        let window = Window { began: SystemTime::now(), decoding };
        self.windows.try_send(window).ok()?;
        let output = Output::new(self.settings.clone(), announced, frames.clone()).ok()?;
        let dropped = Dropped { all: self.dropped.clone(), before: self.dropped.load(Relaxed) };
        Some(OpenWindow {
            name: self.name.clone(),
            since: Instant::now(),
            first: None,
            dropped,
            output,
            frames,
            done,
        })
    }

    fn drop_frame(&self) {
        self.dropped.fetch_add(1, Relaxed);
        self.settings.observer.report(DecodeEvent::LiveFrameDropped);
    }
}

/// How many frames were dropped in all, and before the window began.
struct Dropped {
    all: Arc<AtomicU64>,
    before: u64,
}

/// A window that takes frames.
struct OpenWindow {
    name: String,
    since: Instant,
    /// Time of its first frame on the source's timeline.
    first: Option<u64>,
    dropped: Dropped,
    output: Output,
    frames: Frames,
    done: async_channel::Sender<Result<Decoded, DecodeError>>,
}

impl OpenWindow {
    /// True if there is no room for the frame. The error is a line of text.
    fn take(&mut self, sample: &gst::Sample) -> Result<bool, String> {
        if self.frames.is_full() {
            return Ok(true);
        }
        let unusable = || "the decoder gave a frame without a format".to_owned();
        let info = sample
            .caps()
            .and_then(|caps| gstreamer_video::VideoInfo::from_caps(caps).ok())
            .ok_or_else(unusable)?;
        let buffer = sample.buffer().ok_or_else(unusable)?;
        let start = start_of(sample, buffer);
        self.first = self.first.or(start);
        let pts = match (start, self.first) {
            (Some(start), Some(first)) => start.saturating_sub(first),
            _ => u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX),
        };
        let length = buffer.duration().map(gst::ClockTime::nseconds);
        let frame =
            RawFrame { buffer, info, orientation: Orientation::default(), pts: Some(pts), length };
        match self.output.take(&frame) {
            Ok(Some(super::output::End::Problem(problem))) => Err(problem.to_string()),
            // Nobody wants this window any more, which is no fault of the source.
            Ok(_) | Err(_) => Ok(false),
        }
    }

    fn end(self, problem: Option<String>) {
        let dropped = self.dropped.all.load(Relaxed) - self.dropped.before;
        let dropped = (dropped > 0)
            .then(|| format!("{dropped} frames were dropped: there was no room for them"));
        let problem = [problem, dropped].into_iter().flatten().reduce(|a, b| format!("{a}; {b}"));
        let outcome =
            self.output.finish(self.name, problem.map(|reason| Problem::Interrupted { reason }));
        // Nobody asks about a window that is given up.
        let _ = self.done.try_send(outcome);
    }
}

/// What GStreamer makes of a live source.
struct Stream {
    samples: Receiver<gst::Sample>,
    running: Running,
    watch: Watch,
    /// The last bytes of an HTTP answer.
    tail: Arc<Mutex<Vec<u8>>>,
}

impl Stream {
    fn open(origin: &LiveOrigin, source: &LiveSource) -> Result<Self, DecodeError> {
        elements::init()?;
        let failed = |error: gst::glib::BoolError| DecodeError::Failed {
            video: source.name.clone(),
            reason: error.to_string(),
        };
        let (sender, samples) = sync_channel(QUEUED_FRAMES);
        let tail = Arc::new(Mutex::new(Vec::new()));
        let sink = sink(sender, source.dropped.clone(), source.settings.observer.clone());
        let pipeline =
            build(origin, source.settings.stall_timeout, &sink, &tail).map_err(failed)?;
        let watch = Watch::default();
        watch_elements(&pipeline, &watch);
        let running = Running::new(pipeline);
        // What is wrong is on the bus.
        let _ = running.play();
        Ok(Self { samples, running, watch, tail })
    }

    /// How the source ended, if it has.
    fn end(&self, name: &str) -> Option<Disconnected> {
        let types = [gst::MessageType::Error, gst::MessageType::Warning, gst::MessageType::Eos];
        while let Some(message) = self.running.pop(&types) {
            match message.view() {
                gst::MessageView::Error(message) => {
                    if let Some(Size { width, height }) = self.watch.too_large() {
                        return Some(Disconnected::Unusable(DecodeError::TooLarge {
                            video: name.to_owned(),
                            width,
                            height,
                        }));
                    }
                    return Some(match error::from_message(name, message) {
                        error @ (DecodeError::UnknownFormat { .. }
                        | DecodeError::MissingPlugin { .. }) => Disconnected::Unusable(error),
                        _ if message.error().matches(gst::ResourceError::NotFound)
                            || message.error().matches(gst::ResourceError::NotAuthorized) =>
                        {
                            Disconnected::Refused(error::describe(&message.error(), None))
                        }
                        _ => Disconnected::Lost(error::describe(&message.error(), None)),
                    });
                }
                // rtspsrc says so before it ends the stream.
                gst::MessageView::Warning(message)
                    if message.error().matches(gst::ResourceError::Read) =>
                {
                    return Some(Disconnected::Lost(error::describe(&message.error(), None)));
                }
                gst::MessageView::Eos(_) => {
                    let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
                    let closed = tail.is_empty() || tail.trim_ascii_end().ends_with(b"--");
                    return Some(if closed {
                        Disconnected::Ended
                    } else {
                        Disconnected::Lost("the server closed the connection".into())
                    });
                }
                _ => {}
            }
        }
        None
    }
}

/// Takes frames as they come, and drops those for which there is no room.
fn sink(samples: SyncSender<gst::Sample>, dropped: Arc<AtomicU64>, observer: Observer) -> AppSink {
    let raw = gst::Caps::new_empty_simple("video/x-raw");
    let take = move |sink: &AppSink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        match samples.try_send(sample) {
            Ok(()) => Ok(gst::FlowSuccess::Ok),
            Err(TrySendError::Full(_)) => {
                dropped.fetch_add(1, Relaxed);
                observer.report(DecodeEvent::LiveFrameDropped);
                Ok(gst::FlowSuccess::Ok)
            }
            Err(TrySendError::Disconnected(_)) => Err(gst::FlowError::Eos),
        }
    };
    let callbacks = AppSinkCallbacks::builder().new_sample(take).build();
    let sink = AppSink::builder()
        .sync(false)
        .qos(false)
        .enable_last_sample(false)
        .caps(&raw)
        .callbacks(callbacks)
        .build();
    accept_strides(&sink);
    sink
}

fn build(
    origin: &LiveOrigin,
    patience: Duration,
    sink: &AppSink,
    tail: &Arc<Mutex<Vec<u8>>>,
) -> Result<gst::Pipeline, gst::glib::BoolError> {
    let raw = gst::Caps::new_empty_simple("video/x-raw");
    let decoder = element("decodebin").property("caps", &raw).build()?;
    let pipeline = gst::Pipeline::new();
    pipeline.add_many([&decoder, sink.upcast_ref()])?;
    let output = sink.upcast_ref::<gst::Element>().downgrade();
    decoder.connect_pad_added(move |_, pad| link_to(pad, &output));
    match origin {
        LiveOrigin::Rtsp(uri) => {
            let source = element("rtspsrc")
                .property("location", uri.as_str())
                .property_from_str("protocols", "tcp");
            let source = source
                .property("tcp-timeout", u64::try_from(patience.as_micros()).unwrap_or(u64::MAX))
                .build()?;
            stay_at(&source, uri);
            // Sound is not asked for.
            source.connect("select-stream", false, |values| {
                let format = values.get(2).and_then(|caps| caps.get::<gst::Caps>().ok());
                let media = format.and_then(|caps| {
                    Some(caps.structure(0)?.get::<String>("media").ok()? == "video")
                });
                Some(media.unwrap_or(true).to_value())
            });
            pipeline.add(&source)?;
            let input = decoder.downgrade();
            source.connect_pad_added(move |_, pad| link_to(pad, &input));
        }
        LiveOrigin::Mjpeg(uri) => {
            let source = element("souphttpsrc")
                .property("is-live", true)
                .property("do-timestamp", true)
                .property("retries", 0);
            let source = source
                .property("automatic-redirect", false)
                .property("timeout", u32::try_from(patience.as_secs().max(1)).unwrap_or(30));
            let source = with_login(source, uri).build()?;
            let demuxer = element("multipartdemux").property("single-stream", true).build()?;
            pipeline.add_many([&source, &demuxer])?;
            source.link(&demuxer)?;
            keep_tail(&source, tail);
            let part = bound_parts(&source);
            let input = decoder.downgrade();
            demuxer.connect_pad_added(move |_, pad| {
                let part = part.clone();
                pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                    part.store(0, Relaxed);
                    gst::PadProbeReturn::Ok
                });
                link_to(pad, &input);
            });
        }
    }
    Ok(pipeline)
}

fn link_to(pad: &gst::Pad, to: &gst::glib::WeakRef<gst::Element>) {
    if !to.upgrade().is_some_and(|to| elements::link(pad, &to)) {
        tracing::warn!(caps = ?pad.current_caps(), "a stream goes nowhere");
    }
}

/// `rtspsrc` follows a redirect by itself, to wherever the server says. It connects, but it is told
/// nothing there: whoever allowed the one address has not allowed the other.
fn stay_at(source: &gst::Element, uri: &Url) {
    let asked = uri.to_string();
    source.connect("before-send", false, move |values| {
        let source = values.first()?.get::<gst::Element>().ok()?;
        let stays =
            source.property::<Option<String>>("location").is_some_and(|location| location == asked);
        if !stays {
            gst::element_error!(
                source,
                gst::ResourceError::NotAuthorized,
                ("the server sends on to another address, which is not followed")
            );
        }
        Some(stays.to_value())
    });
}

/// Ends the source when a part gets longer than any picture: the demuxer keeps a part's bytes until
/// it is complete. Gives the bytes of the part so far.
fn bound_parts(source: &gst::Element) -> Arc<AtomicU64> {
    const LARGEST_PART: u64 = 64 << 20;
    let part = Arc::new(AtomicU64::new(0));
    let (bytes, owner) = (part.clone(), source.downgrade());
    if let Some(pad) = source.static_pad("src") {
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let more = info.buffer().map_or(0, |buffer| buffer.size() as u64);
            let before = bytes.fetch_add(more, Relaxed);
            if before + more <= LARGEST_PART {
                return gst::PadProbeReturn::Ok;
            }
            if let Some(source) = owner.upgrade().filter(|_| before <= LARGEST_PART) {
                gst::element_error!(
                    source,
                    gst::ResourceError::Read,
                    ("a picture of more than {} MiB", LARGEST_PART >> 20)
                );
            }
            gst::PadProbeReturn::Drop
        });
    }
    part
}

/// The address without its user and password, which go into properties of their own.
fn with_login<'a>(
    source: gst::element_factory::ElementBuilder<'a>,
    uri: &Url,
) -> gst::element_factory::ElementBuilder<'a> {
    let decode =
        |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut bare = uri.clone();
    // Both fail only for URIs that have no host.
    let _ = (bare.set_username(""), bare.set_password(None));
    let source = source.property("location", String::from(bare));
    match (uri.username(), uri.password()) {
        ("", None) => source,
        (user, password) => source
            .property("user-id", decode(user))
            .property("user-pw", decode(password.unwrap_or_default())),
    }
}

/// Remembers the last bytes: the close-delimiter (RFC 2046, 5.1.1) is all that tells an end from a
/// broken connection.
fn keep_tail(source: &gst::Element, tail: &Arc<Mutex<Vec<u8>>>) {
    const KEPT: usize = 16;
    let Some(pad) = source.static_pad("src") else { return };
    let tail = tail.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(bytes) = info.buffer().and_then(|buffer| buffer.map_readable().ok()) {
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            tail.extend_from_slice(&bytes[bytes.len().saturating_sub(KEPT)..]);
            let surplus = tail.len().saturating_sub(KEPT);
            tail.drain(..surplus);
        }
        gst::PadProbeReturn::Ok
    });
}
