//! Whole files that are refused. docs/formats.md says the same.

/// Parts of names of files that GStreamer 1.22 cannot decode, and what the error calls them.
const REFUSED: &[(&str, &str)] = &[
    ("nut/", "NUT"),
    ("/utvideo", "Ut Video"),
    ("mkv/cinepak", "QuickTime"),
    ("mkv/gif", "QuickTime"),
];

/// The error does not help: it does not name the codec.
const WITHOUT_NAME: &[(&str, &str)] = &[("mov/gif", "GStreamer failed")];

/// Parts of names of files whose edit list ffmpeg's decoder of AV1 ignores: it shows what is hidden.
const SHOWN_BY_FFMPEG: &[&str] = &["mp4/av1/cut", "mp4/av1/copyts"];

/// Whether these frames are right for a file of which ffmpeg shows more than players do.
pub fn is_edited(name: &str, decoded: &[usize], shown: &[usize]) -> bool {
    SHOWN_BY_FFMPEG.iter().any(|part| name.starts_with(part))
        && !decoded.is_empty()
        && shown.windows(decoded.len()).any(|part| part == decoded)
}

/// Whether this error is right for the file.
pub fn is_refused(name: &str, error: &str) -> bool {
    REFUSED
        .iter()
        .chain(WITHOUT_NAME)
        .any(|(part, called)| name.contains(part) && error.contains(called))
}
