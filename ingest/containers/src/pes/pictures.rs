//! Counts the pictures of an elementary stream, and notices which of them are damaged.

use super::PesCodec;
use super::clock::Times;
use super::gaps::{Absent, Gaps, Join};
use super::mpeg2::{Group, TimeCodes};
use super::numbers::{Numbered, Parameters, slice_type};
use super::zeros::next_zeros;

/// Bytes after a start code that are enough to read its header.
const HEADER: usize = 64;
/// Zeros in a row that no whole MPEG video holds, except before a start code.
const ZEROS: usize = 3;
/// MPEG-4 pictures with fewer bytes repeat the one before.
const SHORTEST: u64 = 10;

/// How many pictures a video has. Two fields of MPEG-2 are one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PictureCount {
    /// All of them.
    pub pictures: u64,
    /// Those before the first one that can be decoded by itself.
    pub before_key: u64,
    /// Those that follow it, are shown before it and need earlier ones.
    pub leading: u64,
    /// Films of HEVC that follow another one without saying so. Some of their pictures look like
    /// those before, and decoders drop them.
    pub joins: u64,
    /// Those that are missing or were never recorded: their times are passed over, and nothing else
    /// shows which.
    pub passed_over: u64,
    /// Places in which the stream is damaged.
    pub(super) damaged: u64,
    /// Pictures whose numbers are passed over.
    pub(super) missing: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Key,
    /// It needs an earlier one.
    Other,
    /// It may be shown before the one that it follows.
    Between,
}

/// Reads an elementary stream as it comes.
#[derive(Clone, Debug)]
pub(super) struct Pictures {
    codec: PesCodec,
    /// The end of what was pushed: a header may continue.
    rest: Vec<u8>,
    count: PictureCount,
    has_parameters: bool,
    key: Option<Key>,
    /// Whether the last picture is a field without the other one.
    has_field: bool,
    /// Zeros before the next byte that is examined.
    zeros: usize,
    mpeg2: Mpeg2,
    parameters: Parameters,
    gaps: Gaps,
    /// When the first picture that starts from this byte on is decoded and shown.
    times: Option<(u64, Times)>,
    /// Bytes that were read.
    position: u64,
    /// Where the last picture of MPEG-4 starts.
    last: Option<u64>,
    /// Whether another film begins with the last picture.
    is_joined: bool,
}

#[derive(Clone, Copy, Debug)]
struct Key {
    /// Whether pictures that are shown before it may still follow.
    is_open: bool,
}

/// What MPEG-1 and MPEG-2 say of the picture and group that are being read.
#[derive(Clone, Debug, Default)]
struct Mpeg2 {
    rows: u16,
    has_extension: bool,
    is_closed_group: bool,
    picture: Option<Picture>,
    group: Option<Group>,
    codes: TimeCodes,
    is_after_group: bool,
    needs_picture: bool,
}

#[derive(Clone, Copy, Debug)]
struct Picture {
    kind: Kind,
    number: u16,
    is_field: bool,
    row: u16,
    is_broken: bool,
    times: Option<Times>,
}

impl Pictures {
    pub(super) fn new(codec: PesCodec) -> Self {
        Self {
            codec,
            rest: Vec::new(),
            count: PictureCount::default(),
            has_parameters: false,
            key: None,
            has_field: false,
            zeros: 0,
            mpeg2: Mpeg2::default(),
            parameters: Parameters::default(),
            gaps: Gaps::default(),
            times: None,
            position: 0,
            last: None,
            is_joined: false,
        }
    }

    /// When the first picture that starts in what is pushed next is decoded and shown.
    pub(super) fn set_times(&mut self, times: Option<Times>) {
        let position = self.position + self.rest.len() as u64;
        self.times = times.map(|times| (position, times)).or(self.times);
        self.is_joined = false;
    }

    /// When a picture that starts here is decoded and shown.
    fn take_times(&mut self, position: u64) -> Option<Times> {
        self.times.take_if(|(from, _)| *from <= position).map(|(_, times)| times)
    }

    pub(super) fn push(&mut self, data: &[u8]) {
        let mut bytes = std::mem::take(&mut self.rest);
        let Some(last) = data.len().checked_sub(HEADER) else {
            bytes.extend_from_slice(data);
            let end = bytes.len().saturating_sub(HEADER);
            self.read(&bytes, end);
            bytes.drain(..end);
            self.rest = bytes;
            return;
        };
        let end = bytes.len();
        bytes.extend_from_slice(&data[..HEADER]);
        self.read(&bytes, end);
        self.read(data, last);
        bytes.clear();
        bytes.extend_from_slice(&data[last..]);
        self.rest = bytes;
    }

    pub(super) fn finish(mut self) -> PictureCount {
        let bytes = std::mem::take(&mut self.rest);
        self.read(&bytes, bytes.len());
        // A recording may end anywhere, and so in a picture.
        let damaged = self.count.damaged;
        self.end_picture();
        let in_group = self.mpeg2.group.take().map_or(0, |group| group.missing_so_far());
        let known = (self.count.missing + in_group).max(self.mpeg2.codes.missing());
        let Absent { missing, passed_over } = self.gaps.absent(known);
        PictureCount { damaged, missing, passed_over, ..self.count }
    }

