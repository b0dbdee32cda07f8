use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSink;
use gstreamer_video::VideoOrientationMethod;
use moliceiro_messages::Size;
use tracing::{debug, warn};

use super::elements::{self, accept_strides, watch_elements};
use super::error::{self, DecodeError};
use super::file::Kind;
use super::geometry::Orientation;
use super::watch::Watch;

/// Decoded frames that wait in the pipeline. Each may be tens of megabytes.
const QUEUED_FRAMES: u32 = 3;
/// How long a demuxer may look as if it had given up.
const PLUGGING: Duration = Duration::from_secs(1);
const END_TIMEOUT: gst::ClockTime = gst::ClockTime::from_seconds(2);

/// A pipeline that stops when it is dropped, whatever the reason.
pub(super) struct Running(gst::Pipeline);

impl Running {
    pub(super) fn new(pipeline: gst::Pipeline) -> Self {
        Self(pipeline)
    }

    pub(super) fn play(&self) -> Result<(), gst::glib::BoolError> {
        self.0
            .set_state(gst::State::Playing)
            .map(drop)
            .map_err(|_| gst::glib::bool_error!("the pipeline does not start"))
    }

    /// The next message of one of these types that is there already.
    pub(super) fn pop(&self, types: &[gst::MessageType]) -> Option<gst::Message> {
        self.0.bus()?.pop_filtered(types)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.set_state(gst::State::Null).is_err() {
            warn!("a pipeline does not stop");
        }
    }
}

/// What comes next out of a video.
pub(super) enum Next {
    Frame(gst::Sample),
    /// Frames from here on are stored like this.
    Orientation(Orientation),
    /// Nothing yet.
    Nothing,
    /// No more frames.
    End,
}

/// A video's file, demuxer and decoder, and a short queue of its frames.
pub(super) struct Source {
    name: String,
    running: Running,
    sink: AppSink,
    watch: Watch,
    missing: Option<String>,
    failure: Option<DecodeError>,
    ended: bool,
    given_up: Option<Instant>,
}

impl Source {
    /// Starts decoding. `name` is what errors call the video.
    pub(super) fn open(uri: &str, kind: Kind, name: &str) -> Result<Self, DecodeError> {
        let failed = |reason: String| DecodeError::Failed { video: name.to_owned(), reason };
        let raw = gst::Caps::new_empty_simple("video/x-raw");
        let sink = AppSink::builder()
            .sync(false)
            .qos(false)
            .enable_last_sample(false)
            .max_buffers(QUEUED_FRAMES)
            .caps(&raw)
            .build();
        accept_strides(&sink);
        let pipeline =
            elements::build(uri, kind, &sink).map_err(|error| failed(error.to_string()))?;
        let watch = Watch::default();
        watch_elements(&pipeline, &watch);
        if let Some(bus) = pipeline.bus() {
            bus.set_sync_handler(|_, message| {
                if is_of_interest(message) {
                    gst::BusSyncReply::Pass
                } else {
                    gst::BusSyncReply::Drop
                }
            });
        }
        let source = Self {
            name: name.to_owned(),
            running: Running::new(pipeline),
            sink,
            watch,
            missing: None,
            failure: None,
            ended: false,
            given_up: None,
        };
        if let Err(error) = source.running.play() {
            // The reason is on the bus.
            let mut source = source;
            source.read_bus();
            return Err(source.failure.take().unwrap_or_else(|| failed(error.to_string())));
        }
        Ok(source)
    }

    /// Waits for `patience` at most.
    pub(super) fn next(&mut self, patience: gst::ClockTime) -> Next {
        let Some(object) = self.sink.try_pull_object(patience) else {
            self.read_bus();
            self.look_after_demuxer();
            return if self.sink.is_eos() || self.failure.as_ref().is_some_and(is_final) {
                Next::End
            } else {
                Next::Nothing
            };
        };
        let event = match object.downcast::<gst::Sample>() {
            Ok(sample) => return Next::Frame(sample),
            Err(object) => object.downcast::<gst::Event>(),
        };
        match event.as_ref().map(|event| event.view()) {
            Ok(gst::EventView::StreamStart(_)) => Next::Orientation(Orientation::default()),
            Ok(gst::EventView::Tag(tags)) => match VideoOrientationMethod::from_tag(tags.tag()) {
                Some(method) => Next::Orientation(Orientation::from_method(method)),
                None => Next::Nothing,
            },
            _ => Next::Nothing,
        }
    }

    /// Whether there was an error that may end the video. Frames that were decoded before may still
    /// come.
    pub(super) fn is_failing(&self) -> bool {
        self.failure.is_some() || self.missing.is_some()
    }

