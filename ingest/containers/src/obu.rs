//! AV1 as a raw stream of OBUs: AV1 specification, sections 5 and 7.5, "low-overhead" format.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use crate::contents::{Container, Contents, Fault, VideoTrack};

/// Enough for the headers of small OBUs.
const BUFFER: usize = 4096;

const TEMPORAL_DELIMITER: u8 = 2;
const SEQUENCE_HEADER: u8 = 1;

/// Whether a file that starts like this is such a stream: an empty temporal delimiter, and a
/// sequence header.
pub(crate) fn is_stream(start: &[u8]) -> bool {
    matches!(start, [0x12, 0x00, next, ..] if is_valid(*next) && kind(*next) == SEQUENCE_HEADER)
}

/// The temporal units of a stream: the bytes of each frame that is shown.
pub struct TemporalUnits {
    file: BufReader<File>,
    position: u64,
    length: u64,
    /// Where the unit that is not complete yet starts.
    start: u64,
    fault: Option<Fault>,
}

impl TemporalUnits {
    /// Reads the stream from the start of the file.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn new(mut file: File) -> io::Result<Self> {
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(0))?;
        let file = BufReader::with_capacity(BUFFER, file);
        Ok(Self { file, position: 0, length, start: 0, fault: None })
    }

    /// The bytes of the next unit; `None` at the end.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn next_unit(&mut self) -> io::Result<Option<Range<u64>>> {
        while self.fault.is_none() && self.position < self.length {
            let at = self.position;
            let Some((kind, end)) = self.obu()? else { break };
            let unit = self.start..at;
            if kind == TEMPORAL_DELIMITER {
                self.start = at;
            }
            self.file.seek_relative((end - self.position).cast_signed())?;
            self.position = end;
            if kind == TEMPORAL_DELIMITER && !unit.is_empty() {
                return Ok(Some(unit));
            }
        }
        let unit = self.start..self.position;
        self.start = self.length;
        self.position = self.length;
        Ok((!unit.is_empty() && unit.end <= self.length).then_some(unit))
    }

    /// Type and end of the next OBU. A broken one is a fault.
    fn obu(&mut self) -> io::Result<Option<(u8, u64)>> {
        let at = self.position;
        let missing = |missing| Some(Fault::Truncated { missing });
        let Some(header) = self.byte()? else { return Ok(None) };
        if !is_valid(header) {
            (self.fault, self.position) = (Some(Fault::Damaged { at }), at);
            return Ok(None);
        }
        if header & 0x04 != 0 && self.byte()?.is_none() {
            (self.fault, self.position) = (missing(1), at);
            return Ok(None);
        }
        let mut size: u64 = 0;
        for shift in (0..56).step_by(7) {
            let Some(byte) = self.byte()? else {
                (self.fault, self.position) = (missing(1), at);
                return Ok(None);
            };
            size |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let end = self.position.saturating_add(size);
                if end > self.length {
                    (self.fault, self.position) = (missing(end - self.length), at);
                    return Ok(None);
                }
                return Ok(Some((kind(header), end)));
            }
        }
        (self.fault, self.position) = (Some(Fault::Damaged { at }), at);
        Ok(None)
    }

    fn byte(&mut self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        loop {
            match self.file.read(&mut byte) {
                Ok(0) => return Ok(None),
                Ok(_) => {
                    self.position += 1;
                    return Ok(Some(byte[0]));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

pub(crate) fn inspect(file: &File) -> io::Result<Contents> {
    let mut units = TemporalUnits::new(file.try_clone()?)?;
    let mut frames = 0;
    while units.next_unit()?.is_some() {
        frames += 1;
    }
    let track = VideoTrack {
        number: 1,
        codec: Some("AV1"),
        is_default: true,
        frames: units.fault.is_none().then_some(frames),
        maybe_hidden: 0,
        is_packed: false,
        start: None,
    };
    Ok(Contents {
        container: Container::Obu,
        tracks: vec![track],
        faults: units.fault.into_iter().collect(),
        parts: Vec::new(),
        length: units.length,
    })
}

/// Whether it is the first byte of an OBU that declares its length.
fn is_valid(header: u8) -> bool {
    header & 0x82 == 0x02
}

fn kind(header: u8) -> u8 {
    header >> 3 & 0x0f
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Two units: the first with a sequence header and a frame, the second with a frame.
    const STREAM: [u8; 14] = [0x12, 0, 0x0a, 1, 9, 0x32, 2, 1, 2, 0x12, 0, 0x32, 1, 7];

    fn contents(bytes: &[u8]) -> Contents {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        inspect(&file).unwrap()
    }

    #[test]
    fn a_unit_reaches_to_the_next_delimiter() {
        assert!(is_stream(&STREAM));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&STREAM).unwrap();
        let mut units = TemporalUnits::new(file).unwrap();
        assert_eq!(units.next_unit().unwrap(), Some(0..9));
        assert_eq!(units.next_unit().unwrap(), Some(9..14));
        assert_eq!(units.next_unit().unwrap(), None);
        assert_eq!(contents(&STREAM).tracks[0].frames, Some(2));
    }

    #[test]
    fn a_stream_that_ends_early_or_is_broken_has_a_fault() {
        assert_eq!(contents(&STREAM[..13]).faults, [Fault::Truncated { missing: 1 }]);
        let mut broken = STREAM;
        broken[11] = 0xff;
        assert_eq!(contents(&broken).faults, [Fault::Damaged { at: 11 }]);
        for at in 0..STREAM.len() {
            for value in 0..=u8::MAX {
                let mut bytes = STREAM;
                bytes[at] = value;
                contents(&bytes);
            }
        }
    }
}