    /// Examines the bytes before `end`.
    fn read(&mut self, bytes: &[u8], end: usize) {
        let mut at = 0;
        while at < end {
            // Where nothing can start, most bytes are passed over.
            if self.zeros == 0 {
                at = next_zeros(&bytes[..end], at);
                if at == end {
                    break;
                }
            }
            match bytes[at] {
                0 => self.zeros += 1,
                byte => {
                    let zeros = std::mem::take(&mut self.zeros);
                    if byte == 1 && zeros >= 2 {
                        let position = self.position + at as u64;
                        let header = bytes.get(at + 1..).unwrap_or_default();
                        self.start_code(&header[..header.len().min(HEADER)], position);
                    } else if zeros >= ZEROS && self.codec == PesCodec::Mpeg2 {
                        self.count.damaged += u64::from(self.count.pictures > 0);
                    }
                }
            }
            at += 1;
        }
        self.position += end as u64;
    }

    fn start_code(&mut self, header: &[u8], position: u64) {
        let [code, after @ ..] = header else { return };
        match self.codec {
            PesCodec::Mpeg2 => self.mpeg2(*code, after, position),
            PesCodec::Mpeg4 => {
                let is_repeat = self.last.take().is_some_and(|last| position - last < SHORTEST);
                self.count.pictures -= u64::from(is_repeat);
                match (code, after) {
                    (0x20..=0x2f, _) => self.has_parameters = true,
                    (0xb6, [kind, ..]) => {
                        self.last = Some(position);
                        let kind = match kind >> 6 {
                            0 => Kind::Key,
                            2 => Kind::Between,
                            _ => Kind::Other,
                        };
                        self.picture(kind, true);
                        let times = self.take_times(position);
                        self.gaps.add(kind == Kind::Key, None, times);
                    }
                    _ => {}
                }
            }
            PesCodec::H264 => match (code & 0x1f, after) {
                (7, _) => {
                    self.has_parameters = true;
                    _ = self.parameters.add_h264(after);
                }
                (8, _) => _ = self.parameters.add_picture(after, false),
                // The first macroblock of the picture.
                (unit @ (1 | 2 | 5), [slice, ..]) if slice & 0x80 != 0 => {
                    let kind = match slice_type(after) {
                        _ if unit == 5 => Kind::Key,
                        Some(2 | 4 | 7 | 9) => Kind::Key,
                        Some(1 | 6) => Kind::Between,
                        _ => Kind::Other,
                    };
                    self.picture(kind, unit != 5);
                    let numbered = self.parameters.h264(*code, after);
                    self.follow(kind, numbered, position);
                }
                _ => {}
            },
            PesCodec::Hevc => match (code >> 1 & 0x3f, after) {
                (33, [_, set @ ..]) => {
                    self.has_parameters = true;
                    _ = self.parameters.add_hevc(set);
                }
                (34, [_, set @ ..]) => _ = self.parameters.add_picture(set, true),
                (unit @ 0..=31, [layer, data @ ..])
                    if data.first().is_some_and(|b| b & 0x80 != 0) =>
                {
                    // Pictures of other layers are not shown.
                    if code & 1 != 0 || layer >> 3 != 0 {
                        return;
                    }
                    let kind = match unit {
                        16..=23 => Kind::Key,
                        6..=9 => Kind::Between,
                        _ => Kind::Other,
                    };
                    self.picture(kind, !matches!(unit, 19 | 20));
                    let numbered = self.parameters.hevc(unit, layer & 7, data);
                    self.follow(kind, numbered, position);
                }
                _ => {}
            },
        }
    }

    /// Compares the numbers and the time of a picture of H.264 or HEVC with those before.
    fn follow(&mut self, kind: Kind, numbered: Option<Numbered>, position: u64) {
        let times = self.take_times(position);
        self.is_joined = false;
        let is_key = numbered.map_or(kind == Kind::Key, |numbered| numbered.is_key);
        let join = self.gaps.add(is_key, numbered.as_ref(), times);
        match (join, self.codec) {
            (Join::Film, PesCodec::Hevc) => self.count.joins += 1,
            (Join::Film, _) => self.is_joined = true,
            _ => {}
        }
        if let Some(key) = &mut self.key {
            key.is_open |= join != Join::None;
        }
    }

    /// If another film begins with the last picture, counts anew from it on, and returns those before.
    pub(super) fn split(&mut self) -> Option<PictureCount> {
        if !std::mem::take(&mut self.is_joined) || self.key.is_none() {
            return None;
        }
        let before = PictureCount { pictures: self.count.pictures - 1, ..self.count };
        self.count = PictureCount { pictures: 1, ..PictureCount::default() };
        Some(before)
    }

