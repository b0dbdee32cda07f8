use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

/// Enough for the headers of several small blocks, little to read in vain before a large one.
const BUFFER: usize = 4096;

/// Reads a file from front to back, and skips what is not needed.
pub(crate) struct Reader<'a> {
    file: BufReader<&'a mut File>,
    position: u64,
    length: u64,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(file: &'a mut File) -> io::Result<Self> {
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { file: BufReader::with_capacity(BUFFER, file), position: 0, length })
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Moves to a position, at most to the end of the file.
    pub(crate) fn go_to(&mut self, position: u64) -> io::Result<()> {
        let position = position.min(self.length);
        // Both are at most a file's length, which fits i64.
        let distance = position.cast_signed() - self.position.cast_signed();
        self.file.seek_relative(distance)?;
        self.position = position;
        Ok(())
    }

    /// The next byte; `None` at the end of the file.
    pub(crate) fn byte(&mut self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        Ok((self.fill(&mut byte)? == 1).then_some(byte[0]))
    }

    /// Reads as many bytes as there are, and returns how many.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.file.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.position += filled as u64;
        Ok(filled)
    }
}
