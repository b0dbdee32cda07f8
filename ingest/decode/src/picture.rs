use gstreamer as gst;
use gstreamer_video::{VideoFrameExt, VideoFrameRef, VideoInfo};
use moliceiro_messages::{Area, Color, Fit, Letterbox, Scaling, Size};

use crate::color;
use crate::geometry::{Orientation, place};
use crate::raw_frame::RawFrame;
use crate::scale::Scaler;
use crate::still::Cells;

/// A chroma sample without colour.
const NO_CHROMA: u8 = 128;

/// Makes letterboxed pictures of frames with one format and orientation.
pub(crate) struct PictureMaker {
    source: VideoInfo,
    shown: Size,
    orientation: Orientation,
    picture: Size,
    letterbox: Letterbox,
    color: Color,
    scaler: Scaler,
    /// A full chroma plane, before it is halved. Kept to reuse its memory.
    full_chroma: Vec<u8>,
}

/// Samples of each chroma plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chroma {
    /// One for each pixel (4:4:4).
    Full,
    /// One for two by two pixels (4:2:0).
    Halved,
}

impl PictureMaker {
    /// For frames like this one.
    pub(crate) fn new(
        frame: &RawFrame,
        size: Size,
        fit: Fit,
        scaling: Scaling,
    ) -> Result<Self, gst::glib::BoolError> {
        let &RawFrame { info: ref source, shown, orientation, .. } = frame;
        let (letterbox, picture) = place(shown, aspect(source), orientation, size, fit);
        let content = orientation.turn(letterbox.content);
        let colors = color::of_picture(source);
        let scaler = Scaler::new(source, &colors, content, scaling)?;
        Ok(Self {
            source: source.clone(),
            shown,
            orientation,
            picture,
            letterbox,
            color: colors.color,
            scaler,
            full_chroma: Vec::new(),
        })
    }

    /// How many of the stored rows a picture of this frame shows.
    pub(crate) fn rows(frame: &RawFrame, size: Size, fit: Fit) -> u32 {
        let &RawFrame { ref info, shown, orientation, .. } = frame;
        let (letterbox, _) = place(shown, aspect(info), orientation, size, fit);
        orientation.turn(letterbox.content).height
    }

    /// Whether it was made for frames like this one.
    pub(crate) fn fits(&self, frame: &RawFrame) -> bool {
        // Offsets and strides may differ: the two fields of a frame do.
        let (made_for, info) = (&self.source, &frame.info);
        made_for.format() == info.format()
            && (made_for.width(), made_for.height()) == (info.width(), info.height())
            && made_for.par() == info.par()
            && made_for.colorimetry() == info.colorimetry()
            && made_for.chroma_site() == info.chroma_site()
            && self.shown == frame.shown
            && self.orientation == frame.orientation
    }

    pub(crate) fn size(&self) -> Size {
        self.picture
    }

    pub(crate) fn letterbox(&self) -> Letterbox {
        self.letterbox
    }

    pub(crate) fn color(&self) -> Color {
        self.color
    }

    /// Scales a frame, for [`compose`](Self::compose) and [`cells`](Self::cells).
    pub(crate) fn scale(&mut self, frame: &RawFrame) -> Result<(), gst::glib::BoolError> {
        self.scaler.scale(&frame.buffer, &frame.info)
    }

    /// What is compared of the scaled frame.
    pub(crate) fn cells(&self) -> Result<Cells, gst::glib::BoolError> {
        let scaled = self.scaler.scaled()?;
        let Plane { data, stride, width, height } = Self::plane(&scaled, 0)?;
        // A frame that is not as wide as a row has no rows.
        let rows = data.chunks(stride.max(1)).take(height).filter_map(|row| row.get(..width));
        Ok(Cells::of(width, rows))
    }

