//! Pictures in HEIF containers: HEIC and AVIF (ISO/IEC 23008-12, "HEIF"; ISO/IEC 14496-12, "BMFF").

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

mod boxes;
mod items;

use boxes::{Bytes, boxes, header};
use items::Items;

/// A phone writes about 10 kB.
const MAX_META: u64 = 16 << 20;
/// Boxes of a file, or of one box, that are read.
const MAX_BOXES: usize = 10_000;
/// The largest compressed tile. One of a whole picture within the decoder's limits is smaller.
const MAX_TILE: u64 = 256 << 20;

/// How the pixels of a picture are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeifCodec {
    /// H.265, as in HEIC.
    Hevc,
    /// AV1, as in AVIF.
    Av1,
    /// Another one, or a picture that is derived from others. This is the type of its item.
    Other([u8; 4]),
}

/// A step from the stored picture to the one that is shown. They apply in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Anti-clockwise, in steps of 90°.
    Rotate(u8),
    /// The top and the bottom change places.
    FlipRows,
    /// Left and right change places.
    FlipColumns,
}

/// A part of the picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// What pixel values mean, as numbers of ITU-T H.273.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeifColor {
    /// The matrix coefficients.
    pub matrix: u8,
    /// Whether values have the full range.
    pub is_full_range: bool,
}

/// The primary picture of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeifPicture {
    /// How its tiles are compressed.
    pub codec: HeifCodec,
    /// The decoder's configuration: `hvcC` or `av1C`.
    pub config: Vec<u8>,
    /// Columns of pixels, as stored.
    pub width: u32,
    /// Rows of pixels, as stored.
    pub height: u32,
    /// Tiles in a row.
    pub columns: u32,
    /// The part that is shown, if it is not all.
    pub crop: Option<Crop>,
    /// How it is turned upright.
    pub turns: Vec<Turn>,
    /// Its colours, if the container states them.
    pub color: Option<HeifColor>,
    tiles: Vec<Tile>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Tile {
    /// Inside the box of metadata.
    Inline(Vec<u8>),
    /// Byte ranges of the file: offset and length.
    Ranges(Vec<(u64, u64)>),
}

impl HeifPicture {
    /// Reads what a file says about its primary picture; `None` if it has none.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn read(file: &mut File) -> io::Result<Option<Self>> {
        let Some(meta) = top_level(file, b"meta")? else { return Ok(None) };
        let mut read = |tile: Tile| tile.read(file).ok().flatten();
        Ok(parse(&meta.data, &mut read))
    }

    /// How many tiles the picture has.
    pub fn tiles(&self) -> usize {
        self.tiles.len()
    }

    /// The compressed bytes of a tile; `None` if they are not all in the file.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn read_tile(&self, file: &mut File, tile: usize) -> io::Result<Option<Vec<u8>>> {
        self.tiles.get(tile).map_or(Ok(None), |tile| tile.read(file))
    }
}

impl Tile {
    fn read(&self, file: &mut File) -> io::Result<Option<Vec<u8>>> {
        let ranges = match self {
            Self::Inline(bytes) => return Ok(Some(bytes.clone())),
            Self::Ranges(ranges) => ranges,
        };
        let end = file.metadata()?.len();
        let mut bytes = Vec::new();
        for &(offset, length) in ranges {
            // A length of 0 means up to the end of the file (14496-12, 8.11.3).
            let length = if length == 0 { end.saturating_sub(offset) } else { length };
            let is_inside = offset.checked_add(length).is_some_and(|stop| stop <= end);
            if length == 0 || !is_inside || bytes.len() as u64 + length > MAX_TILE {
                return Ok(None);
            }
            file.seek(SeekFrom::Start(offset))?;
            let read = file.by_ref().take(length).read_to_end(&mut bytes)?;
            if read as u64 != length {
                return Ok(None);
            }
        }
        Ok(Some(bytes))
    }
}

/// Where the types of the tracks of pictures stand in a file, each four bytes `pict`. A file with
/// an animation has such a track, which is otherwise one of video.
///
/// # Errors
///
/// The file cannot be read.
pub fn picture_tracks(file: &mut File) -> io::Result<Vec<u64>> {
    let Some(movie) = top_level(file, b"moov")? else { return Ok(Vec::new()) };
    let inside = |data, kind: &'static [u8; 4]| {
        boxes(data).take(MAX_BOXES).filter(move |found| found.kind == *kind)
    };
    let mut found = Vec::new();
    for track in inside(&movie.data, b"trak") {
        for media in inside(track.data, b"mdia") {
            for handler in inside(media.data, b"hdlr") {
                // 14496-12, 8.4.3: version and flags, four bytes that are 0, the type.
                if handler.data.get(8..12) == Some(b"pict") {
                    let offset = track.offset + media.offset + handler.offset + 8;
                    found.push(movie.offset + offset as u64);
                }
            }
        }
    }
    Ok(found)
}

