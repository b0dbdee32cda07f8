//! Feeds a decoder with packets that were read without GStreamer's demuxers.
//!
//! GStreamer 1.22's `tsdemux` drops every packet of a frame whose continuity counters do not match,
//! although the decoder could show the frame. Reproduced, with `tsdemux` in place of this, by
//! `what_is_left_of_a_damaged_transport_stream_is_decoded`.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSrc, AppSrcCallbacks, AppStreamType};
use moliceiro_containers::{PesCodec, PesPacket, PesPackets};
use tracing::debug;

use crate::elements::{self, build_error};

/// Decodes packets into `sink`.
pub(crate) fn build(
    codec: PesCodec,
    mut packets: PesPackets,
    sink: &AppSink,
    excluded: &[String],
) -> Result<gst::Pipeline, gst::glib::Error> {
    let source = AppSrc::builder()
        .caps(&caps(codec))
        .format(gst::Format::Time)
        .stream_type(AppStreamType::Stream)
        .build();
    source.set_callbacks(
        AppSrcCallbacks::builder().need_data(move |source, _| feed(source, &mut packets)).build(),
    );
    let decoder = elements::decoder_into(sink, excluded).map_err(build_error)?;
    let pipeline = gst::Pipeline::new();
    pipeline.add_many([source.upcast_ref(), &decoder, sink.upcast_ref()]).map_err(build_error)?;
    source.link(&decoder).map_err(build_error)?;
    Ok(pipeline)
}

/// Gives the decoder its next packet.
fn feed(source: &AppSrc, packets: &mut PesPackets) {
    let given = match packets.next() {
        Some(Ok(packet)) => source.push_buffer(buffer(packet)),
        None => source.end_of_stream(),
        Some(Err(error)) => {
            gst::element_error!(source, gst::ResourceError::Read, ["cannot read on: {error}"]);
            source.end_of_stream()
        }
    };
    if let Err(error) = given {
        // The pipeline stops.
        debug!(%error, "a packet was not decoded");
    }
}

fn buffer(packet: PesPacket) -> gst::Buffer {
    let PesPacket { pts, dts, data } = packet;
    let mut buffer = gst::Buffer::from_mut_slice(data);
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_pts(pts.map(gst::ClockTime::from_nseconds));
        buffer.set_dts(dts.map(gst::ClockTime::from_nseconds));
    }
    buffer
}

fn caps(codec: PesCodec) -> gst::Caps {
    let mpeg = |version: i32| {
        gst::Caps::builder("video/mpeg")
            .field("mpegversion", version)
            .field("systemstream", false)
            .build()
    };
    let bytes = |name| gst::Caps::builder(name).field("stream-format", "byte-stream").build();
    match codec {
        PesCodec::Mpeg2 => mpeg(2),
        PesCodec::Mpeg4 => mpeg(4),
        PesCodec::H264 => bytes("video/x-h264"),
        PesCodec::Hevc => bytes("video/x-h265"),
    }
}
