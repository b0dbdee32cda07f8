//! Pixel formats that GStreamer cannot represent.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video::VideoFormat;

/// Lets a decoder write into GStreamer's buffers, which saves a copy of each frame, if the packets
/// declare a pixel format that GStreamer knows.
///
/// With a format that it does not know, GStreamer 1.22 crashes instead of reporting an error.
/// Reproduced by `a_pixel_format_that_gstreamer_does_not_know_is_an_error`.
pub(crate) fn adjust_direct_rendering(decoder: &gst::Element, caps: &gst::CapsRef) {
    if decoder.has_property("direct-rendering") {
        let is_known = Declared::of(caps).is_some_and(|declared| declared.is_known());
        decoder.set_property("direct-rendering", is_known);
    }
}

/// Whether GStreamer may have a format for the frames of packets with these caps.
pub(crate) fn may_be_representable(caps: &gst::CapsRef) -> bool {
    // H.264 in grey is decoded as 4:2:0.
    let is_hevc = caps.structure(0).is_some_and(|format| format.has_name("video/x-h265"));
    !is_hevc
        || Declared::of(caps)
            .is_none_or(|declared| declared.chroma != "4:0:0" || declared.is_known())
}

/// The pixels of a stream, as its parser describes them.
struct Declared {
    chroma: String,
    bits: [u32; 2],
}

impl Declared {
    /// `None` if the caps do not tell.
    fn of(caps: &gst::CapsRef) -> Option<Self> {
        let format = caps.structure(0)?;
        if !["video/x-h264", "video/x-h265"].contains(&format.name().as_str()) {
            return None;
        }
        let bits = |name: &str| format.get::<u32>(name).ok();
        Some(Self {
            chroma: format.get("chroma-format").ok()?,
            bits: [bits("bit-depth-luma")?, bits("bit-depth-chroma")?],
        })
    }

    /// Whether this GStreamer has the format: 1.22 none for grey of 10 bits, and 1.26 one.
    fn is_known(&self) -> bool {
        let [luma, chroma] = self.bits;
        match self.chroma.as_str() {
            "4:0:0" => luma == 8 || is_format(&format!("GRAY{luma}_LE16")),
            "4:2:0" | "4:2:2" | "4:4:4" => luma == chroma && [8, 10, 12].contains(&luma),
            _ => false,
        }
    }
}

fn is_format(name: &str) -> bool {
    VideoFormat::from_string(name) != VideoFormat::Unknown
}

/// Where nothing but the decoder knows the format.
const UNNAMED: &str =
    "pixels of a rare kind (grey of 10 bits, for example, or colours of 9, 14 or 16 bits)";

/// The pixels of packets with these caps, in words, if GStreamer has no format for them. `refused`
/// says that the decoder offered a format that was not accepted.
pub(crate) fn unrepresentable(caps: &gst::CapsRef, refused: bool) -> Option<String> {
    let Some(declared) = Declared::of(caps) else {
        return refused.then(|| UNNAMED.to_owned());
    };
    let [luma, chroma] = declared.bits;
    (refused || !declared.is_known()).then(|| match declared.chroma.as_str() {
        "4:0:0" => format!("grey pixels of {luma} bits"),
        name if luma == chroma => format!("{name} pixels of {luma} bits"),
        name => format!("{name} pixels of {luma} bits, with {chroma} for chroma"),
    })
}
