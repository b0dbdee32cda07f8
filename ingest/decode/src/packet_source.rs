//! Feeds a decoder with packets that were read without GStreamer's demuxers.
//!
//! GStreamer 1.22's `tsdemux` drops every packet of a frame whose continuity counters do not match,
//! although the decoder could show the frame. Reproduced, with `tsdemux` in place of this, by
//! `what_is_left_of_a_damaged_transport_stream_is_decoded`.

use std::io;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSrc, AppSrcCallbacks, AppStreamType};
use moliceiro_containers::{FlvCodec, PesCodec, PesPacket};
use tracing::debug;

use crate::elements::{self, build_error};

/// What a decoder is fed with.
pub(crate) trait Packets: Iterator<Item = io::Result<PesPacket>> + Send + 'static {}

impl<T: Iterator<Item = io::Result<PesPacket>> + Send + 'static> Packets for T {}

/// Decodes packets into `sink`.
pub(crate) fn build(
    caps: &gst::Caps,
    mut packets: impl Packets,
    sink: &AppSink,
    excluded: &[String],
) -> Result<gst::Pipeline, gst::glib::Error> {
    let source = AppSrc::builder()
        .caps(caps)
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
fn feed(source: &AppSrc, packets: &mut impl Packets) {
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

/// The format of the packets of Flash Video.
pub(crate) fn flv_caps(codec: &FlvCodec) -> gst::Caps {
    match codec {
        FlvCodec::H264(config) => gst::Caps::builder("video/x-h264")
            .field("stream-format", "avc")
            .field("alignment", "au")
            .field("codec_data", gst::Buffer::from_slice(config.clone()))
            .build(),
        FlvCodec::Sorenson => {
            gst::Caps::builder("video/x-flash-video").field("flvversion", 1i32).build()
        }
    }
}

/// The format of PES packets.
pub(crate) fn caps(codec: PesCodec) -> gst::Caps {
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
