//! HEIC and AVIF: tiles of H.265 or AV1, which GStreamer decodes, in a container that it does not
//! read.

use gstreamer as gst;
use gstreamer_video::{
    VideoColorMatrix, VideoColorRange, VideoColorimetry, VideoFrameExt, VideoFrameRef, VideoInfo,
    VideoOrientationMethod as Method,
};
use moliceiro_containers::{Crop, HeifCodec, HeifColor, HeifPicture, Turn};
use moliceiro_messages::Size;

use super::packets::{self, Choice};
use super::{Context, Image};
use crate::error::{DecodeError, Incomplete};
use crate::file::{LocalFile, unreadable};
use crate::geometry::Orientation;
use crate::raw_frame::RawFrame;

const HEVC: [Choice; 2] = [
    Choice { element: "avdec_h265", package: "gstreamer1.0-libav" },
    Choice { element: "libde265dec", package: "gstreamer1.0-plugins-bad" },
];
const AV1: [Choice; 2] = [
    Choice { element: "av1dec", package: "gstreamer1.0-plugins-bad" },
    Choice { element: "dav1ddec", package: "gstreamer1.0-plugins-rs" },
];
const PARSERS: &str = "gstreamer1.0-plugins-bad";

pub(super) fn decode(file: &LocalFile, context: &Context) -> Result<Image, DecodeError> {
    let failed = |error| unreadable(&context.name, &error);
    let mut opened = context.open(file)?;
    let picture = HeifPicture::read(&mut opened).map_err(failed)?;
    let picture =
        picture.ok_or_else(|| context.damaged("it states no picture that can be read"))?;
    let size = context.limit(picture.width, picture.height)?;
    let config = gst::Buffer::from_slice(picture.config.clone());
    let (caps, parser, decoder) = match picture.codec {
        HeifCodec::Hevc => (
            gst::Caps::builder("video/x-h265")
                .field("stream-format", "hvc1")
                .field("alignment", "au")
                .field("codec_data", config)
                .field("framerate", gst::Fraction::new(1, 1))
                .build(),
            Choice { element: "h265parse", package: PARSERS },
            packets::choose(&HEVC, "a HEIC", context)?,
        ),
        HeifCodec::Av1 => (
            gst::Caps::builder("video/x-av1")
                .field("stream-format", "obu-stream")
                .field("alignment", "tu")
                .field("framerate", gst::Fraction::new(1, 1))
                .build(),
            Choice { element: "av1parse", package: PARSERS },
            packets::choose(&AV1, "an AVIF", context)?,
        ),
        HeifCodec::Other(kind) => {
            let kind = kind.escape_ascii();
            return Err(context.unsupported(format!("a HEIF picture of the kind {kind}")));
        }
    };
    let parser = packets::choose(&[parser], "a HEIF", context)?;
    let mut tiles = Vec::new();
    for tile in 0..picture.tiles() {
        let number = u32::try_from(tile).unwrap_or(u32::MAX);
        // A tile past the end of the file is missing.
        if let Some(bytes) = picture.read_tile(&mut opened, tile).map_err(failed)? {
            tiles.push((number, bytes));
        }
    }
    if tiles.is_empty() {
        return Err(context.damaged("the data of the picture is missing"));
    }
    let shown = picture.crop.filter(|crop| *crop != whole(size)).unwrap_or(whole(size));
    let mut mosaic = Mosaic { picture: &picture, shown, assembled: None, rows: None };
    let mut found = vec![false; picture.tiles()];
    packets::decode(&caps, &[parser, decoder], tiles, context, |number, frame| {
        if let Some(found) = found.get_mut(number as usize) {
            *found = true;
        }
        mosaic.place(number, frame).map_err(|error| context.gstreamer(&error))
    })?;
    let missing = found.iter().position(|found| !found).map(|first| {
        // Tiles that were decoded state their height.
        let first = u32::try_from(first).unwrap_or(u32::MAX) / picture.columns.max(1);
        let top = mosaic.rows.unwrap_or(0).saturating_mul(first);
        let rows = picture.height.saturating_sub(top);
        Incomplete::PictureTruncated { missing: Some((rows, picture.height)) }
    });
    let frame = mosaic.finish().ok_or_else(|| context.damaged("its data cannot be decoded"))?;
    let orientation = picture.turns.iter().fold(Orientation::default(), |before, turn| {
        before.then(Orientation::from_method(match turn {
            Turn::Rotate(1) => Method::_90l,
            Turn::Rotate(2) => Method::_180,
            Turn::Rotate(3) => Method::_90r,
            Turn::Rotate(_) => Method::Identity,
            Turn::FlipRows => Method::Vert,
            Turn::FlipColumns => Method::Horiz,
        }))
    });
    let info = match picture.color {
        Some(color) => recolored(&frame.info, color).unwrap_or(frame.info),
        None => frame.info,
    };
    Ok(Image { frame: RawFrame { info, orientation, ..frame }, missing })
}

fn whole(size: Size) -> Crop {
    Crop { left: 0, top: 0, width: size.width, height: size.height }
}

/// A picture that is put together from tiles.
struct Mosaic<'a> {
    picture: &'a HeifPicture,
    /// The part of the picture that is shown.
    shown: Crop,
    assembled: Option<(gst::Buffer, VideoInfo)>,
    /// Rows of pixels in a tile.
    rows: Option<u32>,
}

