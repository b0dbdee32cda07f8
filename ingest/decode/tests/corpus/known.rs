//! Whole files that are refused. docs/formats.md says the same.

/// Parts of names of files that GStreamer 1.22 cannot decode, and what the error calls them.
const REFUSED: &[(&str, &str)] = &[("nut/", "NUT"), ("/utvideo", "Ut Video")];

/// Containers that hold times of decoding only. GStreamer 1.22 takes them for those of showing: the
/// frames come in their order, and the times of those around a B-frame are wrong by a few frames.
const TIMES_OF_DECODING: &[&str] = &["avi/", "wmv/", "mxf/"];
/// Codecs with B-frames.
const REORDERED: &[&str] = &["-b", "-open-gop", "-interlaced"];
/// HEVC recordings that begin between two key frames: its decoder returns the pictures before the
/// key frame in another order than that of their times.
const BEGINS_BETWEEN_KEY_FRAMES: &[&str] = &["ts/hevc-b/cut", "ts/hevc-b/without-start"];

/// Whether the times of its frames may be wrong.
pub fn has_wrong_times(name: &str) -> bool {
    TIMES_OF_DECODING.iter().any(|container| name.starts_with(container))
        && REORDERED.iter().any(|codec| name.contains(codec))
        || BEGINS_BETWEEN_KEY_FRAMES.iter().any(|begin| name.starts_with(begin))
}

/// Whether this error is right for the file.
pub fn is_refused(name: &str, error: &str) -> bool {
    REFUSED.iter().any(|(part, called)| name.contains(part) && error.contains(called))
}
