//! Searches for the zeros of start codes.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Making one takes longer than most searches.
static PAIR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\0\0"));

/// Where two zeros lie, from a byte on, or else the end or a zero there.
pub(super) fn next_zeros(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + PAIR.find(rest).unwrap_or(rest.len() - usize::from(rest.ends_with(&[0])))
}
