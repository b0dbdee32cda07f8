//! Boxes, and the numbers in them (14496-12, 4.2).

/// A cursor over bytes that may end anywhere.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take(2).and_then(|bytes| Some(u16::from_be_bytes(bytes.try_into().ok()?)))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take(4).and_then(|bytes| Some(u32::from_be_bytes(bytes.try_into().ok()?)))
    }

    /// A number of up to eight bytes, which are 0 for none.
    pub(super) fn number(&mut self, length: u8) -> Option<u64> {
        let bytes = self.take(usize::from(length.min(8)))?;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// An item's number, whose length depends on a version.
    pub(super) fn id(&mut self, is_long: bool) -> Option<u32> {
        if is_long { self.u32() } else { self.u16().map(u32::from) }
    }

    /// The version and the flags of a box.
    pub(super) fn version(&mut self) -> Option<(u8, u32)> {
        let word = self.u32()?;
        Some(((word >> 24) as u8, word & 0xff_ffff))
    }
}

/// The start of a box.
pub(super) struct Header {
    pub(super) kind: [u8; 4],
    /// With the header; 0 means up to the end of what it is in.
    pub(super) size: u64,
    pub(super) header: u64,
}

pub(super) fn header(data: &[u8]) -> Option<Header> {
    let mut bytes = Bytes(data);
    let size = u64::from(bytes.u32()?);
    let kind = bytes.take(4)?.try_into().ok()?;
    match size {
        1 => Some(Header { kind, size: bytes.number(8)?.max(16), header: 16 }),
        0 => Some(Header { kind, size: 0, header: 8 }),
        size => Some(Header { kind, size: size.max(8), header: 8 }),
    }
}

/// A box in memory.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) kind: [u8; 4],
    /// Where its data begins.
    pub(super) offset: usize,
    /// What is there of it.
    pub(super) data: &'a [u8],
}

/// The boxes that follow each other in `data`. The last one may be truncated.
pub(super) fn boxes(data: &[u8]) -> impl Iterator<Item = Found<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = data.get(at..)?;
        let found = header(rest)?;
        let whole = rest.len();
        let size = match usize::try_from(found.size) {
            Ok(0) | Err(_) => whole,
            Ok(size) => size.min(whole),
        };
        let start = usize::try_from(found.header).ok()?;
        let inside = rest.get(start..size.max(start))?;
        let offset = at + start;
        at += size.max(start);
        Some(Found { kind: found.kind, offset, data: inside })
    })
}
