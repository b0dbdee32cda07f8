//! What is left of the headers of an AVI, and headers that are made of it.
//!
//! Each says a part of what another one says: `avih` the size and the rate, `strh` the rate and the
//! codec, `strf` the size and the codec. The ids of chunks say which streams there are, and the
//! first chunk often shows its codec.

use std::io;

use super::is_avi;
use crate::reader::Reader;

/// How much of a file is searched for the list of chunks.
const MOST: usize = 1 << 20;
/// Bytes of the header of a chunk, and of a list with its kind.
const CHUNK: usize = 8;
const LIST: usize = 12;
/// Where the first list of a file starts.
pub(super) const FIRST: usize = 12;
/// Chunks that are known to lie before the list of chunks.
const KNOWN: [&[u8; 4]; 9] =
    [b"avih", b"JUNK", b"strh", b"strf", b"strn", b"strd", b"indx", b"vprp", b"dmlh"];
const LISTS: [&[u8; 4]; 4] = [b"hdrl", b"strl", b"odml", b"INFO"];
/// Bytes of AVIMAINHEADER, of AVISTREAMHEADER without its rectangle, and of BITMAPINFOHEADER.
const MAIN_HEADER: usize = 56;
const STREAM_HEADER: usize = 48;
const BITMAP_HEADER: usize = 40;
/// The rate of a film that nothing says, as microseconds a frame.
const PERIOD: u32 = 40_000;

/// The list of chunks, and what lies before it.
pub(super) struct Movie {
    pub(super) at: u64,
    /// Where the headers before it are broken.
    pub(super) damaged_at: Option<u64>,
    pub(super) headers: Headers,
}

/// Finds the list in a file; `None` if it is not an AVI, or has none.
pub(super) fn find_movie(reader: &mut Reader<'_>) -> io::Result<Option<Movie>> {
    let mut bytes = vec![0; MOST];
    reader.go_to(0)?;
    let filled = reader.fill(&mut bytes)?;
    bytes.truncate(filled);
    if !is_avi(&bytes) {
        return Ok(None);
    }
    Ok(movie(&bytes))
}

fn movie(bytes: &[u8]) -> Option<Movie> {
    let is_movie = |list: &[u8]| list.starts_with(b"LIST") && list.ends_with(b"movi");
    let at = FIRST + bytes.get(FIRST..)?.windows(LIST).position(is_movie)?;
    let header = &bytes[..at];
    let mut headers = Headers::default();
    let mut damaged_at = None;
    let mut next = FIRST;
    while next < at {
        let place = next;
        let end = chunk_end(header, place);
        let whole = end.filter(|end| *end == at || is_chunk(header, *end));
        next = whole.unwrap_or_else(|| {
            damaged_at.get_or_insert(place as u64);
            let from = place + CHUNK.min(at - place);
            (from..at).find(|place| is_known(header, *place)).unwrap_or(at)
        });
        headers.read(header, place, whole.is_some());
    }
    Some(Movie { at: at as u64, damaged_at, headers })
}

/// The end of a chunk, or of a list's first bytes.
fn chunk_end(header: &[u8], at: usize) -> Option<usize> {
    if is_list(header, at) {
        return Some(at + LIST).filter(|end| *end <= header.len());
    }
    let size = size(header, at)?;
    let end = (at + CHUNK).checked_add(size)?.checked_add(size % 2)?;
    Some(end).filter(|end| *end <= header.len())
}

/// Whether it is a list, whose id may be damaged.
fn is_list(header: &[u8], at: usize) -> bool {
    let kind = header.get(at + CHUNK..at + LIST);
    header.get(at..at + 4).is_some_and(|id| id == b"LIST")
        || kind.is_some_and(|kind| kind == b"hdrl" || kind == b"strl")
}

fn size(header: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(*header.get(at + 4..)?.first_chunk()?)).ok()
}

fn is_known(header: &[u8], at: usize) -> bool {
    let Some(id) = header.get(at..at + 4) else { return false };
    let kind = || header.get(at + CHUNK..at + LIST);
    KNOWN.iter().any(|known| id == *known)
        || id == b"LIST" && kind().is_some_and(|kind| LISTS.iter().any(|list| kind == *list))
}

fn is_chunk(header: &[u8], at: usize) -> bool {
    let id = header.get(at..at + 4);
    id.is_some_and(|id| id.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b' '))
}

