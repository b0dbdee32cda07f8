use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSink;
use gstreamer_video::{VideoMeta, VideoOrientationMethod};
use moliceiro_nats::messages::Size;
use tracing::{debug, warn};

use super::error::{self, DecodeError};
use super::geometry::Orientation;
use super::spans::Spans;

/// Every video needs these. The packages are Debian's.
const ELEMENTS: [(&str, &str); 6] = [
    ("filesrc", "libgstreamer1.0-0"),
    ("uridecodebin3", "gstreamer1.0-plugins-base"),
    ("decodebin3", "gstreamer1.0-plugins-base"),
    ("appsrc", "gstreamer1.0-plugins-base"),
    ("appsink", "gstreamer1.0-plugins-base"),
    ("jpegenc", "gstreamer1.0-plugins-good"),
];
/// Decoded frames that wait in the pipeline. Each may be tens of megabytes.
const QUEUED_FRAMES: u32 = 3;
/// An 8192 × 8192 frame takes 100 MB, and a decoder keeps up to some twenty of them.
const MAX_PIXELS: u64 = 8192 * 8192;
const MAX_LENGTH: u32 = 32_768;
const END_TIMEOUT: gst::ClockTime = gst::ClockTime::from_seconds(2);

pub(super) fn init() -> Result<(), DecodeError> {
    gst::init().map_err(|error| DecodeError::NoGStreamer { reason: error.to_string() })?;
    let missing = ELEMENTS.into_iter().find(|(name, _)| gst::ElementFactory::find(name).is_none());
    if let Some((element, package)) = missing {
        return Err(DecodeError::MissingElement { element, package });
    }
    // Only the parser reads a JPEG's EXIF orientation, and in GStreamer 1.22 nothing plugs it by itself.
    if let Some(parser) = gst::ElementFactory::find("jpegparse") {
        parser.set_rank(gst::Rank::PRIMARY + 1);
    }
    Ok(())
}

pub(super) fn element(name: &str) -> gst::element_factory::ElementBuilder<'_> {
    gst::ElementFactory::make(name)
}

/// A pipeline that stops when it is dropped, whatever the reason.
pub(super) struct Running(gst::Pipeline);

impl Running {
    pub(super) fn new(pipeline: gst::Pipeline) -> Self {
        Self(pipeline)
    }

    pub(super) fn play(&self) -> Result<(), gst::glib::BoolError> {
        self.0.set_state(gst::State::Playing).map(drop).map_err(|_| gst::glib::bool_error!("the pipeline does not start"))
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
    spans: Spans,
    too_large: Arc<Mutex<Option<Size>>>,
    missing: Option<String>,
    failure: Option<DecodeError>,
    ended: bool,
}

impl Source {
    /// Starts decoding. `name` is what errors call the video.
    pub(super) fn open(uri: &str, name: &str) -> Result<Self, DecodeError> {
        let failed = |error: gst::glib::BoolError| DecodeError::Failed { video: name.to_owned(), reason: error.to_string() };
        let raw = gst::Caps::new_empty_simple("video/x-raw");
        let decoder = element("uridecodebin3").property("uri", uri).property("caps", &raw).build().map_err(failed)?;
        let sink = AppSink::builder().sync(false).qos(false).enable_last_sample(false).max_buffers(QUEUED_FRAMES).caps(&raw).build();
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([&decoder, sink.upcast_ref()]).map_err(failed)?;
        select_first_video(&decoder);
        link_video(&decoder, &sink);
        accept_strides(&sink);
        let (spans, too_large) = (Spans::default(), Arc::new(Mutex::new(None)));
        watch_elements(&pipeline, &spans, &too_large);
        if let Some(bus) = pipeline.bus() {
            bus.set_sync_handler(|_, message| if is_of_interest(message) { gst::BusSyncReply::Pass } else { gst::BusSyncReply::Drop });
        }
        let source = Self { name: name.to_owned(), running: Running::new(pipeline), sink, spans, too_large, missing: None, failure: None, ended: false };
        if let Err(error) = source.running.play() {
            // The reason is on the bus.
            let mut source = source;
            source.read_bus();
            return Err(source.failure.take().unwrap_or_else(|| failed(error)));
        }
        Ok(source)
    }

