//! Whole files that are refused. docs/formats.md says the same.

/// Parts of names of files that GStreamer 1.22 cannot decode, and what the error calls them.
const REFUSED: &[(&str, &str)] = &[("nut/", "NUT"), ("/utvideo", "Ut Video")];

/// Whether this error is right for the file.
pub fn is_refused(name: &str, error: &str) -> bool {
    REFUSED.iter().any(|(part, called)| name.contains(part) && error.contains(called))
}
