//! The items of a file: what they are, where their bytes are, and their properties.

use std::collections::HashMap;

use super::boxes::{Bytes, Found, boxes};
use super::{Crop, HeifColor, MAX_BOXES, Tile, Turn};

type Id = u32;

pub(super) struct Items<'a> {
    pub(super) primary: Id,
    kinds: HashMap<Id, [u8; 4]>,
    places: HashMap<Id, Place>,
    inputs: HashMap<Id, Vec<Id>>,
    properties: Vec<Found<'a>>,
    /// Which properties an item has, in their order, counted from 1.
    associations: HashMap<Id, Vec<u16>>,
    /// Bytes that items may lie in.
    idat: &'a [u8],
}

struct Place {
    /// 0: in the file, 1: in `idat`.
    method: u8,
    ranges: Vec<(u64, u64)>,
}

impl<'a> Items<'a> {
    /// Reads the boxes in a `meta` box.
    pub(super) fn read(meta: &'a [u8]) -> Option<Self> {
        let all: Vec<Found<'_>> = boxes(meta).take(MAX_BOXES).collect();
        let find =
            |kind: &[u8; 4]| all.iter().find(|found| found.kind == *kind).map(|found| found.data);
        let properties = find(b"iprp").unwrap_or_default();
        let inside: Vec<Found<'_>> = boxes(properties).take(MAX_BOXES).collect();
        let container = inside.iter().find(|found| found.kind == *b"ipco");
        let mut associations = HashMap::new();
        for found in inside.iter().filter(|found| found.kind == *b"ipma") {
            // What is there of a truncated table is used.
            read_associations(found.data, &mut associations);
        }
        let mut kinds = HashMap::new();
        read_kinds(find(b"iinf")?, &mut kinds);
        let mut places = HashMap::new();
        read_places(find(b"iloc")?, &mut places);
        let mut inputs = HashMap::new();
        read_inputs(find(b"iref").unwrap_or_default(), &mut inputs);
        Some(Self {
            primary: read_primary(find(b"pitm")?)?,
            kinds,
            places,
            inputs,
            properties: container
                .map(|found| boxes(found.data).take(MAX_BOXES).collect())
                .unwrap_or_default(),
            associations,
            idat: find(b"idat").unwrap_or_default(),
        })
    }

    pub(super) fn kind(&self, item: Id) -> Option<[u8; 4]> {
        self.kinds.get(&item).copied()
    }

    /// The items that this one is made of, in their order.
    pub(super) fn inputs(&self, item: Id) -> Option<Vec<Id>> {
        self.inputs.get(&item).cloned()
    }

    fn properties(&self, item: Id) -> impl Iterator<Item = &Found<'a>> {
        let indexes = self.associations.get(&item).map(Vec::as_slice).unwrap_or_default();
        indexes.iter().filter_map(|index| self.properties.get(usize::from(*index).checked_sub(1)?))
    }

    pub(super) fn property(&self, item: Id, kind: &[u8; 4]) -> Option<&'a [u8]> {
        self.properties(item).find(|found| found.kind == *kind).map(|found| found.data)
    }

    /// Columns and rows (23008-12, 6.5.3).
    pub(super) fn size(&self, item: Id) -> Option<(u32, u32)> {
        let mut bytes = Bytes(self.property(item, b"ispe")?);
        bytes.version()?;
        Some((bytes.u32()?, bytes.u32()?))
    }

    /// Rotation and mirroring (23008-12, 6.5.10 and 6.5.12).
    pub(super) fn turns(&self, item: Id) -> Vec<Turn> {
        self.properties(item)
            .filter_map(|found| match (&found.kind, found.data.first()?) {
                (b"irot", angle) => Some(Turn::Rotate(angle & 3)),
                (b"imir", axis) if axis & 1 == 0 => Some(Turn::FlipRows),
                (b"imir", _) => Some(Turn::FlipColumns),
                _ => None,
            })
            .collect()
    }

    /// The clean aperture (14496-12, 12.1.4): a size, and where its centre lies from the picture's.
    pub(super) fn crop(&self, item: Id) -> Option<Crop> {
        let (whole_width, whole_height) = self.size(item)?;
        let mut bytes = Bytes(self.property(item, b"clap")?);
        let mut fraction = || {
            let numerator = f64::from(bytes.u32()?.cast_signed());
            let denominator = f64::from(bytes.u32()?);
            (denominator > 0.0).then(|| numerator / denominator)
        };
        let (width, height) = (fraction()?, fraction()?);
        let (right, down) = (fraction()?, fraction()?);
        let start = |whole: u32, length: f64, offset: f64| {
            let start = ((f64::from(whole) - length) / 2.0 + offset).round();
            let is_inside =
                start >= 0.0 && length >= 1.0 && start + length.floor() <= f64::from(whole);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "both lie in the picture"
            )]
            is_inside.then_some((start as u32, length as u32))
        };
        let (left, width) = start(whole_width, width, right)?;
        let (top, height) = start(whole_height, height, down)?;
        Some(Crop { left, top, width, height })
    }

    /// Colours that are stated as numbers; not those of an ICC profile.
    pub(super) fn color(&self, item: Id) -> Option<HeifColor> {
        self.properties(item).filter(|found| found.kind == *b"colr").find_map(|found| {
            let mut bytes = Bytes(found.data);
            if bytes.take(4)? != b"nclx" {
                return None;
            }
            bytes.take(4)?;
            let matrix = u8::try_from(bytes.u16()?).ok()?;
            Some(HeifColor { matrix, is_full_range: bytes.u8()? & 0x80 != 0 })
        })
    }

    /// Where the bytes of an item are.
    pub(super) fn tile(&self, item: Id) -> Option<Tile> {
        let place = self.places.get(&item)?;
        match place.method {
            0 => Some(Tile::Ranges(place.ranges.clone())),
            1 => Some(Tile::Inline(self.bytes(item)?)),
            _ => None,
        }
    }

    /// The bytes of an item that lies in `idat`.
    fn bytes(&self, item: Id) -> Option<Vec<u8>> {
        let place = self.places.get(&item).filter(|place| place.method == 1)?;
        let mut bytes = Vec::new();
        for &(offset, length) in &place.ranges {
            let offset = usize::try_from(offset).ok()?;
            let rest = self.idat.get(offset..)?;
            let length = if length == 0 { rest.len() } else { usize::try_from(length).ok()? };
            bytes.extend_from_slice(rest.get(..length)?);
            // Ranges may overlap, so that a few bytes claim any number of them.
            if bytes.len() > self.idat.len() {
                return None;
            }
        }
        Some(bytes)
    }
}