    /// Waits for `patience` at most.
    pub(super) fn next(&mut self, patience: gst::ClockTime) -> Next {
        let Some(object) = self.sink.try_pull_object(patience) else {
            self.read_bus();
            return if self.sink.is_eos() || self.failure.as_ref().is_some_and(is_final) { Next::End } else { Next::Nothing };
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

    /// Whether there was an error that may end the video. Frames that were decoded before may still come.
    pub(super) fn is_failing(&self) -> bool {
        self.failure.is_some() || self.missing.is_some()
    }

    /// The error that it ended with, if any. `empty` says that there was no frame.
    pub(super) fn into_failure(mut self, empty: bool) -> Option<DecodeError> {
        // The end reaches the sink before it reaches the bus, and errors that belong to it may be on their way.
        if self.sink.is_eos()
            && !self.ended
            && self.failure.is_none()
            && let Some(bus) = self.running.0.bus()
            && let Some(message) = bus.timed_pop_filtered(END_TIMEOUT, &[gst::MessageType::Eos, gst::MessageType::Error])
        {
            self.read(&message);
            self.read_bus();
        }
        let missing = self.missing.take().filter(|_| empty).map(|what| DecodeError::MissingPlugin { video: self.name.clone(), what });
        missing.or(self.failure.take())
    }

    /// Length of the whole as the container has it, in nanoseconds.
    pub(super) fn announced_duration(&self) -> Option<u64> {
        self.running.0.query_duration::<gst::ClockTime>().map(gst::ClockTime::nseconds)
    }

    pub(super) fn spans(&self) -> &Spans {
        &self.spans
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
                let too_large = *self.too_large.lock().unwrap_or_else(PoisonError::into_inner);
                match too_large {
                    Some(Size { width, height }) => DecodeError::TooLarge { video: video(), width, height },
                    None => error::from_message(&self.name, message),
                }
            }
            gst::MessageView::StreamCollection(message) if !has_video(&message.stream_collection()) => DecodeError::NoVideo { video: video() },
            gst::MessageView::Element(message) => {
                self.missing = self.missing.take().or(message.structure().and_then(missing_plugin));
                return;
            }
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
    matches!(error, DecodeError::NoVideo { .. } | DecodeError::UnknownFormat { .. } | DecodeError::TooLarge { .. })
}

fn has_video(streams: &gst::StreamCollection) -> bool {
    streams.iter().any(|stream| stream.stream_type().contains(gst::StreamType::VIDEO))
}

/// What a missing plugin would be, unless it is only for sound or text.
fn missing_plugin(plugin: &gst::StructureRef) -> Option<String> {
    let format = plugin.get::<gst::Caps>("detail").ok().and_then(|caps| Some(caps.structure(0)?.name().to_string()));
    let needless = |format: String| ["audio/", "text/", "subpicture/", "closedcaption/"].iter().any(|kind| format.starts_with(kind));
    if format.is_some_and(needless) { None } else { plugin.get::<String>("name").ok() }
}

/// The bus has no bound: only what is read from it may go there.
fn is_of_interest(message: &gst::MessageRef) -> bool {
    match message.view() {
        gst::MessageView::Error(_) | gst::MessageView::Eos(_) | gst::MessageView::StreamCollection(_) => true,
        gst::MessageView::Element(message) => message.structure().is_some_and(|structure| structure.has_name("missing-plugin")),
        gst::MessageView::Warning(message) => {
            debug!(warning = %message.error(), details = message.debug().as_deref(), "GStreamer warns");
            false
        }
        _ => false,
    }
}

/// Lets the decoder work on the first video stream, and on nothing else.
fn select_first_video(decoder: &gst::Element) {
    decoder.connect("select-stream", false, |arguments| {
        let streams = arguments.get(1)?.get::<gst::StreamCollection>().ok()?;
        let stream = arguments.get(2)?.get::<gst::Stream>().ok()?;
        let first = streams.iter().find(|stream| stream.stream_type().contains(gst::StreamType::VIDEO));
        Some(i32::from(first.is_some_and(|first| first == stream)).to_value())
    });
}

fn link_video(decoder: &gst::Element, sink: &AppSink) {
    let sink = sink.downgrade();
    decoder.connect_pad_added(move |_, pad| {
        let Some(input) = sink.upgrade().and_then(|sink| sink.static_pad("sink")) else { return };
        if let Some(previous) = input.peer() {
            let _ = previous.unlink(&input);
        }
        if let Err(error) = pad.link(&input) {
            debug!(%error, pad = %pad.name(), "a stream is not linked");
        }
    });
}

/// Tells decoders that they may hand over frames with padding, so that they needn't copy each one.
fn accept_strides(sink: &AppSink) {
    let Some(pad) = sink.static_pad("sink") else { return };
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
        let Some(query) = info.query_mut() else { return gst::PadProbeReturn::Ok };
        if let gst::QueryViewMut::Allocation(allocation) = query.view_mut() {
            allocation.add_allocation_meta::<VideoMeta>(None);
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
}

/// Follows demuxers, and keeps frames of unreasonable size from decoders.
fn watch_elements(pipeline: &gst::Pipeline, spans: &Spans, too_large: &Arc<Mutex<Option<Size>>>) {
    let (spans, too_large) = (spans.clone(), too_large.clone());
    pipeline.connect_deep_element_added(move |_, _, element| {
        let Some(class) = element.factory().and_then(|factory| factory.metadata("klass").map(str::to_owned)) else { return };
        if class.contains("Demux") {
            spans.watch(element);
        }
        if class.contains("Decoder") {
            element.sink_pads().iter().for_each(|pad| limit_size(pad, &too_large));
        }
    });
}

fn limit_size(pad: &gst::Pad, too_large: &Arc<Mutex<Option<Size>>>) {
    let too_large = too_large.clone();
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view()) else { return gst::PadProbeReturn::Ok };
        let Some(structure) = caps.caps().structure(0) else { return gst::PadProbeReturn::Ok };
        let length = |name| structure.get::<i32>(name).map_or(0, i32::unsigned_abs);
        let size = Size { width: length("width"), height: length("height") };
        if u64::from(size.width) * u64::from(size.height) <= MAX_PIXELS && size.width.max(size.height) <= MAX_LENGTH {
            return gst::PadProbeReturn::Ok;
        }
        *too_large.lock().unwrap_or_else(PoisonError::into_inner) = Some(size);
        // Without caps, the decoder refuses what follows, and that error ends the video.
        gst::PadProbeReturn::Drop
    });
}
