//! Codecs and containers by the names that people use, and the packages that read them.

use gstreamer as gst;

/// Four-character codes, in any case, with the codec's name.
const FOURCC: [(&str, &str); 64] = [
    ("AVdh", "DNxHR"),
    ("AVdn", "DNxHD"),
    ("Hap1", "HAP"),
    ("Hap5", "HAP Alpha"),
    ("HapY", "HAP Q"),
    ("HapM", "HAP Q Alpha"),
    ("HapA", "HAP Alpha-Only"),
    ("Hap7", "HAP R"),
    ("ULRG", "Ut Video"),
    ("ULRA", "Ut Video"),
    ("ULY0", "Ut Video"),
    ("ULY2", "Ut Video"),
    ("ULY4", "Ut Video"),
    ("ULH0", "Ut Video"),
    ("ULH2", "Ut Video"),
    ("ULH4", "Ut Video"),
    ("UQY0", "Ut Video Pro"),
    ("UQY2", "Ut Video Pro"),
    ("UQRG", "Ut Video Pro"),
    ("UQRA", "Ut Video Pro"),
    ("UMRG", "Ut Video T2"),
    ("UMY2", "Ut Video T2"),
    ("MAGY", "MagicYUV"),
    ("M8RG", "MagicYUV"),
    ("M8RA", "MagicYUV"),
    ("M8G0", "MagicYUV"),
    ("M8Y0", "MagicYUV"),
    ("M8Y2", "MagicYUV"),
    ("M8Y4", "MagicYUV"),
    ("M8YA", "MagicYUV"),
    ("LAGS", "Lagarith"),
    ("FFVH", "FFmpeg Huffyuv"),
    ("smc", "QuickTime Graphics"),
    ("rle", "QuickTime Animation"),
    ("8BPS", "Planar RGB"),
    ("tiff", "TIFF"),
    ("WEBP", "WebP"),
    ("raw", UNCOMPRESSED),
    ("24BG", UNCOMPRESSED),
    ("RGBA", UNCOMPRESSED),
    ("BGRA", UNCOMPRESSED),
    ("ABGR", UNCOMPRESSED),
    ("ARGB", UNCOMPRESSED),
    ("yuvs", UNCOMPRESSED),
    ("v410", UNCOMPRESSED),
    ("CFHD", "CineForm"),
    ("SNOW", "Snow"),
    ("CLLC", "Canopus Lossless"),
    ("CUVC", "Canopus HQ"),
    ("SHQ0", "SpeedHQ"),
    ("SHQ1", "SpeedHQ"),
    ("SHQ2", "SpeedHQ"),
    ("SHQ3", "SpeedHQ"),
    ("SHQ4", "SpeedHQ"),
    ("SHQ5", "SpeedHQ"),
    ("SHQ7", "SpeedHQ"),
    ("SHQ9", "SpeedHQ"),
    ("PIM1", "Pinnacle MPEG-1"),
    ("IV50", "Indeo 5"),
    ("IV41", "Indeo 4"),
    ("TSC2", "TechSmith Screen Codec 2"),
    ("G2M4", "GoToMeeting"),
    ("VVC1", "VVC"),
    ("aprn", "ProRes RAW"),
];

/// GStreamer's media types: the name, an element of GStreamer 1.22 that reads it, and that
/// element's Debian package.
const TYPES: [(&str, &str, &str, &str); 45] = [
    ("video/x-h264", "H.264", "avdec_h264", LIBAV),
    ("video/x-h265", "HEVC", "avdec_h265", LIBAV),
    ("video/x-h266", "VVC", "", ""),
    ("video/x-av1", "AV1", "av1dec", BAD),
    ("video/x-vp8", "VP8", "vp8dec", GOOD),
    ("video/x-vp9", "VP9", "vp9dec", GOOD),
    ("video/x-prores", "ProRes", "avdec_prores", LIBAV),
    ("video/x-dnxhd", "DNxHD or DNxHR", "avdec_dnxhd", LIBAV),
    ("video/x-cineform", "CineForm", "avdec_cfhd", LIBAV),
    ("video/x-ffv", "FFV1", "avdec_ffv1", LIBAV),
    ("video/x-huffyuv", "Huffyuv", "avdec_huffyuv", LIBAV),
    ("video/mpeg", "MPEG-1, MPEG-2 or MPEG-4", "avdec_mpeg2video", LIBAV),
    ("video/x-divx", "DivX", "avdec_mpeg4", LIBAV),
    ("video/x-xvid", "Xvid", "avdec_mpeg4", LIBAV),
    ("video/x-msmpeg", "Microsoft MPEG-4", "avdec_msmpeg4", LIBAV),
    ("video/x-wmv", "Windows Media Video or VC-1", "avdec_wmv3", LIBAV),
    ("video/x-pn-realvideo", "RealVideo", "avdec_rv40", LIBAV),
    ("video/x-gst-av-ffvhuff", "FFmpeg Huffyuv", "avdec_ffvhuff", LIBAV),
    ("video/x-zmbv", "DOSBox Capture", "avdec_zmbv", LIBAV),
    ("video/x-msvideocodec", "Microsoft Video 1", "avdec_msvideo1", LIBAV),
    ("video/x-apple-video", "QuickTime Video", "avdec_rpza", LIBAV),
    ("image/gst-libav-gif", "GIF", "avdec_gif", LIBAV),
    ("video/x-cinepak", "Cinepak", "avdec_cinepak", LIBAV),
    ("video/x-indeo", "Indeo", "avdec_indeo5", LIBAV),
    ("video/x-svq", "Sorenson Video", "avdec_svq3", LIBAV),
    ("video/x-flash-video", "Sorenson Spark", "avdec_flv", LIBAV),
    ("video/x-flash-screen", "Flash Screen Video", "avdec_flashsv", LIBAV),
    ("video/x-dv", "DV", "avdec_dvvideo", LIBAV),
    ("video/x-h263", "H.263", "avdec_h263", LIBAV),
    ("video/x-theora", "Theora", "theoradec", BASE),
    ("video/x-dirac", "Dirac (VC-2)", "", ""),
    ("image/jpeg", "Motion JPEG", "jpegdec", GOOD),
    ("image/x-jpc", "JPEG 2000", "openjpegdec", BAD),
    ("image/x-j2c", "JPEG 2000", "openjpegdec", BAD),
    ("image/jp2", "JPEG 2000", "openjpegdec", BAD),
    ("video/x-ms-asf", "ASF (Windows Media)", "asfdemux", UGLY),
    ("application/vnd.rn-realmedia", "RealMedia", "rmdemux", UGLY),
    ("video/quicktime", "MP4 or QuickTime", "qtdemux", GOOD),
    ("video/x-matroska", "Matroska", "matroskademux", GOOD),
    ("video/webm", "WebM", "matroskademux", GOOD),
    ("video/x-msvideo", "AVI", "avidemux", GOOD),
    ("video/x-flv", "Flash Video", "flvdemux", GOOD),
    ("video/mpegts", "MPEG transport stream", "tsdemux", BAD),
    ("application/mxf", "MXF", "mxfdemux", BAD),
    ("application/ogg", "Ogg", "oggdemux", BASE),
];

