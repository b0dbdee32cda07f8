//! Whole files that are refused, or whose frames have wrong times. docs/formats.md says the same.

/// Parts of names of files that GStreamer 1.22 cannot decode, and what the error calls them.
const REFUSED: &[(&str, &str)] = &[("nut/", "NUT"), ("/utvideo", "Ut Video")];

/// MPEG cannot declare these rates, and some of the frames have no time. Ogg has no time of the last
/// frame of a variable rate.
const WRONG_TIMES: &[&str] = &["mpg/mpeg2-b/1fps", "mpg/mpeg1/variable", "ogv/theora/variable"];

/// Whether the times of its frames may be wrong.
pub fn has_wrong_times(name: &str) -> bool {
    WRONG_TIMES.contains(&name)
}

/// Whether this error is right for the file.
pub fn is_refused(name: &str, error: &str) -> bool {
    REFUSED.iter().any(|(part, called)| name.contains(part) && error.contains(called))
}