/// What a stream is, as far as decoding it is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Video,
    Other,
}

/// What the chunks say about a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) kind: Option<Kind>,
    /// How many there are.
    pub(super) chunks: u32,
    /// How the first one starts.
    pub(super) start: Vec<u8>,
}

/// Headers that are there as a whole.
#[derive(Default)]
pub(super) struct Headers {
    main: Option<Vec<u8>>,
    streams: Vec<Stream>,
}

#[derive(Default)]
struct Stream {
    kind: Option<Kind>,
    header: Option<Vec<u8>>,
    format: Option<Vec<u8>>,
    has_header: bool,
    has_format: bool,
    /// Chunks behind these, such as the shape of pixels.
    more: Vec<u8>,
}

impl Headers {
    /// Reads a chunk at a place. One that is not whole only marks where a stream is.
    fn read(&mut self, bytes: &[u8], at: usize, is_whole: bool) {
        let Some(id) = bytes.get(at..at + 4) else { return };
        let data = bytes.get(at + CHUNK..).unwrap_or_default();
        if is_list(bytes, at) {
            if data.starts_with(b"strl") {
                self.streams.push(Stream::default());
            }
            return;
        }
        let size = size(bytes, at).filter(|_| is_whole);
        let whole = size.and_then(|size| data.get(..size));
        match id {
            b"avih" => {
                self.main = whole.filter(|data| data.len() >= MAIN_HEADER).map(<[u8]>::to_vec);
            }
            b"strh" => {
                let stream = self.stream(|stream| stream.has_header || stream.has_format);
                stream.has_header = true;
                stream.kind = match data.first_chunk() {
                    Some(b"vids") => Some(Kind::Video),
                    Some(b"auds" | b"mids" | b"txts" | b"iavs") => Some(Kind::Other),
                    _ => None,
                };
                let is_sound = stream.kind == Some(Kind::Other);
                let is_right = |data: &&[u8]| {
                    let rates = [20, 24].map(|at| number(data, at));
                    data.len() >= STREAM_HEADER && (is_sound || !rates.contains(&0))
                };
                let known = stream.kind.and(whole);
                stream.header = known.filter(is_right).map(<[u8]>::to_vec);
            }
            b"strf" => {
                let stream = self.stream(|stream| stream.has_format);
                stream.has_format = true;
                stream.format = whole.map(<[u8]>::to_vec);
            }
            b"strn" | b"strd" | b"vprp" => {
                if let (Some(stream), Some(data)) = (self.streams.last_mut(), whole) {
                    stream.more.extend(chunk(id, data));
                }
            }
            _ => {}
        }
    }

    /// The last stream, or another one if that has what is read: its list was lost.
    fn stream(&mut self, is_other: impl Fn(&Stream) -> bool) -> &mut Stream {
        if self.streams.last().is_none_or(is_other) {
            self.streams.push(Stream::default());
        }
        let last = self.streams.len() - 1;
        &mut self.streams[last]
    }

    /// Headers for the streams that the chunks are of, and what the video streams are; `None` if
    /// one of them cannot be known.
    pub(super) fn complete(self, seen: &[Seen]) -> Option<(Vec<u8>, Vec<Completed>)> {
        let Self { main, streams } = self;
        let main = main.as_deref();
        let mut found = streams.into_iter().peekable();
        // If a stream is not in the headers, the next one that is may be of another kind.
        let is_short = found.len() < seen.len();
        let mut lists = Vec::new();
        let mut completed = Vec::new();
        let unseen = Seen::default();
        for number in 0..found.len().max(seen.len()) {
            let seen = seen.get(number).unwrap_or(&unseen);
            let is_next = |stream: &Stream| {
                !is_short
                    || stream.kind.is_none()
                    || seen.kind.is_none()
                    || stream.kind == seen.kind
            };
            let stream = found.next_if(is_next).unwrap_or_default();
            let (list, stream) = stream.complete(seen, main)?;
            lists.extend(list);
            completed.push(stream);
        }
        let video = completed.iter().find(|stream| stream.is_video)?;
        let main = main.map_or_else(|| video.main(completed.len()), <[u8]>::to_vec);
        let all = [&b"hdrl"[..], &chunk(b"avih", &main), &lists].concat();
        Some((chunk(b"LIST", &all), completed))
    }
}