fn read_primary(data: &[u8]) -> Option<Id> {
    let mut bytes = Bytes(data);
    let (version, _) = bytes.version()?;
    bytes.id(version > 0)
}

/// 14496-12, 8.11.6.
fn read_kinds(data: &[u8], kinds: &mut HashMap<Id, [u8; 4]>) -> Option<()> {
    let mut bytes = Bytes(data);
    let (version, _) = bytes.version()?;
    bytes.id(version > 0)?;
    for found in boxes(bytes.0).take(1 << 16).filter(|found| found.kind == *b"infe") {
        let mut entry = Bytes(found.data);
        let (version, _) = entry.version()?;
        if version < 2 {
            continue;
        }
        let id = entry.id(version > 2)?;
        entry.u16()?;
        kinds.insert(id, entry.take(4)?.try_into().ok()?);
    }
    Some(())
}

/// 14496-12, 8.11.3.
fn read_places(data: &[u8], places: &mut HashMap<Id, Place>) -> Option<()> {
    let mut bytes = Bytes(data);
    let (version, _) = bytes.version()?;
    let (offset, length) = nibbles(bytes.u8()?);
    let (base, index) = nibbles(bytes.u8()?);
    let has_index = version == 1 || version == 2;
    let count = bytes.id(version >= 2)?;
    for _ in 0..count {
        let id = bytes.id(version >= 2)?;
        let method = if has_index { bytes.u16()? & 0xf } else { 0 };
        bytes.u16()?;
        let start = bytes.number(base)?;
        let extents = bytes.u16()?;
        if extents > 1 && offset + length == 0 {
            // Ranges that take no bytes could be any number.
            return None;
        }
        let mut ranges = Vec::new();
        for _ in 0..extents {
            if has_index {
                bytes.number(index)?;
            }
            ranges.push((start.checked_add(bytes.number(offset)?)?, bytes.number(length)?));
        }
        places.insert(id, Place { method: u8::try_from(method).ok()?, ranges });
    }
    Some(())
}

fn nibbles(byte: u8) -> (u8, u8) {
    (byte >> 4, byte & 0xf)
}

/// 14496-12, 8.11.12: which items a derived picture is made of.
fn read_inputs(data: &[u8], inputs: &mut HashMap<Id, Vec<Id>>) -> Option<()> {
    let mut bytes = Bytes(data);
    let (version, _) = bytes.version()?;
    for found in boxes(bytes.0).take(1 << 16).filter(|found| found.kind == *b"dimg") {
        let mut entry = Bytes(found.data);
        let id = entry.id(version > 0)?;
        let count = entry.u16()?;
        let all = (0..count).map(|_| entry.id(version > 0)).collect::<Option<Vec<_>>>()?;
        inputs.insert(id, all);
    }
    Some(())
}

/// 23008-12, 9.3.
fn read_associations(data: &[u8], associations: &mut HashMap<Id, Vec<u16>>) -> Option<()> {
    let mut bytes = Bytes(data);
    let (version, flags) = bytes.version()?;
    let count = bytes.u32()?;
    for _ in 0..count {
        let id = bytes.id(version > 0)?;
        let properties = bytes.u8()?;
        for _ in 0..properties {
            let index = match flags & 1 {
                0 => u16::from(bytes.u8()? & 0x7f),
                _ => bytes.u16()? & 0x7fff,
            };
            associations.entry(id).or_default().push(index);
        }
    }
    Some(())
}
