//! Formats that GStreamer 1.22's demuxers do not know, although it has decoders for them.
//!
//! Reproduced by `every_codec_that_a_plugin_decodes`.

use std::str::FromStr;

use gstreamer as gst;
use moliceiro_containers::Description;
use tracing::debug;

use crate::codecs;

/// Four-character codes in upper case, and the format as decoders know it.
const KNOWN: [(&[&str], &str); 24] = [
    (&["AVDH", "AVDN", "AVD1"], "video/x-dnxhd"),
    (&["CFHD"], "video/x-cineform"),
    (&["VP90"], "video/x-vp9"),
    (&["AV01"], "video/x-av1"),
    (&["APCO", "APCS", "APCN", "APCH", "AP4H", "AP4X"], "video/x-prores"),
    (&["MJP2"], "image/jp2"),
    (&["FLV1"], "video/x-flash-video, flvversion=(int)1"),
    (&["FSV1"], "video/x-flash-screen"),
    (&["HFYU"], "video/x-huffyuv"),
    (&["FFVH"], "video/x-gst-av-ffvhuff"),
    (&["M1V", "M1V1", "MP1V"], "video/mpeg, mpegversion=(int)1, systemstream=false"),
    (&["THEO"], "video/x-theora"),
    (&["WMV1"], "video/x-wmv, wmvversion=(int)1"),
    (&["WMV2"], "video/x-wmv, wmvversion=(int)2"),
    (&["WMV3"], "video/x-wmv, wmvversion=(int)3, format=WMV3"),
    (&["MP42", "DIV2"], "video/x-msmpeg, msmpegversion=(int)42"),
    (&["MP41", "MPG4", "DIV1"], "video/x-msmpeg, msmpegversion=(int)41"),
    (&["ZMBV"], "video/x-zmbv"),
    (&["MSVC", "CRAM", "WHAM"], "video/x-msvideocodec, msvideoversion=(int)1"),
    (&["CVID"], "video/x-cinepak"),
    (&["SVQ1"], "video/x-svq, svqversion=(int)1"),
    (&["RPZA"], "video/x-apple-video"),
    (&["GIF"], "image/gst-libav-gif, parsed=true"),
    (&["RLE"], "video/x-rle, layout=quicktime"),
];

/// The same for uncompressed video, with the bytes of a pixel.
const RAW: [(&str, &str, u16); 5] = [
    ("24BG", "BGR", 3),
    ("RGBA", "RGBA", 4),
    ("BGRA", "BGRA", 4),
    ("ABGR", "ABGR", 4),
    ("YUVS", "YUY2", 2),
];

/// Rewrites the format of a demuxed stream as decoders know it. Returns whether it was changed.
pub(crate) fn adapt(format: &mut gst::StructureRef, description: Option<&Description>) -> bool {
    // Its packets are what the decoder calls parsed.
    let code = if format.name() == "image/gif" {
        "gif".to_owned()
    } else if let Some(code) = codecs::fourcc(format) {
        code
    } else if let Some(described) = description.filter(|_| format.name() == "video/x-unknown") {
        String::from_utf8_lossy(&described.code).trim_end().to_owned()
    } else {
        return false;
    };
    let Some(known) = known(&code, description) else {
        // Errors call it by that.
        let is_nameless = format.name() == "video/x-unknown" && !format.has_field("fourcc");
        if is_nameless {
            format.set("fourcc", &code);
        }
        return is_nameless;
    };
    debug!(code, %known, "a format that the demuxer does not know");
    format.set_name(known.name());
    format.remove_fields(["fourcc", "codec-id"]);
    known.iter().for_each(|(name, value)| format.set_value(name, value.clone()));
    if let Some(described) = description {
        for (name, length) in [("width", described.width), ("height", described.height)] {
            if !format.has_field(name) && length > 0 {
                format.set(name, i32::from(length));
            }
        }
        if !format.has_field("codec_data") && !described.data.is_empty() {
            format.set("codec_data", gst::Buffer::from_slice(described.data.clone()));
        }
    }
    true
}

fn known(code: &str, description: Option<&Description>) -> Option<gst::Structure> {
    let code = code.to_ascii_uppercase();
    let raw = || {
        let (_, pixels, bytes) = RAW.iter().find(|(raw, ..)| *raw == code)?;
        // GStreamer's rows are padded to four bytes, and those of files are not.
        let is_even = description.is_some_and(|found| found.width.wrapping_mul(*bytes) % 4 == 0);
        is_even.then(|| gst::Structure::builder("video/x-raw").field("format", *pixels).build())
    };
    let known = KNOWN.iter().find(|(codes, _)| codes.contains(&&*code));
    let mut known =
        known.and_then(|(_, known)| gst::Structure::from_str(known).ok()).or_else(raw)?;
    if ["video/x-rle", "video/x-msvideocodec"].contains(&known.name().as_str()) {
        // Of these, the decoder has to know it; a palette would be needed for fewer.
        let depth = description.map(|description| description.depth).filter(|depth| *depth > 8)?;
        let depth = i32::from(depth);
        known.set("depth", depth);
        known.set("bpp", depth);
    }
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapted(format: &str, description: Option<&Description>) -> Option<gst::Structure> {
        gst::init().unwrap();
        let mut format = gst::Structure::from_str(format).unwrap();
        adapt(&mut format, description).then_some(format)
    }

    fn described(code: [u8; 4], width: u16) -> Description {
        Description { code, width, height: 96, depth: 24, data: vec![1, 2] }
    }

    #[test]
    fn every_format_is_written_as_gstreamer_reads_it() {
        gst::init().unwrap();
        assert!(KNOWN.iter().all(|(_, known)| gst::Structure::from_str(known).is_ok()));
    }

    #[test]
    fn size_and_data_come_from_the_description() {
        let found = adapted("video/x-unknown, codec-id=V_QUICKTIME", Some(&described(*b"cvid", 9)));
        let found = found.unwrap();
        assert_eq!((found.name().as_str(), found.get("width")), ("video/x-cinepak", Ok(9)));
        assert!(found.has_field("codec_data") && !found.has_field("codec-id"));
        let found = adapted("video/x-gst-fourcc-WMV2, width=8", None).unwrap();
        assert_eq!((found.get("wmvversion"), found.get("width")), (Ok(2), Ok(8)));
    }

    #[test]
    fn rows_that_would_be_padded_are_not_read() {
        let name = "video/x-gst-fourcc-24BG";
        assert!(adapted(name, Some(&described(*b"24BG", 128))).is_some());
        assert!(adapted(name, Some(&described(*b"24BG", 127))).is_none());
    }

    #[test]
    fn a_code_without_a_decoder_is_still_a_name() {
        let found = adapted("video/x-unknown, codec-id=V_QUICKTIME", Some(&described(*b"smc ", 9)));
        assert_eq!(codecs::name(&found.unwrap()).as_deref(), Some("QuickTime Graphics"));
        assert_eq!(adapted("video/x-h264", Some(&described(*b"avc1", 9))), None);
    }
}