struct TopLevel {
    /// Where its data stands in the file.
    offset: u64,
    data: Vec<u8>,
}

/// The first box of a kind, if it is small enough to be read at once.
fn top_level(file: &mut File, kind: &[u8; 4]) -> io::Result<Option<TopLevel>> {
    let end = file.metadata()?.len();
    let mut at = 0;
    for _ in 0..MAX_BOXES {
        file.seek(SeekFrom::Start(at))?;
        let mut start = Vec::with_capacity(16);
        file.by_ref().take(16).read_to_end(&mut start)?;
        let Some(found) = header(&start) else { return Ok(None) };
        let size = if found.size == 0 { end.saturating_sub(at) } else { found.size };
        if found.kind == *kind {
            let length = size.saturating_sub(found.header);
            if length > MAX_META {
                return Ok(None);
            }
            let offset = at.saturating_add(found.header);
            file.seek(SeekFrom::Start(offset))?;
            let mut data = Vec::new();
            file.by_ref().take(length).read_to_end(&mut data)?;
            return Ok(Some(TopLevel { offset, data }));
        }
        at = match at.checked_add(size.max(found.header)) {
            Some(next) if next < end => next,
            _ => return Ok(None),
        };
    }
    Ok(None)
}

/// `read` returns the bytes of an item.
fn parse(meta: &[u8], read: &mut dyn FnMut(Tile) -> Option<Vec<u8>>) -> Option<HeifPicture> {
    let items = Items::read(meta.get(4..)?)?;
    let mut primary = items.primary;
    // An identity only adds properties to another item (23008-12, 6.6.2.1).
    let mut turns = items.turns(primary);
    let mut crop = items.crop(primary);
    if items.kind(primary)? == *b"iden" {
        primary = *items.inputs(primary)?.first()?;
        turns = [items.turns(primary), turns].concat();
        crop = crop.or(items.crop(primary));
    }
    let size = items.size(primary)?;
    let (tile_items, columns, (width, height)) = match &items.kind(primary)? {
        b"grid" => {
            let grid = Grid::read(&read(items.tile(primary)?)?)?;
            let inputs = items.inputs(primary)?;
            if inputs.len() != grid.tiles() {
                return None;
            }
            (inputs, grid.columns, (grid.width, grid.height))
        }
        _ => (vec![primary], 1, size),
    };
    let first = *tile_items.first()?;
    let codec = match items.kind(first)? {
        kind if kind == *b"hvc1" || kind == *b"hev1" => HeifCodec::Hevc,
        kind if kind == *b"av01" => HeifCodec::Av1,
        kind => HeifCodec::Other(kind),
    };
    let config = match codec {
        HeifCodec::Hevc => items.property(first, b"hvcC").unwrap_or_default().to_vec(),
        HeifCodec::Av1 => items.property(first, b"av1C").unwrap_or_default().to_vec(),
        HeifCodec::Other(_) => Vec::new(),
    };
    let color = items.color(primary).or_else(|| items.color(first));
    let tiles = tile_items.iter().map(|item| items.tile(*item)).collect::<Option<_>>()?;
    Some(HeifPicture { codec, config, width, height, columns, crop, turns, color, tiles })
}

/// A picture that is put together from tiles (23008-12, 6.6.2.3).
struct Grid {
    rows: u32,
    columns: u32,
    width: u32,
    height: u32,
}

impl Grid {
    fn read(data: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(data);
        let (_version, flags) = (bytes.u8()?, bytes.u8()?);
        let rows = u32::from(bytes.u8()?) + 1;
        let columns = u32::from(bytes.u8()?) + 1;
        let mut length = || if flags & 1 == 0 { bytes.u16().map(u32::from) } else { bytes.u32() };
        Some(Self { rows, columns, width: length()?, height: length()? })
    }

    fn tiles(&self) -> usize {
        (self.rows * self.columns) as usize
    }
}

#[cfg(test)]
mod tests;
