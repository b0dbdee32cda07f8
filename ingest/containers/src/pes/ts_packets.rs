//! Finds the packets of a transport stream, also in M2TS (192 bytes) and with parity (204 bytes).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

pub(super) const PACKET: usize = 188;
const SYNC: u8 = 0x47;
/// Bytes from one packet to the next.
const STRIDES: [usize; 3] = [188, 192, 204];
/// How much of a file may precede the first packet.
const SEARCH: usize = 64 << 10;
/// Sync bytes in a row that make a transport stream.
const CONFIRMATIONS: usize = 6;
const BLOCK: usize = 1 << 20;

/// Starts of files in other formats, which may contain a transport stream or resemble one.
const OTHERS: [(usize, &[u8]); 8] = [
    (0, b"RIFF"),
    (0, b"FLV"),
    (0, b"OggS"),
    (0, &[0x1a, 0x45, 0xdf, 0xa3]),
    (0, &[0x30, 0x26, 0xb2, 0x75]),
    (4, b"ftyp"),
    (4, b"moov"),
    (4, b"mdat"),
];

/// Whether a file that starts with these bytes is in another format.
pub(super) fn is_other(head: &[u8]) -> bool {
    OTHERS.iter().any(|(at, magic)| head.get(*at..).is_some_and(|at| at.starts_with(magic)))
}

/// Where the first sync byte is, and how far it is from there to the next one.
pub(super) fn find(file: &mut File) -> io::Result<Option<(u64, usize)>> {
    let mut head = Vec::new();
    file.rewind()?;
    file.take((SEARCH + CONFIRMATIONS * 204) as u64).read_to_end(&mut head)?;
    if is_other(&head) {
        return Ok(None);
    }
    let found = (0..head.len().min(SEARCH))
        .filter(|first| head[*first] == SYNC)
        .find_map(|first| Some((first as u64, stride(&head[first..])?)));
    Ok(found)
}

/// The stride of sync bytes from the first byte on, which is one.
fn stride(data: &[u8]) -> Option<usize> {
    STRIDES.into_iter().find(|stride| {
        let mut syncs = data.iter().step_by(*stride).take(CONFIRMATIONS);
        // A short file need not have as many.
        data.len() > 2 * stride && syncs.all(|byte| *byte == SYNC)
    })
}

/// Reads packets in large blocks.
pub(super) struct TsPackets {
    file: File,
    stride: usize,
    block: Vec<u8>,
    /// Where the block lies in the file.
    start: u64,
    /// Where the next packet lies in the block.
    at: usize,
    is_last_block: bool,
    is_truncated: bool,
}

impl TsPackets {
    pub(super) fn new(mut file: File, first: u64, stride: usize) -> io::Result<Self> {
        file.seek(SeekFrom::Start(first))?;
        Ok(Self {
            file,
            stride,
            block: Vec::new(),
            start: first,
            at: 0,
            is_last_block: false,
            is_truncated: false,
        })
    }

    /// Whether the file ends within a packet. Known after the last one.
    pub(super) fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// The next packet, and where it lies in the file. Damaged ones, without a sync byte, are
    /// skipped.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, &[u8; PACKET])>> {
        loop {
            // Enough for the packet, and to confirm that another one follows.
            if self.at + 3 * self.stride > self.block.len() && !self.is_last_block {
                self.read()?;
            }
            if self.at >= self.block.len() {
                return Ok(None);
            }
            if self.block[self.at] != SYNC {
                self.resynchronize();
                continue;
            }
            if self.block.len() - self.at < PACKET {
                self.is_truncated = true;
                return Ok(None);
            }
            let (at, place) = (self.at, self.start + self.at as u64);
            self.at = (at + self.stride).min(self.block.len().max(at + PACKET));
            let packet = self.block[at..at + PACKET].first_chunk::<PACKET>();
            return Ok(packet.map(|packet| (place, packet)));
        }
    }

    /// Skips a damaged packet, or else what is between here and the next packets.
    fn resynchronize(&mut self) {
        let is_sync = |at: usize| self.block.get(at).is_none_or(|byte| *byte == SYNC);
        let is_start =
            |at: &usize| is_sync(*at) && is_sync(at + self.stride) && is_sync(at + 2 * self.stride);
        let end = if self.is_last_block {
            self.block.len()
        } else {
            self.block.len().saturating_sub(2 * self.stride)
        };
        let next = self.at + self.stride;
        self.at = if next < self.block.len() && is_start(&next) {
            next
        } else {
            (self.at + 1..end).find(is_start).unwrap_or(end.max(self.at + 1))
        };
    }

    fn read(&mut self) -> io::Result<()> {
        let rest = self.at.min(self.block.len());
        self.block.drain(..rest);
        self.start += rest as u64;
        self.at -= rest;
        let wanted = BLOCK + 3 * self.stride;
        let missing = wanted.saturating_sub(self.block.len());
        let read = (&mut self.file).take(missing as u64).read_to_end(&mut self.block)?;
        self.is_last_block = read < missing;
        Ok(())
    }
}

/// A packet of a transport stream (ISO/IEC 13818-1, 2.4.3.2).
#[derive(Clone, Copy)]
pub(super) struct TsPacket<'a>(pub(super) &'a [u8; PACKET]);

impl<'a> TsPacket<'a> {
    pub(super) fn pid(self) -> u16 {
        u16::from(self.0[1] & 0x1f) << 8 | u16::from(self.0[2])
    }

    pub(super) fn is_damaged(self) -> bool {
        self.0[1] & 0x80 != 0
    }

    /// Whether a PES packet or a section starts in it.
    pub(super) fn is_start(self) -> bool {
        self.0[1] & 0x40 != 0
    }

    pub(super) fn counter(self) -> u8 {
        self.0[3] & 0x0f
    }

    pub(super) fn is_scrambled(self) -> bool {
        self.0[3] & 0xc0 != 0
    }

    fn has_discontinuity(self) -> bool {
        self.0[3] & 0x20 != 0 && self.0[4] > 0 && self.0[5] & 0x80 != 0
    }

    /// `None` if it has no payload.
    pub(super) fn payload(self) -> Option<&'a [u8]> {
        let from = if self.0[3] & 0x20 == 0 { 4 } else { 5 + usize::from(self.0[4]) };
        (self.0[3] & 0x10 != 0).then(|| self.0.get(from..).unwrap_or_default())
    }
}

/// The continuity counter of one stream.
#[derive(Clone)]
pub(super) struct Continuity {
    last: Option<[u8; PACKET]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    Next,
    /// It is the last packet once more.
    Repeated,
    /// Packets are missing before it.
    Gap,
}

impl Continuity {
    pub(super) const fn new() -> Self {
        Self { last: None }
    }

    /// How a packet follows the one before. Those without a payload are not counted.
    pub(super) fn follow(&mut self, packet: TsPacket<'_>) -> Follows {
        if packet.payload().is_none() {
            self.last = self.last.filter(|_| !packet.has_discontinuity());
            return Follows::Next;
        }
        let Some(last) = self.last.replace(*packet.0) else { return Follows::Next };
        let before = TsPacket(&last);
        if packet.counter() == (before.counter() + 1) & 0x0f || packet.has_discontinuity() {
            Follows::Next
        } else if packet.counter() == before.counter() && packet.payload() == before.payload() {
            Follows::Repeated
        } else {
            Follows::Gap
        }
    }
}
