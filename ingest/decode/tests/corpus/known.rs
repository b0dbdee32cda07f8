//! Whole files that are refused. docs/formats.md says the same.

/// Parts of names of files that GStreamer 1.22 cannot decode, and what the error calls them.
const REFUSED: &[(&str, &str)] = &[("nut/", "NUT"), ("/utvideo", "Ut Video")];

/// Containers that hold times of decoding only. GStreamer 1.22 takes them for those of showing: the
/// frames come in their order, and the times of those around a B-frame are wrong by a few frames.
const TIMES_OF_DECODING: &[&str] = &["avi/", "wmv/", "mxf/"];
/// Codecs with B-frames.
const REORDERED: &[&str] = &["-b", "-open-gop", "-interlaced"];

/// The same for some other files: HEVC that was cut in a transport stream, where the first frames
/// have them, and a rate that MPEG-2 cannot declare.
const WRONG_TIMES: &[&str] = &["ts/hevc-b/c", "ts/hevc-b/without-start", "mpg/mpeg2-b/1fps"];

/// Whether the times of its frames may be wrong.
pub fn has_wrong_times(name: &str) -> bool {
    let is_listed = WRONG_TIMES.iter().any(|part| name.starts_with(part));
    let has_times_of_decoding =
        TIMES_OF_DECODING.iter().any(|container| name.starts_with(container))
            && REORDERED.iter().any(|codec| name.contains(codec));
    is_listed || has_times_of_decoding
}

/// Whether this error is right for the file.
pub fn is_refused(name: &str, error: &str) -> bool {
    REFUSED.iter().any(|(part, called)| name.contains(part) && error.contains(called))
}
