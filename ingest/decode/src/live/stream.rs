use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSinkCallbacks};
use moliceiro_messages::Size;
use tracing::{debug, warn};

use super::disconnected::Disconnected;
use super::drop_counter::DropCounter;
use super::mjpeg::{self, Tail};
use super::origin::LiveOrigin;
use super::rtsp;
use crate::autoplug::configure_plugged_elements;
use crate::bus;
use crate::elements::{self, accept_strides, link};
use crate::error::DecodeError;
use crate::probes::Probes;
use crate::running::RunningPipeline;

/// Decoded frames that are buffered. Each may be tens of megabytes.
const QUEUED_FRAMES: usize = 8;

/// GStreamer's side of a connection to a live source.
pub(super) struct Stream {
    samples: Receiver<gst::Sample>,
    running: RunningPipeline,
    probes: Probes,
    tail: Tail,
}

impl Stream {
    /// Connects. `timeout` is how long the source may send nothing.
    pub(super) fn open(
        origin: &LiveOrigin,
        name: &str,
        timeout: Duration,
        drop_counter: &DropCounter,
        key_frames: bool,
    ) -> Result<Self, DecodeError> {
        elements::init()?;
        let failed = |error: gst::glib::BoolError| DecodeError::Failed {
            video: name.to_owned(),
            reason: error.to_string(),
        };
        let (sender, samples) = sync_channel(QUEUED_FRAMES);
        let tail = Tail::default();
        let sink = sink(sender, drop_counter.clone());
        let pipeline = build(origin, timeout, &sink, &tail).map_err(failed)?;
        let probes = Probes::new(key_frames);
        configure_plugged_elements(&pipeline, &probes, None);
        let running = RunningPipeline::new(pipeline);
        if let Err(error) = running.play() {
            // `end` reads the cause from the bus.
            debug!(%error, "a live source does not start");
        }
        Ok(Self { samples, running, probes, tail })
    }

    /// The next decoded frame.
    pub(super) fn recv_timeout(&self, timeout: Duration) -> Result<gst::Sample, RecvTimeoutError> {
        self.samples.recv_timeout(timeout)
    }

    /// How many frames were not decoded since the last call, because they are not key frames.
    pub(super) fn undecoded(&self) -> u64 {
        self.probes.take_undecoded(None).len() as u64
    }

    /// How the source ended, if it has.
    pub(super) fn end(&self, name: &str) -> Option<Disconnected> {
        let types = [gst::MessageType::Error, gst::MessageType::Warning, gst::MessageType::Eos];
        while let Some(message) = self.running.pop(&types) {
            match message.view() {
                gst::MessageView::Error(message) => return Some(self.error(name, message)),
                // rtspsrc reports a lost connection like this, before it ends the stream.
                gst::MessageView::Warning(message)
                    if message.error().matches(gst::ResourceError::Read) =>
                {
                    return Some(Disconnected::Lost(bus::describe(&message.error(), None)));
                }
                gst::MessageView::Eos(_) => {
                    return Some(if self.tail.is_complete() {
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

    fn error(&self, name: &str, message: &gst::message::Error) -> Disconnected {
        if let Some(Size { width, height }) = self.probes.too_large() {
            let video = name.to_owned();
            return Disconnected::Unusable(DecodeError::TooLarge { video, width, height });
        }
        let error = message.error();
        match bus::decode_error(name, message) {
            unusable @ (DecodeError::UnknownFormat { .. } | DecodeError::MissingPlugin { .. }) => {
                Disconnected::Unusable(unusable)
            }
            _ if error.matches(gst::ResourceError::NotFound)
                || error.matches(gst::ResourceError::NotAuthorized) =>
            {
                Disconnected::Refused(bus::describe(&error, None))
            }
            _ => Disconnected::Lost(bus::describe(&error, None)),
        }
    }
}

/// Queues frames as they arrive, and drops those for which the queue has no space.
fn sink(samples: SyncSender<gst::Sample>, drop_counter: DropCounter) -> AppSink {
    let raw = elements::raw_video();
    let new_sample = move |sink: &AppSink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        match samples.try_send(sample) {
            Ok(()) => Ok(gst::FlowSuccess::Ok),
            Err(TrySendError::Full(_)) => {
                drop_counter.count();
                Ok(gst::FlowSuccess::Ok)
            }
            Err(TrySendError::Disconnected(_)) => Err(gst::FlowError::Eos),
        }
    };
    let callbacks = AppSinkCallbacks::builder().new_sample(new_sample).build();
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
    timeout: Duration,
    sink: &AppSink,
    tail: &Tail,
) -> Result<gst::Pipeline, gst::glib::BoolError> {
    let decoder = elements::decoder_into(sink, &[])?;
    let pipeline = gst::Pipeline::new();
    pipeline.add_many([&decoder, sink.upcast_ref()])?;
    let source = match origin {
        LiveOrigin::Rtsp(uri) => rtsp::add_source(&pipeline, uri, timeout)?,
        LiveOrigin::Mjpeg(uri) => mjpeg::add_source(&pipeline, uri, timeout, tail)?,
    };
    let input = decoder.downgrade();
    source.connect_pad_added(move |_, pad| {
        if !input.upgrade().is_some_and(|input| link(pad, &input)) {
            warn!(caps = ?pad.current_caps(), "cannot link a stream");
        }
    });
    Ok(pipeline)
}
