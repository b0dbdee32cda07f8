//! Searches for the zeros of start codes.

/// Where two zeros lie that a 0 or a 1 may follow, from a byte on, or else the end or a zero there.
pub(super) fn next_zeros(bytes: &[u8], mut at: usize) -> usize {
    while let Some([first, second, third]) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        match (first, second, third) {
            (_, _, 2..) => at += 3,
            (_, 1.., _) => at += 2,
            (1.., _, _) => at += 1,
            _ => return at,
        }
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len())
}
