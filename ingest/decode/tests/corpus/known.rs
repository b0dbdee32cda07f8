//! Whole files that are refused, and why. docs/formats.md says the same.

/// Parts of names of files that GStreamer 1.22 cannot decode: an error that names the codec or the
/// format is right.
const REFUSED: &[&str] = &[];

pub fn is_refused(name: &str) -> bool {
    REFUSED.iter().any(|part| name.contains(part))
}
