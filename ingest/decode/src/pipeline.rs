//! The GStreamer pipeline that decodes a file.

use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSink;
use gstreamer_video::VideoOrientationMethod;
use moliceiro_containers::Description;
use moliceiro_messages::Size;
use tracing::{debug, warn};

use crate::autoplug::configure_plugged_elements;
use crate::bus;
use crate::elements::{self, accept_strides, build_error, discard, element, is_video, link};
use crate::error::{Cancelled, DecodeError, Incomplete, PictureError};
use crate::file::LocalFile;
use crate::file_source::FileSource;
use crate::format::{FileFormat, ImageFormat};
use crate::geometry::Orientation;
use crate::packet_source::{self, Packets};
use crate::probes::Probes;
use crate::raw_frame::RawFrame;
use crate::running::RunningPipeline;
use crate::tracks::Tracks;

/// Decoded frames that the pipeline buffers. Each may be tens of megabytes.
const QUEUED_FRAMES: u32 = 3;
/// Compressed data that is buffered for the decoder. A single packet may be larger.
const QUEUED_BYTES: u32 = 4 << 20;
/// How often a wait is interrupted to check for cancellation.
const POLL: gst::ClockTime = gst::ClockTime::from_mseconds(50);
/// How long frames that were decoded before an error may take to arrive.
const GRACE: Duration = Duration::from_secs(1);
/// How long a demuxer may be idle while it is being plugged.
const PLUGGING: Duration = Duration::from_secs(1);
/// How long the other streams may make no progress after the last frame.
const END_TIMEOUT: gst::ClockTime = gst::ClockTime::from_seconds(2);

/// A video's file, demuxer and decoder, and a short queue of its frames.
pub(crate) struct FilePipeline {
    name: String,
    running: RunningPipeline,
    sink: AppSink,
    probes: Probes,
    /// How the frames from here on are stored.
    orientation: Orientation,
    missing_plugin: Option<DecodeError>,
    failure: Option<DecodeError>,
    all_streams_ended: bool,
    demuxer_idle_since: Option<Instant>,
    /// The number of the video track to decode, from 1.
    track: u32,
    tracks: Tracks,
    /// Whether the file is known to have the track, although the demuxer may find it late.
    expects_track: bool,
    not_found: Option<NotFound>,
}

/// The demuxer has not found a track that the file is known to have.
struct NotFound {
    error: DecodeError,
    demuxed_end: Option<u64>,
    since: Instant,
}

/// What follows in a video.
pub(crate) enum Next {
    Frame(RawFrame),
    End,
    /// Frames are missing from here on.
    Stopped(Incomplete),
}

enum Pulled {
    Sample(gst::Sample),
    Orientation(Orientation),
    Nothing,
    End,
}

impl FilePipeline {
    /// Starts decoding the video track with this number, from 1, of a file, without the decoders
    /// whose names are `excluded`. `description` is what the container says of its codec.
    pub(crate) fn open(
        file: &LocalFile,
        track: u32,
        source: FileSource<'_>,
        description: Option<&Description>,
        probes: Probes,
        excluded: &[String],
    ) -> Result<Self, DecodeError> {
        Self::start(&file.name, track, description, probes, |sink, tracks| {
            build(&source.element(file)?, file.format, sink, tracks, excluded)
        })
    }

    /// Starts decoding packets that were read from a file called `name`.
    pub(crate) fn open_packets(
        name: &str,
        caps: gst::Caps,
        packets: impl Packets,
        probes: Probes,
        excluded: &[String],
    ) -> Result<Self, DecodeError> {
        Self::start(name, 1, None, probes, |sink, _| {
            packet_source::build(&caps, packets, sink, excluded)
        })
    }

    fn start(
        name: &str,
        track: u32,
        description: Option<&Description>,
        probes: Probes,
        build: impl FnOnce(&AppSink, &Tracks) -> Result<gst::Pipeline, gst::glib::Error>,
    ) -> Result<Self, DecodeError> {
        let failed = |reason: String| DecodeError::Failed { video: name.to_owned(), reason };
        let raw = elements::raw_video();
        let sink = AppSink::builder()
            .sync(false)
            .qos(false)
            .enable_last_sample(false)
            .max_buffers(QUEUED_FRAMES)
            .caps(&raw)
            .build();
        accept_strides(&sink);
        let tracks = Tracks::new(track);
        let pipeline = build(&sink, &tracks).map_err(|error| failed(error.to_string()))?;
        configure_plugged_elements(&pipeline, &probes, description);
        if let Some(bus) = pipeline.bus() {
            bus::drop_unread_messages(&bus);
        }
        let mut opened = Self {
            name: name.to_owned(),
            running: RunningPipeline::new(pipeline),
            sink,
            probes,
            orientation: Orientation::default(),
            missing_plugin: None,
            failure: None,
            all_streams_ended: false,
            demuxer_idle_since: None,
            track,
            tracks,
            expects_track: false,
            not_found: None,
        };
        if let Err(error) = opened.running.play() {
            opened.read_bus();
            return Err(opened.failure.take().unwrap_or_else(|| failed(error.to_string())));
        }
        Ok(opened)
    }