const UNCOMPRESSED: &str = "uncompressed video in a rare format";
const BASE: &str = "gstreamer1.0-plugins-base";
const GOOD: &str = "gstreamer1.0-plugins-good";
const BAD: &str = "gstreamer1.0-plugins-bad";
const UGLY: &str = "gstreamer1.0-plugins-ugly";
const LIBAV: &str = "gstreamer1.0-libav";

/// The name of the format, if it has one that people use.
pub(crate) fn name(format: &gst::StructureRef) -> Option<String> {
    let media = format.name().as_str();
    if let Some(code) = fourcc(format) {
        let named = FOURCC.iter().find(|(known, _)| known.eq_ignore_ascii_case(&code));
        return Some(named.map_or(format!("the codec {code}"), |(_, name)| (*name).to_owned()));
    }
    if format.get::<&str>("codec-id").is_ok_and(|id| id == "V_QUICKTIME") {
        return Some("a QuickTime codec in Matroska".to_owned());
    }
    if let ("video/x-wmv", Ok(code)) = (media, format.get::<&str>("format")) {
        return Some(if code == "WMV3" { "WMV 9 (WMV3)".into() } else { format!("VC-1 ({code})") });
    }
    TYPES.iter().find(|(known, ..)| *known == media).map(|(_, name, ..)| (*name).to_owned())
}

/// GStreamer's own description, unless that is only a media type.
pub(crate) fn described(text: String) -> Option<String> {
    let text = text.trim_end_matches(" decoder").trim_end_matches(" demuxer");
    (!text.contains('/')).then(|| text.to_owned())
}

/// The Debian package that reads the format, unless it is installed already.
pub(crate) fn package(format: &gst::StructureRef) -> Option<&'static str> {
    let media = format.name().as_str();
    let (.., element, package) = TYPES.iter().find(|(known, ..)| *known == media)?;
    let is_missing = !element.is_empty() && gst::ElementFactory::find(element).is_none();
    is_missing.then_some(package)
}

/// Each format that an installed element may read: its name, the element, and that element's Debian
/// package.
pub(crate) fn readers() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let known = TYPES.iter().filter(|(_, _, element, _)| !element.is_empty());
    known.map(|(_, name, element, package)| (*name, *element, *package))
}

/// Whether its content is encrypted.
pub(crate) fn is_encrypted(format: &gst::StructureRef) -> bool {
    matches!(
        format.name().as_str(),
        "application/x-cenc"
            | "application/x-cbcs"
            | "application/x-webm-enc"
            | "video/x-gst-fourcc-drmi"
            | "video/x-gst-fourcc-encv"
    )
}

/// The four-character code of a format that GStreamer's demuxers do not know.
pub(crate) fn fourcc(format: &gst::StructureRef) -> Option<String> {
    if let Some(code) = format.name().strip_prefix("video/x-gst-fourcc-") {
        return Some(code.trim_end_matches('_').to_owned());
    }
    if !format.name().ends_with("unknown") {
        return None;
    }
    if let Ok(code) = format.get::<String>("fourcc") {
        return Some(code);
    }
    let signed = format.get::<i32>("fourcc").map(i32::cast_unsigned);
    let code = signed.or_else(|_| format.get::<u32>("fourcc")).ok()?.to_le_bytes();
    let is_text = code.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    is_text.then(|| String::from_utf8_lossy(&code).trim_end().to_owned())
}
