//! Decodes single packets with a decoder of GStreamer.

use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSrc};

use super::Context;
use crate::bus;
use crate::elements::{accept_strides, element};
use crate::error::DecodeError;
use crate::geometry::Orientation;
use crate::probes::Probes;
use crate::raw_frame::RawFrame;
use crate::running::RunningPipeline;

const POLL: gst::ClockTime = gst::ClockTime::from_mseconds(50);
/// Packets are numbered by their times.
const PERIOD: gst::ClockTime = gst::ClockTime::from_seconds(1);

/// A decoder that GStreamer may have.
pub(super) struct Choice {
    pub(super) element: &'static str,
    /// Debian's.
    pub(super) package: &'static str,
}

/// The first of these that is installed. `format` names the pictures that need it.
pub(super) fn choose(
    choices: &[Choice],
    format: &'static str,
    context: &Context,
) -> Result<&'static str, DecodeError> {
    let found = choices.iter().find(|choice| gst::ElementFactory::find(choice.element).is_some());
    match (found, choices.first()) {
        (Some(found), _) => Ok(found.element),
        (None, Some(&Choice { element, package })) => Err(DecodeError::MissingPictureDecoder {
            video: context.name.clone(),
            format: format.into(),
            element: element.into(),
            package: package.into(),
        }),
        (None, None) => Err(context.unsupported(format)),
    }
}

/// Decodes packets with these elements, one after the other, and passes each frame with the number
/// of its packet to `each`. A packet that cannot be decoded has no frame; if none has, it is an
/// error.
pub(super) fn decode(
    caps: &gst::Caps,
    elements: &[&str],
    packets: impl IntoIterator<Item = (u32, Vec<u8>)>,
    context: &Context,
    mut each: impl FnMut(u32, RawFrame) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let failed = |error: gst::glib::BoolError| context.gstreamer(&error);
    let input = AppSrc::builder().caps(caps).format(gst::Format::Time).build();
    let output =
        AppSink::builder().sync(false).qos(false).enable_last_sample(false).max_buffers(2).build();
    accept_strides(&output);
    let pipeline = gst::Pipeline::new();
    let probes = Probes::default();
    let mut chain = vec![input.clone().upcast::<gst::Element>()];
    for name in elements {
        let built = element(name).build().map_err(failed)?;
        if built.has_property("direct-rendering") {
            // It crashes for formats that GStreamer 1.22 does not know.
            built.set_property("direct-rendering", false);
        }
        probes.attach_to_decoder(&built);
        chain.push(built);
    }
    chain.push(output.clone().upcast());
    pipeline.add_many(&chain).map_err(failed)?;
    gst::Element::link_many(&chain).map_err(failed)?;
    if let Some(bus) = pipeline.bus() {
        bus::drop_unread_messages(&bus);
    }
    let running = RunningPipeline::new(pipeline);
    running.play().map_err(failed)?;
    for (number, packet) in packets {
        let mut buffer = gst::Buffer::from_mut_slice(packet);
        let fields = buffer.make_mut();
        fields.set_pts(PERIOD * u64::from(number));
        fields.set_dts(PERIOD * u64::from(number));
        fields.set_duration(PERIOD);
        if input.push_buffer(buffer).is_err() {
            break;
        }
    }
    // An element that failed does not accept the end either; its error is on the bus.
    input.end_of_stream().ok();
    let (mut since, mut frames) = (Instant::now(), 0u64);
    loop {
        if let Some(sample) = output.try_pull_sample(POLL) {
            let number = sample.buffer().and_then(|buffer| buffer.pts()).unwrap_or_default();
            let number = u32::try_from(number.nseconds() / PERIOD.nseconds()).unwrap_or(u32::MAX);
            let frame = RawFrame::from_sample(&sample, Orientation::default());
            let frame = frame.ok_or_else(|| context.damaged("the decoder states no format"))?;
            each(number, frame.without_time())?;
            (since, frames) = (Instant::now(), frames + 1);
            continue;
        }
        let failure = running.pop(&[gst::MessageType::Error]);
        if let Some(size) = probes.too_large() {
            context.limit(size.width, size.height)?;
        }
        match failure.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(_)) if frames > 0 => return Ok(()),
            Some(gst::MessageView::Error(error)) => {
                return Err(bus::decode_error(&context.name, error));
            }
            _ if output.is_eos() && frames > 0 => return Ok(()),
            _ if output.is_eos() => return Err(context.damaged("its data cannot be decoded")),
            _ => {}
        }
        if since.elapsed() > context.timeout.max(Duration::from_secs(1)) {
            let (video, after) = (context.name.clone(), context.timeout);
            return Err(DecodeError::Stalled { video, after });
        }
    }
}

/// Decodes one packet.
pub(super) fn decode_one(
    caps: &gst::Caps,
    elements: &[&str],
    packet: Vec<u8>,
    context: &Context,
) -> Result<RawFrame, DecodeError> {
    let mut first = None;
    decode(caps, elements, [(0, packet)], context, |_, frame| {
        first.get_or_insert(frame);
        Ok(())
    })?;
    first.ok_or_else(|| context.damaged("its data cannot be decoded"))
}