/// A stream whose headers are complete.
pub(super) struct Completed {
    pub(super) is_video: bool,
    pub(super) is_disabled: bool,
    pub(super) compression: [u8; 4],
    /// Of the pictures.
    size: [u8; 8],
    /// Microseconds a frame.
    period: u32,
}

impl Completed {
    /// An `avih` for it.
    fn main(&self, streams: usize) -> Vec<u8> {
        let mut main = vec![0; MAIN_HEADER];
        main[..4].copy_from_slice(&self.period.to_le_bytes());
        main[24..28].copy_from_slice(&u32::try_from(streams).unwrap_or(1).to_le_bytes());
        main[32..40].copy_from_slice(&self.size);
        main
    }
}

impl Stream {
    fn complete(self, seen: &Seen, main: Option<&[u8]>) -> Option<(Vec<u8>, Completed)> {
        let known = if self.header.is_some() { self.kind.or(seen.kind) } else { seen.kind };
        let is_video = known.or(self.kind) == Some(Kind::Video);
        let is_format =
            |format: &Vec<u8>| !is_video || format.len() >= BITMAP_HEADER && number(format, 4) != 0;
        let format = self.format.filter(is_format);
        let header = self.header;
        let is_disabled = header.as_ref().is_some_and(|header| header[8] & 1 != 0);
        let mut compression = [0; 4];
        let mut size = [0; 8];
        let (header, format) = if is_video {
            let handler = header.as_ref().and_then(|header| header.get(4..)?.first_chunk());
            let handler = handler.filter(|handler| **handler != [0; 4]).copied();
            compression = match &format {
                Some(format) => *format.get(16..)?.first_chunk()?,
                None => handler.or_else(|| codec_of(&seen.start))?,
            };
            size = match (&format, main) {
                (Some(format), _) => *format.get(4..)?.first_chunk()?,
                (None, Some(main)) => *main.get(32..)?.first_chunk()?,
                // Codecs that are recognised by their chunks know their sizes.
                (None, None) => [64, 0, 0, 0, 64, 0, 0, 0],
            };
            let header = header.unwrap_or_else(|| video_header(compression, seen.chunks, main));
            (header, format.unwrap_or_else(|| bitmap_header(compression, size)))
        } else {
            // Sound is not decoded: any will do.
            let header = header.unwrap_or_else(|| [&b"auds"[..], &[0; 52]].concat());
            (
                header,
                format.unwrap_or_else(|| {
                    b"\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0".to_vec()
                }),
            )
        };
        let period = match (number(&header, 20), number(&header, 24)) {
            (_, 0) => PERIOD,
            (scale, rate) => {
                u32::try_from(u64::from(scale) * 1_000_000 / u64::from(rate)).unwrap_or(PERIOD)
            }
        };
        let list = [&b"strl"[..], &chunk(b"strh", &header), &chunk(b"strf", &format), &self.more];
        let list = chunk(b"LIST", &list.concat());
        Some((list, Completed { is_video, is_disabled, compression, size, period }))
    }
}

