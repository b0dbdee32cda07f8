//! Finds elements of a single track.

use std::fs::File;
use std::io;
use std::ops::Range;

use super::ebml::Element;
use super::{EBML, SEGMENT, TRACK_ENTRY, TRACK_TYPE, TRACKS, VIDEO_TYPE};
use crate::reader::Reader;

/// Elements that are read; in a file with more, nothing is found.
const MOST_ELEMENTS: usize = 10_000;

pub(super) struct Search<'a> {
    reader: Reader<'a>,
    budget: usize,
}

impl<'a> Search<'a> {
    /// Finds the entry of a video track, whose number counts the video tracks from 1, and where its
    /// data lies.
    pub(super) fn track(file: &'a mut File, number: u32) -> io::Result<Option<(Self, Range<u64>)>> {
        let mut search = Self { reader: Reader::new(file)?, budget: MOST_ELEMENTS };
        match search.reader.element()? {
            Some(Element { id: EBML, end: Some(end), .. }) => search.reader.go_to(end)?,
            _ => return Ok(None),
        }
        let Some(segment) = search.child(u64::MAX, SEGMENT)? else { return Ok(None) };
        let end = segment.end.unwrap_or(u64::MAX);
        let Some(tracks) = search.child(end, TRACKS)? else { return Ok(None) };
        let end = tracks.end.unwrap_or(u64::MAX);
        let mut before = number;
        while let Some(entry) = search.child(end, TRACK_ENTRY)? {
            let data = entry.data..entry.end.unwrap_or(end);
            if search.unsigned(data.clone(), TRACK_TYPE)? == Some(VIDEO_TYPE) {
                before = before.saturating_sub(1);
                if before == 0 {
                    return Ok(Some((search, data)));
                }
            }
            search.reader.go_to(data.end)?;
        }
        Ok(None)
    }

    /// Where the data of the first element with this identifier lies, among those in `parent`.
    pub(super) fn within(&mut self, parent: Range<u64>, id: u32) -> io::Result<Option<Range<u64>>> {
        self.reader.go_to(parent.start)?;
        let found = self.child(parent.end, id)?;
        Ok(found.map(|element| element.data..element.end.unwrap_or(parent.end)))
    }

    /// The data of such an element, unless there are more than `most` bytes.
    pub(super) fn bytes(
        &mut self,
        parent: Range<u64>,
        id: u32,
        most: u64,
    ) -> io::Result<Option<Vec<u8>>> {
        let Some(data) = self.within(parent, id)? else { return Ok(None) };
        let size = data.end.saturating_sub(data.start);
        if size > most || data.end > self.reader.length() {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        let filled = self.reader.fill(&mut bytes)?;
        Ok((filled == bytes.len()).then_some(bytes))
    }

    /// The number in such an element.
    pub(super) fn unsigned(&mut self, parent: Range<u64>, id: u32) -> io::Result<Option<u64>> {
        let bytes = self.bytes(parent, id, 8)?;
        let number = |bytes: Vec<u8>| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Ok(bytes.map(number))
    }

    /// The next element before `end` with this identifier. The reader is then at its data.
    fn child(&mut self, end: u64, id: u32) -> io::Result<Option<Element>> {
        while self.reader.position() < end.min(self.reader.length()) {
            let Some(left) = self.budget.checked_sub(1) else { return Ok(None) };
            self.budget = left;
            match self.reader.element()? {
                Some(element) if element.id == id => return Ok(Some(element)),
                Some(Element { end: Some(end), .. }) => self.reader.go_to(end)?,
                _ => return Ok(None),
            }
        }
        Ok(None)
    }
}