    /// The error that it ended with, if any. `empty` says that there was no frame.
    pub(super) fn into_failure(mut self, empty: bool) -> Option<DecodeError> {
        self.finish();
        let missing = self
            .missing
            .take()
            .filter(|_| empty)
            .map(|what| DecodeError::MissingPlugin { video: self.name.clone(), what });
        missing.or(self.failure.take())
    }

    /// After the last frame, waits for the end of the other streams, and for errors that belong to
    /// it.
    fn finish(&mut self) {
        let Some(bus) = self.running.0.bus() else { return };
        while self.sink.is_eos() && !self.ended && self.failure.is_none() {
            let reached = self.watch.end();
            match bus.timed_pop(END_TIMEOUT) {
                Some(message) => self.read(&message),
                None if self.watch.end() == reached => return,
                None => {}
            }
        }
    }

    /// Length of the whole as the container has it, in nanoseconds.
    pub(super) fn announced_duration(&self) -> Option<u64> {
        self.running.0.query_duration::<gst::ClockTime>().map(gst::ClockTime::nseconds)
    }

    /// What passed through the demuxer and the decoder.
    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }

    fn look_after_demuxer(&mut self) {
        if !self.watch.has_given_up() {
            self.given_up = None;
        } else if self.given_up.get_or_insert_with(Instant::now).elapsed() > PLUGGING {
            let reason = "no streams are found in it".to_owned();
            self.failure.get_or_insert(DecodeError::Damaged { video: self.name.clone(), reason });
        }
    }

    fn read_bus(&mut self) {
        let Some(bus) = self.running.0.bus() else { return };
        while let Some(message) = bus.pop() {
            self.read(&message);
        }
    }

    fn read(&mut self, message: &gst::Message) {
        let video = || self.name.clone();
        let failure = match message.view() {
            gst::MessageView::Error(message) => {
                debug!(video = self.name, error = %message.error(), details = message.debug().as_deref(), "GStreamer reports an error");
                match self.watch.too_large() {
                    Some(Size { width, height }) => {
                        DecodeError::TooLarge { video: video(), width, height }
                    }
                    None => error::from_message(&self.name, message),
                }
            }
            gst::MessageView::StreamCollection(message)
                if !has_video(&message.stream_collection()) =>
            {
                DecodeError::NoVideo { video: video() }
            }
            gst::MessageView::Element(message) => match message.structure().and_then(playlist) {
                Some(format) => DecodeError::Playlist { video: video(), format },
                None => {
                    self.missing =
                        self.missing.take().or(message.structure().and_then(missing_plugin));
                    return;
                }
            },
            gst::MessageView::Eos(_) => {
                self.ended = true;
                return;
            }
            _ => return,
        };
        self.failure.get_or_insert(failure);
    }
}

/// Whether no frame can come after this error.
fn is_final(error: &DecodeError) -> bool {
    matches!(
        error,
        DecodeError::NoVideo { .. }
            | DecodeError::Playlist { .. }
            | DecodeError::UnknownFormat { .. }
            | DecodeError::TooLarge { .. }
    )
}

fn has_video(streams: &gst::StreamCollection) -> bool {
    streams.iter().any(|stream| stream.stream_type().contains(gst::StreamType::VIDEO))
}

/// The format for which a plugin is missing.
fn missing_format(plugin: &gst::StructureRef) -> Option<String> {
    plugin
        .get::<gst::Caps>("detail")
        .ok()
        .and_then(|caps| Some(caps.structure(0)?.name().to_string()))
}

/// The format, if it is one of those whose demuxers are not plugged because they fetch.
fn playlist(plugin: &gst::StructureRef) -> Option<String> {
    const PLAYLISTS: [&str; 4] = [
        "application/x-hls",
        "application/dash+xml",
        "application/vnd.ms-sstr+xml",
        "application/sdp",
    ];
    missing_format(plugin).filter(|format| PLAYLISTS.contains(&format.as_str()))
}

/// What a missing plugin would be, unless it is only for sound or text.
fn missing_plugin(plugin: &gst::StructureRef) -> Option<String> {
    let format = missing_format(plugin);
    let needless = |format: String| {
        ["audio/", "text/", "subpicture/", "closedcaption/"]
            .iter()
            .any(|kind| format.starts_with(kind))
    };
    if format.is_some_and(needless) { None } else { plugin.get::<String>("name").ok() }
}

/// The bus has no bound: only what is read from it may go there.
fn is_of_interest(message: &gst::MessageRef) -> bool {
    match message.view() {
        gst::MessageView::Error(_)
        | gst::MessageView::Eos(_)
        | gst::MessageView::StreamCollection(_) => true,
        gst::MessageView::Element(message) => {
            message.structure().is_some_and(|structure| structure.has_name("missing-plugin"))
        }
        gst::MessageView::Warning(message) => {
            debug!(warning = %message.error(), details = message.debug().as_deref(), "GStreamer warns");
            false
        }
        _ => false,
    }
}