    fn picture(&mut self, kind: Kind, is_open: bool) {
        let count = &mut self.count;
        count.pictures += 1;
        match (&mut self.key, kind) {
            (key @ None, Kind::Key) if self.has_parameters => *key = Some(Key { is_open }),
            (None, _) => count.before_key += 1,
            (Some(Key { is_open: true }), Kind::Between) => count.leading += 1,
            (Some(key), _) => key.is_open = false,
        }
    }

    /// ISO/IEC 13818-2, 6.2.
    fn mpeg2(&mut self, code: u8, after: &[u8], position: u64) {
        match (code, after) {
            (0x01..=0xaf, _) => self.slice(code),
            (0x00, &[high, low, ..]) => {
                self.end_picture();
                let kind = match low >> 3 & 7 {
                    1 => Kind::Key,
                    2 | 4 => Kind::Other,
                    3 => Kind::Between,
                    _ => {
                        self.count.damaged += 1;
                        Kind::Other
                    }
                };
                let number = u16::from(high) << 2 | u16::from(low >> 6);
                let times = self.take_times(position);
                let (is_field, row, is_broken) = (false, 0, false);
                let picture = Picture { kind, number, is_field, row, is_broken, times };
                self.mpeg2.picture = Some(picture);
                self.mpeg2.needs_picture = false;
            }
            (0xb5, &[kind, _, structure, ..]) => match (kind >> 4, &mut self.mpeg2.picture) {
                (8, Some(picture)) if picture.row == 0 => {
                    picture.is_field = structure & 3 != 3;
                }
                (1, _) => self.mpeg2.has_extension = true,
                _ => {}
            },
            (0xb3, &[_, low, lower, rate, ..]) => {
                self.end_picture();
                self.mpeg2.codes.set_rate(rate & 0x0f);
                let height = u16::from(low & 0x0f) << 8 | u16::from(lower);
                self.mpeg2.rows = height.div_ceil(16);
                self.mpeg2.has_extension = false;
                self.mpeg2.needs_picture = true;
                self.has_parameters = true;
            }
            (0xb8, &[hours, minutes, seconds, flags, ..]) => {
                self.end_picture();
                self.end_group();
                self.mpeg2.codes.set([hours, minutes, seconds, flags]);
                self.mpeg2.is_closed_group = flags & 0x40 != 0;
                self.mpeg2.is_after_group = true;
                self.mpeg2.needs_picture = true;
            }
            // Reserved, or the mark of an error, or of a system stream.
            (0xb0 | 0xb1 | 0xb4 | 0xb6 | 0xb9.., _) => self.count.damaged += 1,
            (0xb7, _) => {
                self.end_picture();
                self.mpeg2.group = None;
            }
            _ => {}
        }
    }

    fn slice(&mut self, row: u8) {
        let row = u16::from(row);
        let has_extension = self.mpeg2.has_extension;
        let is_tall = self.mpeg2.rows > 0xaf;
        match &mut self.mpeg2.picture {
            Some(picture) if !is_tall => {
                // In MPEG-1, a slice may have several rows.
                let follows = row == picture.row || row == picture.row + 1;
                let is_later = row >= picture.row.max(1) && (picture.row > 0 || row == 1);
                picture.is_broken |= if has_extension { !follows } else { !is_later };
                picture.row = row;
            }
            Some(picture) => picture.row = row,
            // What precedes the first header is not counted.
            None if self.count.pictures > 0 && self.mpeg2.needs_picture => {
                self.mpeg2.needs_picture = false;
                self.count.damaged += 1;
            }
            None => {}
        }
    }

    fn end_picture(&mut self) {
        let Some(picture) = self.mpeg2.picture.take() else { return };
        let Mpeg2 { rows, has_extension, is_closed_group, .. } = self.mpeg2;
        let expected = if picture.is_field { rows / 2 } else { rows };
        let lacks_rows = has_extension && rows <= 0xaf && picture.row < expected;
        self.count.damaged += u64::from(picture.is_broken || lacks_rows || picture.row == 0);
        let is_second = picture.is_field && self.has_field;
        self.has_field = picture.is_field && !is_second;
        if is_second {
            return;
        }
        self.picture(picture.kind, !is_closed_group);
        self.gaps.add(picture.kind == Kind::Key, None, picture.times);
        let is_after_group = std::mem::take(&mut self.mpeg2.is_after_group);
        let is_reference = picture.kind != Kind::Between;
        match &mut self.mpeg2.group {
            group @ None if is_after_group && picture.kind == Kind::Key => {
                *group = Some(Group::new(picture.number));
                self.mpeg2
                    .codes
                    .begin_group(self.count.pictures, picture.times.map(|times| times.decoded));
            }
            Some(group) => group.add(picture.number, is_reference),
            None => {}
        }
    }

    /// The numbers of a group that is followed by another one have no gap.
    fn end_group(&mut self) {
        self.count.missing += self.mpeg2.group.take().map_or(0, |group| group.missing());
    }
}

#[cfg(test)]
mod tests;
