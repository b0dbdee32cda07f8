//! Protobuf's wire format: <https://protobuf.dev/programming-guides/encoding/>.

use std::io::{BufReader, ErrorKind, Read, Seek};

use thiserror::Error;

/// The longest text that is read. Longer ones, such as embedded files, are skipped.
const MOST_TEXT: u64 = 4 << 20;

/// Why a file is not ONNX.
#[derive(Debug, Error)]
pub enum Malformed {
    /// It ends before what it announces.
    #[error("it is truncated: {missing} bytes are missing")]
    Truncated {
        /// How many.
        missing: u64,
    },
    /// It is not in protobuf's format.
    #[error("it is not ONNX: byte {at} cannot be read as protobuf")]
    NotProtobuf {
        /// Where.
        at: u64,
    },
    /// It holds no model.
    #[error("it is not ONNX: it has no graph")]
    NoGraph,
    /// It is larger than protobuf allows.
    #[error("it has {0} bytes, and an ONNX file has less than 2 GiB: store its weights beside it")]
    TooLarge(u64),
    /// The system cannot read it.
    #[error("{0}")]
    Io(std::io::Error),
}

/// The value of a field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    Number(u64),
    /// It extends from here to this offset.
    Bytes(u64),
}

type OnField<'a, R> = dyn FnMut(&mut Wire<R>, u64, Value) -> Result<(), Malformed> + 'a;

pub(crate) struct Wire<R> {
    reader: BufReader<R>,
    at: u64,
    length: u64,
}

impl<R: Read + Seek> Wire<R> {
    pub fn new(source: R, length: u64) -> Self {
        Self { reader: BufReader::new(source), at: 0, length }
    }

    /// Calls `on_field` with each field of the message that ends at `end`. What it leaves unread is
    /// skipped.
    pub fn fields(&mut self, end: u64, on_field: &mut OnField<'_, R>) -> Result<(), Malformed> {
        while self.at < end {
            let start = self.at;
            let malformed = Malformed::NotProtobuf { at: start };
            let key = self.varint(end)?;
            let number = key >> 3;
            if number == 0 {
                return Err(malformed);
            }
            let (value, next) = match key & 7 {
                0 => (Some(Value::Number(self.varint(end)?)), self.at),
                1 => (None, self.at + 8),
                2 => {
                    let length = self.varint(end)?;
                    let next = self.at.checked_add(length).ok_or(malformed)?;
                    if next > self.length {
                        return Err(Malformed::Truncated { missing: next - self.length });
                    }
                    (Some(Value::Bytes(next)), next)
                }
                5 => (None, self.at + 4),
                _ => return Err(malformed),
            };
            if next > end {
                return Err(Malformed::NotProtobuf { at: start });
            }
            if let Some(value) = value {
                on_field(self, number, value)?;
            }
            self.skip_to(next)?;
        }
        Ok(())
    }

    /// The text from here to `end`; empty if it is too long to be one.
    pub fn text(&mut self, end: u64) -> Result<String, Malformed> {
        let length = end.saturating_sub(self.at);
        if length > MOST_TEXT {
            return Ok(String::new());
        }
        let mut bytes = Vec::new();
        self.reader.by_ref().take(length).read_to_end(&mut bytes).map_err(Malformed::Io)?;
        self.at += bytes.len() as u64;
        if self.at < end {
            return Err(Malformed::Truncated { missing: end - self.at });
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn skip_to(&mut self, offset: u64) -> Result<(), Malformed> {
        let distance = offset.saturating_sub(self.at);
        let distance = i64::try_from(distance).unwrap_or(i64::MAX);
        self.reader.seek_relative(distance).map_err(Malformed::Io)?;
        self.at = self.at.max(offset);
        Ok(())
    }

    fn varint(&mut self, end: u64) -> Result<u64, Malformed> {
        let start = self.at;
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            if self.at >= end {
                return Err(if end == self.length {
                    Malformed::Truncated { missing: 1 }
                } else {
                    Malformed::NotProtobuf { at: start }
                });
            }
            let mut byte = [0];
            self.reader.read_exact(&mut byte).map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => Malformed::Truncated { missing: end - self.at },
                _ => Malformed::Io(error),
            })?;
            self.at += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed::NotProtobuf { at: start })
    }
}
