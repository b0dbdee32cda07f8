//! Elements of EBML (RFC 8794): an identifier, a length, and data.

use std::io;

use crate::reader::Reader;

/// The start of an element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element {
    pub(super) id: u32,
    /// Where its identifier starts.
    pub(super) start: u64,
    /// Where its data starts.
    pub(super) data: u64,
    /// Where it ends; `None` if it declares no length.
    pub(super) end: Option<u64>,
}

impl Reader<'_> {
    /// The next element; `None` if there is none here: the file ends, or is damaged.
    pub(super) fn element(&mut self) -> io::Result<Option<Element>> {
        let start = self.position();
        let Some(id) = self.id()? else { return Ok(None) };
        let Some((size, is_unknown)) = self.number()? else { return Ok(None) };
        let data = self.position();
        let end = if is_unknown {
            None
        } else {
            match data.checked_add(size) {
                Some(end) => Some(end),
                None => return Ok(None),
            }
        };
        Ok(Some(Element { id, start, data, end }))
    }

    /// An identifier of 1 to 4 bytes, with its length marker.
    fn id(&mut self) -> io::Result<Option<u32>> {
        let Some(first) = self.byte()? else { return Ok(None) };
        let more = first.leading_zeros();
        if more > 3 {
            return Ok(None);
        }
        let mut id = u32::from(first);
        for _ in 0..more {
            let Some(byte) = self.byte()? else { return Ok(None) };
            id = id << 8 | u32::from(byte);
        }
        Ok(Some(id))
    }

    /// A number of 1 to 8 bytes without its length marker, and whether all its bits are set, which
    /// means "unknown" for a length.
    pub(super) fn number(&mut self) -> io::Result<Option<(u64, bool)>> {
        let Some(first) = self.byte()? else { return Ok(None) };
        let more = first.leading_zeros();
        if more > 7 {
            return Ok(None);
        }
        let mut number = u64::from(first) & (0x7f >> more);
        for _ in 0..more {
            let Some(byte) = self.byte()? else { return Ok(None) };
            number = number << 8 | u64::from(byte);
        }
        let all = (1_u64 << (7 * (more + 1))) - 1;
        Ok(Some((number, number == all)))
    }

    /// The data of an element as a big-endian number of up to 8 bytes.
    pub(super) fn unsigned(&mut self, element: &Element) -> io::Result<Option<u64>> {
        let Some(size) = element.end.map(|end| end - element.data).filter(|size| *size <= 8) else {
            return Ok(None);
        };
        let mut number = 0;
        for _ in 0..size {
            let Some(byte) = self.byte()? else { return Ok(None) };
            number = number << 8 | u64::from(byte);
        }
        Ok(Some(number))
    }

    /// The data of an element as text of up to 32 bytes.
    pub(super) fn text(&mut self, element: &Element) -> io::Result<Option<String>> {
        let Some(size) = element.end.map(|end| end - element.data).filter(|size| *size <= 32)
        else {
            return Ok(None);
        };
        let mut bytes = [0; 32];
        let Some(bytes) = usize::try_from(size).ok().and_then(|size| bytes.get_mut(..size)) else {
            return Ok(None);
        };
        if self.fill(bytes)? < bytes.len() {
            return Ok(None);
        }
        Ok(String::from_utf8(bytes.to_vec()).ok())
    }
}