fn video_header(compression: [u8; 4], chunks: u32, main: Option<&[u8]>) -> Vec<u8> {
    let period = main.map_or(0, |main| number(main, 0));
    let period = if period == 0 { PERIOD } else { period };
    let mut header = [&b"vids"[..], &compression, &[0; 48]].concat();
    for (at, value) in [(20, period), (24, 1_000_000), (32, chunks), (40, u32::MAX)] {
        header[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    header
}

fn bitmap_header(compression: [u8; 4], size: [u8; 8]) -> Vec<u8> {
    let length = BITMAP_HEADER as u32;
    let planes_and_bits = [1, 0, 24, 0];
    [&length.to_le_bytes()[..], &size, &planes_and_bits, &compression, &[0; 20]].concat()
}

/// The codec of a stream whose first chunk starts like this.
fn codec_of(start: &[u8]) -> Option<[u8; 4]> {
    match start {
        [0xff, 0xd8, ..] => Some(*b"MJPG"),
        // Headers, or a picture, of MPEG-4; parameters of H.264 and of HEVC.
        [0, 0, 1, 0..=0x2f | 0xb0 | 0xb6, ..] => Some(*b"FMP4"),
        [0, 0, 0, 1, 0x67 | 0x09 | 0x06, ..] | [0, 0, 1, 0x67, ..] => Some(*b"H264"),
        [0, 0, 0, 1, 0x40 | 0x46, 1, ..] => Some(*b"HEVC"),
        _ => None,
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn chunk(id: &[u8], data: &[u8]) -> Vec<u8> {
    let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
    [id, &size.to_le_bytes(), data, &[0][..data.len() % 2]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(kind: &[u8; 4], chunks: &[Vec<u8>]) -> Vec<u8> {
        chunk(b"LIST", &[&kind[..], &chunks.concat()].concat())
    }

    fn stream_header() -> Vec<u8> {
        video_header(*b"FMP4", 1, None)
    }

    fn film() -> Vec<u8> {
        let format = bitmap_header(*b"FMP4", [64, 0, 0, 0, 48, 0, 0, 0]);
        let header = chunk(b"strh", &stream_header());
        let stream = list(b"strl", &[header, chunk(b"strf", &format), chunk(b"JUNK", &[0; 400])]);
        let extended = list(b"odml", &[chunk(b"dmlh", &[3; 248])]);
        let mut main = vec![0; 56];
        main[..4].copy_from_slice(&PERIOD.to_le_bytes());
        main[32..40].copy_from_slice(&[64, 0, 0, 0, 48, 0, 0, 0]);
        let headers = list(b"hdrl", &[chunk(b"avih", &main), stream, extended]);
        let information = list(b"INFO", &[chunk(b"ISFT", b"Lavf59")]);
        let chunks = list(b"movi", &[chunk(b"00dc", b"\0\0\x01\xb0")]);
        let all = [headers, information, chunk(b"JUNK", &[0; 100]), chunks];
        chunk(b"RIFF", &[&b"AVI "[..], &all.concat()].concat())
    }

    fn place(bytes: &[u8], id: &[u8; 4]) -> usize {
        bytes.windows(4).position(|found| found == id).unwrap()
    }

    fn seen() -> Seen {
        Seen { kind: Some(Kind::Video), chunks: 1, start: b"\0\0\x01\xb0".to_vec() }
    }

    /// The codec, the size and the period of the completed headers.
    fn completed(bytes: &[u8]) -> Option<([u8; 4], u8, u8, u32)> {
        let (_, streams) = movie(bytes)?.headers.complete(&[seen()])?;
        let [stream] = &streams[..] else { panic!("{} streams", streams.len()) };
        Some((stream.compression, stream.size[0], stream.size[4], stream.period))
    }

    #[test]
    fn headers_that_lost_bytes_are_completed_from_the_others() {
        let film = film();
        let whole = movie(&film).unwrap();
        assert_eq!(whole.damaged_at, None);
        assert_eq!(usize::try_from(whole.at).unwrap(), place(&film, b"movi") - 8);
        let expected = Some((*b"FMP4", 64, 48, PERIOD));
        assert_eq!(completed(&film), expected);
        // The first bytes of the file and the list of chunks are needed; half of the others is
        // enough.
        let end = place(&film, b"dmlh");
        for length in [1, 2, 7, 40, 64] {
            for from in FIRST..end - length {
                let mut lossy = film.clone();
                lossy.drain(from..from + length);
                assert_eq!(completed(&lossy), expected, "{length} bytes at {from}");
            }
        }
        assert!(movie(&film[..200]).is_none());
    }

    #[test]
    fn a_stream_without_any_header_is_known_by_its_chunks() {
        let mut film = film();
        film.drain(place(&film, b"strl") - 8..place(&film, b"dmlh"));
        assert_eq!(completed(&film), Some((*b"FMP4", 64, 48, PERIOD)));
        let headers = movie(&film).unwrap().headers;
        let unknown = Seen { start: b"what".to_vec(), ..seen() };
        assert!(headers.complete(&[unknown]).is_none());
    }

    #[test]
    fn no_damage_makes_it_fail_or_hang() {
        let film = film();
        for at in 0..film.len() {
            completed(&film[..at]);
            for value in [0, 1, 0x4c, 0x7f, 0xff] {
                let mut bytes = film.clone();
                bytes[at] = value;
                completed(&bytes);
                bytes.drain(at..film.len().min(at + 7));
                completed(&bytes);
            }
        }
    }
}