    /// Waits for the next frame, up to `stall_timeout`.
    pub(crate) fn next_frame(
        &mut self,
        stall_timeout: Duration,
        is_cancelled: impl Fn() -> bool,
    ) -> Result<Next, Cancelled> {
        let since = Instant::now();
        while !is_cancelled() {
            match self.pull() {
                Pulled::Sample(sample) => {
                    let reason = || PictureError::NoFormat.to_string();
                    let orientation = self.orientation_of(&sample);
                    return Ok(match RawFrame::from_sample(&sample, orientation) {
                        Some(frame) => Next::Frame(frame),
                        None => Next::Stopped(Incomplete::Broken { reason: reason() }),
                    });
                }
                Pulled::Orientation(orientation) => self.orientation = orientation,
                Pulled::End => return Ok(Next::End),
                Pulled::Nothing if self.is_failing() && since.elapsed() > GRACE => {
                    return Ok(Next::End);
                }
                Pulled::Nothing if since.elapsed() > stall_timeout => {
                    return Ok(Next::Stopped(Incomplete::Stalled { after: stall_timeout }));
                }
                Pulled::Nothing => {}
            }
        }
        Err(Cancelled)
    }

    /// The container's orientation wins over the stream's.
    fn orientation_of(&self, sample: &gst::Sample) -> Orientation {
        if !self.orientation.is_upright() {
            return self.orientation;
        }
        let pts = sample.buffer().and_then(gst::BufferRef::pts);
        self.probes.orientation_at(pts).unwrap_or(self.orientation)
    }

    fn pull(&mut self) -> Pulled {
        let Some(object) = self.sink.try_pull_object(POLL) else {
            self.read_bus();
            self.check_demuxer();
            self.check_track();
            return if self.sink.is_eos() || self.failure.as_ref().is_some_and(is_final) {
                Pulled::End
            } else {
                Pulled::Nothing
            };
        };
        let event = match object.downcast::<gst::Sample>() {
            Ok(sample) => return Pulled::Sample(sample),
            Err(object) => object.downcast::<gst::Event>(),
        };
        match event.as_ref().map(|event| event.view()) {
            Ok(gst::EventView::StreamStart(_)) => Pulled::Orientation(Orientation::default()),
            Ok(gst::EventView::Tag(tags)) => match VideoOrientationMethod::from_tag(tags.tag()) {
                Some(method) => Pulled::Orientation(Orientation::from_method(method)),
                None => Pulled::Nothing,
            },
            _ => Pulled::Nothing,
        }
    }

    /// The file is known to have the track. GStreamer 1.22's `flvdemux` announces its streams when
    /// it meets their first packets: its first collection may have sound only.
    pub(crate) fn expect_track(&mut self) {
        self.expects_track = true;
    }

    /// How many video tracks the demuxer found.
    pub(crate) fn tracks(&self) -> u32 {
        self.tracks.seen()
    }

    /// Whether there was an error that may end the video. Frames that were decoded before it may
    /// still arrive.
    fn is_failing(&self) -> bool {
        self.failure.is_some() || self.missing_plugin.is_some()
    }

    /// The error that the video ended with, if any. `is_empty` means that it had no frame.
    pub(crate) fn into_failure(mut self, is_empty: bool) -> Option<DecodeError> {
        self.drain_other_streams();
        let missing = self.missing_plugin.take().filter(|_| is_empty);
        missing.or(self.failure.take())
    }

    /// After the last frame, waits for the end of the other streams, and for their errors.
    fn drain_other_streams(&mut self) {
        let Some(bus) = self.running.bus() else { return };
        while self.sink.is_eos() && !self.all_streams_ended && self.failure.is_none() {
            let reached = self.probes.demuxed_end();
            match bus.timed_pop(END_TIMEOUT) {
                Some(message) => self.read(&message),
                None if self.probes.demuxed_end() == reached => return,
                None => {}
            }
        }
    }

    /// Duration of the whole that the container declares, in nanoseconds.
    pub(crate) fn declared_duration(&self) -> Option<u64> {
        self.running.declared_duration()
    }

    pub(crate) fn probes(&self) -> &Probes {
        &self.probes
    }

    fn check_demuxer(&mut self) {
        if !self.probes.demuxer_gave_up() {
            self.demuxer_idle_since = None;
        } else if self.demuxer_idle_since.get_or_insert_with(Instant::now).elapsed() > PLUGGING {
            let reason = "it has no recognisable streams".to_owned();
            self.failure.get_or_insert(DecodeError::Damaged { video: self.name.clone(), reason });
        }
    }