    /// The planes of the picture of the scaled frame, without padding. With halved chroma, they are those of the
    /// letterbox's sampled area.
    pub(crate) fn compose(&mut self, chroma: Chroma) -> Result<Vec<u8>, gst::glib::BoolError> {
        let scaled = self.scaler.scaled()?;
        let area = match chroma {
            Chroma::Full => Area { left: 0, top: 0, size: self.picture },
            Chroma::Halved => self.letterbox.sampled(self.picture),
        };
        let (width, height) = (area.size.width as usize, area.size.height as usize);
        let chroma_plane = match chroma {
            Chroma::Full => width * height,
            Chroma::Halved => width.div_ceil(2) * height.div_ceil(2),
        };
        let mut picture = Vec::with_capacity(width * height + 2 * chroma_plane);
        let black = if self.color.full_range { 0 } else { 16 };
        self.place(&scaled, 0, area, black, &mut picture)?;
        for plane in 1..3 {
            match chroma {
                Chroma::Full => self.place(&scaled, plane, area, NO_CHROMA, &mut picture)?,
                Chroma::Halved => {
                    let mut full = std::mem::take(&mut self.full_chroma);
                    full.clear();
                    self.place(&scaled, plane, area, NO_CHROMA, &mut full)?;
                    halve(&full, width, &mut picture);
                    self.full_chroma = full;
                }
            }
        }
        Ok(picture)
    }

    /// Turns a plane of the scaled frame upright, and appends it to `to` with the part of the
    /// picture's border that lies in `area`. `area` contains the whole frame.
    fn place(
        &self,
        scaled: &VideoFrameRef<&gst::BufferRef>,
        plane: u32,
        area: Area,
        border: u8,
        to: &mut Vec<u8>,
    ) -> Result<(), gst::glib::BoolError> {
        let (width, start) = (area.size.width as usize, to.len());
        to.resize(start + width * area.size.height as usize, border);
        let (from, Letterbox { left, top, content, .. }) =
            (Self::plane(scaled, plane)?, self.letterbox);
        let (left, top) = ((left - area.left) as usize, (top - area.top) as usize);
        for (y, row) in
            to[start..].chunks_exact_mut(width).skip(top).take(content.height as usize).enumerate()
        {
            from.copy_row(self.orientation, y, &mut row[left..left + content.width as usize]);
        }
        Ok(())
    }

    fn plane<'a>(
        scaled: &'a VideoFrameRef<&gst::BufferRef>,
        plane: u32,
    ) -> Result<Plane<'a>, gst::glib::BoolError> {
        let stride = scaled
            .plane_stride()
            .get(plane as usize)
            .map_or(0, |stride| stride.unsigned_abs() as usize);
        let (width, height) = (scaled.width() as usize, scaled.height() as usize);
        Ok(Plane { data: scaled.plane_data(plane)?, stride, width, height })
    }
}

/// Shape of the pixels.
fn aspect(info: &VideoInfo) -> (u32, u32) {
    let aspect = info.par();
    (aspect.numer().unsigned_abs(), aspect.denom().unsigned_abs())
}

/// Appends a plane of half the width and height. Each value is the mean of the four pixels that it
/// covers, even at the frame's edge.
fn halve(plane: &[u8], width: usize, to: &mut Vec<u8>) {
    for rows in plane.chunks(2 * width) {
        let (even, odd) = rows.split_at(width);
        // With an odd number of rows, the last one is its own partner; so is the last column.
        let odd = if odd.is_empty() { even } else { odd };
        #[expect(clippy::cast_possible_truncation, reason = "the mean of bytes fits into a byte")]
        let mean = |(a, b): (&[u8], &[u8])| {
            let sum = u16::from(a[0])
                + u16::from(a[a.len() - 1])
                + u16::from(b[0])
                + u16::from(b[b.len() - 1]);
            ((sum + 2) / 4) as u8
        };
        to.extend(even.chunks(2).zip(odd.chunks(2)).map(mean));
    }
}

/// One plane of a frame, as stored.
struct Plane<'a> {
    data: &'a [u8],
    stride: usize,
    width: usize,
    height: usize,
}

impl Plane<'_> {
    /// Fills `row` with the upright row `y`.
    fn copy_row(&self, orientation: Orientation, y: usize, row: &mut [u8]) {
        if orientation.is_upright() {
            let start = y * self.stride;
            row.copy_from_slice(&self.data[start..start + row.len()]);
            return;
        }
        for (x, value) in row.iter_mut().enumerate() {
            let (column, line) = orientation.stored(x, y, self.width, self.height);
            *value = self.data[line * self.stride + column];
        }
    }
}
