//! Boxes in memory.

/// A box's type, and its content.
pub(crate) type Box<'a> = ([u8; 4], &'a [u8]);

/// The boxes in `content`, up to the first whose length makes no sense. One that is longer than
/// what is left ends where the content ends.
pub(crate) fn boxes(content: &[u8]) -> impl Iterator<Item = Box<'_>> {
    let mut rest = content;
    std::iter::from_fn(move || {
        let head = Head::parse(rest)?;
        let length = match head.length {
            0 => rest.len(),
            length => usize::try_from(length).unwrap_or(usize::MAX).min(rest.len()),
        };
        let content = rest.get(head.size..length)?;
        rest = &rest[length..];
        Some((head.kind, content))
    })
}

/// The content of the first box of this type.
pub(crate) fn find<'a>(content: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(content).find(|(found, _)| found == kind).map(|(_, content)| content)
}

/// The content at the end of a path of boxes.
pub(super) fn find_in<'a>(content: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter().try_fold(content, |content, kind| find(content, kind))
}

/// The start of a box.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) kind: [u8; 4],
    /// Bytes of the head itself.
    pub(super) size: usize,
    /// Bytes of the whole box; 0 if it lasts to the end.
    pub(super) length: u64,
}

impl Head {
    pub(super) const MOST: usize = 16;

    /// `None` if there is no whole head, or its length is shorter than the head.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let kind = *bytes.get(4..8)?.first_chunk()?;
        let (size, length) = match u32_at(bytes, 0)? {
            1 => (16, u64_at(bytes, 8)?),
            length => (8, u64::from(length)),
        };
        let is_sound = length >= size as u64 || (length == 0 && size == 8);
        is_sound.then_some(Self { kind, size, length })
    }
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The entries of a table that starts with their number at `at`: as many as are really there.
pub(super) fn entries(table: &[u8], at: usize, size: usize) -> std::slice::ChunksExact<'_, u8> {
    let count = u32_at(table, at).map_or(0, |count| count as usize);
    let all = table.get(at + 4..).unwrap_or_default();
    let claimed = count.saturating_mul(size).min(all.len());
    all[..claimed].chunks_exact(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_ends_with_its_content_at_the_latest() {
        let content =
            [0, 0, 0, 9, b'a', b'b', b'c', b'd', 7, 0, 0, 1, 0, b'e', b'f', b'g', b'h', 5];
        let found: Vec<_> = boxes(&content).collect();
        assert_eq!(found, [(*b"abcd", &[7u8][..]), (*b"efgh", &[5][..])]);
    }

    #[test]
    fn a_length_that_makes_no_sense_ends_the_list() {
        assert_eq!(boxes(&[0, 0, 0, 3, b'a', b'b', b'c', b'd', 1, 2]).count(), 0);
        assert_eq!(boxes(&[0, 0, 0, 1, b'a', b'b', b'c', b'd', 0, 0]).count(), 0);
    }

    #[test]
    fn a_table_has_the_entries_that_are_there() {
        assert_eq!(entries(&[255, 255, 255, 255, 1, 2, 3, 4, 5], 0, 2).count(), 2);
        assert_eq!(entries(&[0, 0, 0, 1, 1, 2, 3, 4], 0, 2).count(), 1);
        assert_eq!(entries(&[0, 0], 0, 2).count(), 0);
    }
}
