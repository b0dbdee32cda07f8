//! Searches for the zeros of start codes.

use memchr::memmem;

/// Where two zeros lie, from a byte on, or else the end or a zero there.
pub(super) fn next_zeros(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let pair = memmem::find(rest, &[0, 0]);
    at + pair.unwrap_or(rest.len() - usize::from(rest.ends_with(&[0])))
}