    /// The demuxer has read on, or has found the track, or else it never will.
    fn check_track(&mut self) {
        let demuxed_end = self.probes.demuxed_end();
        let Some(missing) = &mut self.not_found else { return };
        if demuxed_end != missing.demuxed_end {
            missing.demuxed_end = demuxed_end;
            missing.since = Instant::now();
        }
        let is_over = missing.since.elapsed() > PLUGGING;
        if self.tracks.seen() >= self.track {
            self.not_found = None;
        } else if is_over && let Some(missing) = self.not_found.take() {
            self.failure.get_or_insert(missing.error);
        }
    }

    fn read_bus(&mut self) {
        let Some(bus) = self.running.bus() else { return };
        while let Some(message) = bus.pop() {
            self.read(&message);
        }
    }

    fn read(&mut self, message: &gst::Message) {
        let video = || self.name.clone();
        let failure = match message.view() {
            gst::MessageView::Error(message) => {
                let details = message.debug();
                debug!(
                    video = self.name,
                    error = %message.error(),
                    details = details.as_deref(),
                    "GStreamer error"
                );
                match self.probes.too_large() {
                    Some(Size { width, height }) => {
                        DecodeError::TooLarge { video: video(), width, height }
                    }
                    None => bus::decode_error(&self.name, message),
                }
            }
            gst::MessageView::StreamCollection(message) => {
                let error = match bus::video_tracks(&message.stream_collection()) {
                    tracks if tracks >= self.track => return,
                    0 => DecodeError::NoVideo { video: video() },
                    tracks => {
                        DecodeError::NoSuchTrack { video: video(), wanted: self.track, tracks }
                    }
                };
                if self.expects_track {
                    let demuxed_end = self.probes.demuxed_end();
                    let since = Instant::now();
                    self.not_found = Some(NotFound { error, demuxed_end, since });
                    return;
                }
                error
            }
            gst::MessageView::Element(message) => {
                match message.structure().and_then(bus::playlist) {
                    Some(format) => DecodeError::Playlist { video: video(), format },
                    None => {
                        let missing = message
                            .structure()
                            .and_then(|plugin| bus::missing_plugin(&self.name, plugin));
                        self.missing_plugin = self.missing_plugin.take().or(missing);
                        return;
                    }
                }
            }
            gst::MessageView::Eos(_) => {
                self.all_streams_ended = true;
                return;
            }
            _ => return,
        };
        self.failure.get_or_insert(failure);
    }
}

/// Whether no frame can follow this error.
fn is_final(error: &DecodeError) -> bool {
    matches!(
        error,
        DecodeError::NoVideo { .. }
            | DecodeError::NoSuchTrack { .. }
            | DecodeError::Playlist { .. }
            | DecodeError::UnknownFormat { .. }
            | DecodeError::TooLarge { .. }
    )
}

/// Decodes a video stream of `source` into `sink`, and discards its other streams.
///
/// `decodebin3` would do the same in one element, but in GStreamer 1.22 it crashes on some
/// truncated files. Reproduced, with `decodebin3` in place of these two, by
/// `a_truncated_fragmented_video_does_not_crash`.
fn build(
    source: &gst::Element,
    format: FileFormat,
    sink: &AppSink,
    tracks: &Tracks,
    excluded: &[String],
) -> Result<gst::Pipeline, gst::glib::Error> {
    let demuxer = element("parsebin").build().map_err(build_error)?;
    elements::exclude(&demuxer, excluded);
    let queue = element("queue")
        .property("max-size-bytes", QUEUED_BYTES)
        .property("max-size-buffers", 0u32)
        .property("max-size-time", 0u64);
    let queue = queue.build().map_err(build_error)?;
    let decoder = elements::decoder_into(sink, excluded).map_err(build_error)?;
    let pipeline = gst::Pipeline::new();
    pipeline
        .add_many([source, &demuxer, &queue, &decoder, sink.upcast_ref()])
        .map_err(build_error)?;
    match format {
        // Pictures that follow each other. GStreamer 1.22 does not plug `jpegparse` by itself, and
        // raising its rank is not the answer: a Motion JPEG video in a container would then end at
        // its first bad frame. Reproduced by `jpegs_that_follow_each_other_are_a_video`.
        FileFormat::Image(ImageFormat::Jpeg) => {
            let parser = element("jpegparse").build().map_err(build_error)?;
            pipeline.add(&parser).map_err(build_error)?;
            gst::Element::link_many([source, &parser, &demuxer]).map_err(build_error)?;
        }
        _ => source.link(&demuxer).map_err(build_error)?,
    }
    queue.link(&decoder).map_err(build_error)?;
    let bin = pipeline.downgrade();
    let tracks = tracks.clone();
    demuxer.connect_pad_added(move |_, pad| {
        let linked = if is_video(pad) && tracks.is_next_wanted() && link(pad, &queue) {
            Ok(())
        } else {
            bin.upgrade().map_or(Ok(()), |bin| discard(&bin, pad))
        };
        if let Err(error) = linked {
            warn!(%error, pad = %pad.name(), "cannot link a stream");
        }
    });
    Ok(pipeline)
}