impl Mosaic<'_> {
    /// Copies a tile's part of what is shown to its place.
    fn place(&mut self, number: u32, frame: RawFrame) -> Result<(), gst::glib::BoolError> {
        let (width, height) = (frame.info.width(), frame.info.height());
        self.rows.get_or_insert(height);
        let Crop { left, top, width: shown_width, height: shown_height } = self.shown;
        if self.picture.tiles() == 1
            && (left, top, shown_width, shown_height) == (0, 0, width, height)
        {
            self.assembled = Some((frame.buffer, frame.info));
            return Ok(());
        }
        let (mut buffer, info) = match self.assembled.take() {
            Some((buffer, info)) if info.format() == frame.info.format() => (buffer, info),
            Some(assembled) => {
                self.assembled = Some(assembled);
                return Ok(());
            }
            None => empty(&frame.info, Size { width: shown_width, height: shown_height })?,
        };
        let columns = self.picture.columns.max(1);
        let at = (number % columns * width, number / columns * height);
        copy(&frame, at, buffer.make_mut(), &info, (left, top))?;
        self.assembled = Some((buffer, info));
        Ok(())
    }

    fn finish(self) -> Option<RawFrame> {
        let (buffer, info) = self.assembled?;
        Some(RawFrame::still(buffer, info, Orientation::default()))
    }
}

/// A frame of the same format, with every value in the middle of its range.
fn empty(like: &VideoInfo, size: Size) -> Result<(gst::Buffer, VideoInfo), gst::glib::BoolError> {
    let info = VideoInfo::builder(like.format(), size.width, size.height)
        .colorimetry(&like.colorimetry())
        .chroma_site(like.chroma_site())
        .build()?;
    let middle = if like.comp_depth(0) > 8 { 1u16 << (like.comp_depth(0) - 1) } else { 0x8080 };
    let bytes = middle.to_le_bytes().into_iter().cycle().take(info.size()).collect::<Vec<_>>();
    Ok((gst::Buffer::from_mut_slice(bytes), info))
}

/// Copies what both have. `at` is where the tile lies in the picture, and `origin` where the
/// target does.
fn copy(
    tile: &RawFrame,
    at: (u32, u32),
    to: &mut gst::BufferRef,
    info: &VideoInfo,
    origin: (u32, u32),
) -> Result<(), gst::glib::BoolError> {
    let from = VideoFrameRef::from_buffer_ref_readable(&tile.buffer, &tile.info)?;
    let mut to = VideoFrameRef::from_buffer_ref_writable(to, info)?;
    let format = info.format_info();
    for plane in 0..info.n_planes() {
        // The first component of a plane states its subsampling and the bytes of a sample.
        let component = (0..info.n_components())
            .find(|component| format.plane()[*component as usize] == plane)
            .unwrap_or(0) as usize;
        let (w_sub, h_sub) = (format.w_sub()[component], format.h_sub()[component]);
        let bytes = format.pixel_stride()[component].unsigned_abs() as usize;
        let from_stride = from.plane_stride()[plane as usize].unsigned_abs() as usize;
        let to_stride = to.plane_stride()[plane as usize].unsigned_abs() as usize;
        let source = from.plane_data(plane)?;
        let columns = overlap(at.0, tile.info.width(), origin.0, info.width(), w_sub);
        let rows = overlap(at.1, tile.info.height(), origin.1, info.height(), h_sub);
        let target = to.plane_data_mut(plane)?;
        let length = columns.length * bytes;
        for row in 0..rows.length {
            let start = (rows.from + row) * from_stride + columns.from * bytes;
            let end = (rows.to + row) * to_stride + columns.to * bytes;
            if let (Some(from), Some(to)) =
                (source.get(start..start + length), target.get_mut(end..end + length))
            {
                to.copy_from_slice(from);
            }
        }
    }
    Ok(())
}

/// Samples that a tile and the target share.
struct Overlap {
    from: usize,
    to: usize,
    length: usize,
}

fn overlap(at: u32, length: u32, origin: u32, whole: u32, subsampling: u32) -> Overlap {
    // The last sample of a side covers what is there of its pixels.
    let ceil = |pixels: u32| (u64::from(pixels) + (1 << subsampling) - 1) >> subsampling;
    let (at, origin) = (u64::from(at >> subsampling), u64::from(origin >> subsampling));
    let (start, end) = (at.max(origin), (at + ceil(length)).min(origin + ceil(whole)));
    let length = end.saturating_sub(start);
    let offset = |base: u64| usize::try_from(start.saturating_sub(base)).unwrap_or(usize::MAX);
    Overlap {
        from: offset(at),
        to: offset(origin),
        length: usize::try_from(length).unwrap_or_default(),
    }
}

/// The colours that the container states win over those of the stream (23008-12, 6.5.5).
fn recolored(info: &VideoInfo, color: HeifColor) -> Option<VideoInfo> {
    let given = info.colorimetry();
    let matrix = match color.matrix {
        1 => VideoColorMatrix::Bt709,
        5 | 6 => VideoColorMatrix::Bt601,
        9 => VideoColorMatrix::Bt2020,
        0 => VideoColorMatrix::Rgb,
        _ => given.matrix(),
    };
    let range = match color.is_full_range {
        true => VideoColorRange::Range0_255,
        false => VideoColorRange::Range16_235,
    };
    if info.is_gray() || matrix == VideoColorMatrix::Rgb {
        return None;
    }
    let colors = VideoColorimetry::new(range, matrix, given.transfer(), given.primaries());
    VideoInfo::builder(info.format(), info.width(), info.height())
        .colorimetry(&colors)
        .chroma_site(info.chroma_site())
        .stride(info.stride())
        .offset(info.offset())
        .build()
        .ok()
}
