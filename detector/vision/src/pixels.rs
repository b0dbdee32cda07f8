//! From a frame's payload to the model's input tensor.

use moliceiro_messages::{Area, Color, Encoding, Frame, Size};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};

use crate::manifest::{Colors, Input};
use crate::session::FrameError;

/// The longest side of a picture, in pixels, that a model is given. A frame's size comes over the
/// network, and memory and time grow with it.
pub(crate) const MAX_SIDE: u32 = 2048;

/// Turns frames into tensors, in buffers that are used again.
pub(crate) struct Pixels {
    normalisation: Normalisation,
    /// Y'CbCr triples of a JPEG, or the grey values of one without colour.
    decoded: Vec<u8>,
    row: YCbCrRow,
    tensor: Vec<f32>,
}

/// One row, at full resolution.
#[derive(Default)]
struct YCbCrRow {
    y: Vec<u8>,
    cb: Vec<u8>,
    cr: Vec<u8>,
}

/// What becomes of a value of 0..=255 in each of the tensor's planes: value · gain + bias.
struct Normalisation {
    colors: Colors,
    gain: [f32; 3],
    bias: [f32; 3],
}

/// Where a frame's samples are, and which.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Decoded {
    /// In its payload, as they are: those of this area.
    I420(Area),
    /// In the buffer, from a JPEG.
    YCbCr,
    Grey,
}

impl Pixels {
    pub fn new(input: &Input) -> Self {
        let gain = input.std.map(|std| input.scale / std);
        let bias = [0, 1, 2].map(|plane| 0.0 - input.mean[plane] / input.std[plane]);
        let normalisation = Normalisation { colors: input.colors, gain, bias };
        Self { normalisation, decoded: vec![], row: YCbCrRow::default(), tensor: vec![] }
    }

    /// The tensor of a picture that is black everywhere.
    pub fn blank(&mut self, size: Size) -> &[f32] {
        let plane = size.width as usize * size.height as usize;
        self.tensor.clear();
        for bias in self.normalisation.bias {
            self.tensor.resize(self.tensor.len() + plane, bias);
        }
        &self.tensor
    }

    /// Makes a frame's samples readable, for [`Self::tensor`]. Its letterbox must fit its size.
    pub fn decode(&mut self, frame: &Frame) -> Result<Decoded, FrameError> {
        let area = frame.letterbox.sampled(frame.size);
        match frame.encoding {
            Encoding::Jpeg => decode_jpeg(&frame.pixels, frame.size, &mut self.decoded),
            Encoding::I420 if area.size.i420_len() == Some(frame.pixels.len()) => {
                Ok(Decoded::I420(area))
            }
            Encoding::I420 => {
                let Size { width, height } = area.size;
                let reason =
                    format!("{} bytes are not I420 of {width}×{height} pixels", frame.pixels.len());
                Err(FrameError::Undecodable(reason))
            }
        }
    }

    /// The tensor of a frame: three planes of `frame.size`, row by row. The size must be one that
    /// the model takes, and `decoded` what [`Self::decode`] gave for this frame.
    pub fn tensor(&mut self, frame: &Frame, decoded: Decoded) -> &[f32] {
        let (width, height) = (frame.size.width as usize, frame.size.height as usize);
        let planes = Planes::new(frame.color, &self.normalisation);
        self.tensor.resize(3 * width * height, 0.0);
        self.row.resize(width);
        match decoded {
            Decoded::I420(area) => self.convert_i420(&frame.pixels, area, width, &planes),
            Decoded::YCbCr => self.convert_triples(width, &planes),
            Decoded::Grey => self.convert_grey(width, &planes),
        }
        &self.tensor
    }

    fn convert_i420(&mut self, pixels: &[u8], area: Area, width: usize, planes: &Planes) {
        let [left, top, columns, rows] =
            [area.left, area.top, area.size.width, area.size.height].map(|length| length as usize);
        let plane = self.tensor.len() / 3;
        for (plane, bias) in self.tensor.chunks_exact_mut(plane).zip(self.normalisation.bias) {
            plane[..top * width].fill(bias);
            plane[(top + rows) * width..].fill(bias);
        }
        let (luma, chroma) = pixels.split_at(columns * rows);
        let (cb, cr) = chroma.split_at(chroma.len() / 2);
        let half = columns.div_ceil(2);
        let pairs = luma.chunks(2 * columns).zip(cb.chunks_exact(half).zip(cr.chunks_exact(half)));
        self.row.fill(planes.black as u8);
        let inside = left..left + columns;
        for ((luma, (cb, cr)), tensor) in
            pairs.zip(tensor_rows(&mut self.tensor, width, 2).skip(top / 2))
        {
            double(cb, &mut self.row.cb[inside.clone()]);
            double(cr, &mut self.row.cr[inside.clone()]);
            let tensor = tensor.map(|plane| plane.chunks_exact_mut(width));
            for (y, tensor) in luma.chunks_exact(columns).zip(together(tensor)) {
                self.row.y[inside.clone()].copy_from_slice(y);
                planes.convert(&self.row.y, &self.row.cb, &self.row.cr, tensor);
            }
        }
    }

    fn convert_triples(&mut self, width: usize, planes: &Planes) {
        let YCbCrRow { y, cb, cr } = &mut self.row;
        for (triples, tensor) in
            self.decoded.chunks_exact(3 * width).zip(tensor_rows(&mut self.tensor, width, 1))
        {
            for (((triple, y), cb), cr) in
                triples.chunks_exact(3).zip(y.iter_mut()).zip(cb.iter_mut()).zip(cr.iter_mut())
            {
                (*y, *cb, *cr) = (triple[0], triple[1], triple[2]);
            }
            planes.convert(y, cb, cr, tensor);
        }
    }

    fn convert_grey(&mut self, width: usize, planes: &Planes) {
        self.row.fill(0);
        for (y, tensor) in
            self.decoded.chunks_exact(width).zip(tensor_rows(&mut self.tensor, width, 1))
        {
            planes.convert(y, &self.row.cb, &self.row.cr, tensor);
        }
    }
}

impl YCbCrRow {
    fn resize(&mut self, width: usize) {
        for row in [&mut self.y, &mut self.cb, &mut self.cr] {
            row.resize(width, 0);
        }
    }

    /// All without colour, and this bright.
    fn fill(&mut self, luma: u8) {
        self.y.fill(luma);
        self.cb.fill(NEUTRAL);
        self.cr.fill(NEUTRAL);
    }
}

/// The same rows of the tensor's three planes, `rows` at a time.
fn tensor_rows(
    tensor: &mut [f32],
    width: usize,
    rows: usize,
) -> impl Iterator<Item = [&mut [f32]; 3]> {
    let plane = tensor.len() / 3;
    let (first, others) = tensor.split_at_mut(plane);
    let (second, third) = others.split_at_mut(plane);
    together([first, second, third].map(|plane| plane.chunks_mut(rows * width)))
}

fn together<T>(
    [first, second, third]: [impl Iterator<Item = T>; 3],
) -> impl Iterator<Item = [T; 3]> {
    first.zip(second).zip(third).map(|((first, second), third)| [first, second, third])
}

/// Each value twice; the last one once if the row is odd.
fn double(values: &[u8], row: &mut [u8]) {
    for (pair, value) in row.chunks_mut(2).zip(values) {
        pair.fill(*value);
    }
}

/// The chroma of grey.
const NEUTRAL: u8 = 128;

/// The way from Y'CbCr to the values of the tensor's three planes.
struct Planes {
    black: f32,
    luma: f32,
    planes: [Plane; 3],
}

#[derive(Clone, Copy)]
struct Plane {
    cb: f32,
    cr: f32,
    gain: f32,
    bias: f32,
}

impl Planes {
    /// The equations of ITU-T H.273, 8.3 (table 4 has the constants Kr and Kb), solved for R'G'B'.
    fn new(color: Color, normalisation: &Normalisation) -> Self {
        let (kr, kb) = color.matrix.luma_weights();
        let kg = 1.0 - kr - kb;
        let (black, luma, chroma) =
            if color.full_range { (0.0, 1.0, 1.0) } else { (16.0, 255.0 / 219.0, 255.0 / 224.0) };
        let (from_cr, from_cb) = (2.0 * (1.0 - kr) * chroma, 2.0 * (1.0 - kb) * chroma);
        let red = (0.0, from_cr);
        let green = (-from_cb * kb / kg, -from_cr * kr / kg);
        let blue = (from_cb, 0.0);
        let order = match normalisation.colors {
            Colors::Rgb => [red, green, blue],
            Colors::Bgr => [blue, green, red],
        };
        let plane = |index: usize| {
            let (cb, cr) = order[index];
            Plane {
                cb: cb as f32,
                cr: cr as f32,
                gain: normalisation.gain[index],
                bias: normalisation.bias[index],
            }
        };
        Self { black, luma: luma as f32, planes: [plane(0), plane(1), plane(2)] }
    }

    /// Converts a row. All slices have the same length: said once before the loop, it becomes
    /// vector instructions.
    fn convert(&self, y: &[u8], cb: &[u8], cr: &[u8], [first, second, third]: [&mut [f32]; 3]) {
        let width = y.len();
        let (cb, cr) = (&cb[..width], &cr[..width]);
        let (first, second, third) =
            (&mut first[..width], &mut second[..width], &mut third[..width]);
        let neutral = f32::from(NEUTRAL);
        for x in 0..width {
            let luma = (f32::from(y[x]) - self.black) * self.luma;
            let (cb, cr) = (f32::from(cb[x]) - neutral, f32::from(cr[x]) - neutral);
            let value = |plane: Plane| {
                round((luma + plane.cb * cb + plane.cr * cr).clamp(0.0, 255.0)) * plane.gain
                    + plane.bias
            };
            first[x] = value(self.planes[0]);
            second[x] = value(self.planes[1]);
            third[x] = value(self.planes[2]);
        }
    }
}

/// To the nearest whole number, as in the pictures that models are trained on: fractions were seen
/// to shift scores by 0.017.
///
/// From 2²³ on, f32 has no fractions; so the sum is rounded by itself, with fewer instructions than
/// `f32::round`.
fn round(value: f32) -> f32 {
    const NO_FRACTIONS: f32 = 1.5 * 8_388_608.0;
    (value + NO_FRACTIONS) - NO_FRACTIONS
}

/// Decodes a JPEG of exactly this size. Its values are left as they are: no conversion to R'G'B'.
fn decode_jpeg(bytes: &[u8], size: Size, decoded: &mut Vec<u8>) -> Result<Decoded, FrameError> {
    let undecodable =
        |reason: String| FrameError::Undecodable(format!("not a JPEG that can be read: {reason}"));
    // The decoder fills what is missing at the very end with grey: an end marker says that nothing
    // is.
    let padding = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    if !bytes[..bytes.len() - padding].ends_with(&[0xff, 0xd9]) {
        return Err(undecodable("it is cut short".to_owned()));
    }
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(size.width as usize)
        .set_max_height(size.height as usize)
        // A progressive one may ask for any number of passes over the picture.
        .jpeg_set_max_scans(16)
        .jpeg_set_out_colorspace(ColorSpace::YCbCr);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let reason =
        |e: zune_jpeg::errors::DecodeErrors| undecodable(crate::runtime::one_line(&e.to_string()));
    decoder.decode_headers().map_err(reason)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    if (width, height) != (size.width as usize, size.height as usize) {
        return Err(undecodable(format!(
            "it has {width}×{height} pixels, and the frame says {}×{}",
            size.width, size.height
        )));
    }
    let (kind, bytes_per_pixel) = match decoder.input_colorspace() {
        Some(ColorSpace::YCbCr) => (Decoded::YCbCr, 3),
        Some(ColorSpace::Luma) => {
            decoder.set_options(options.jpeg_set_out_colorspace(ColorSpace::Luma));
            (Decoded::Grey, 1)
        }
        other => return Err(undecodable(format!("its colours are {other:?}, not YCbCr"))),
    };
    decoded.resize(width * height * bytes_per_pixel, 0);
    decoder.decode_into(decoded).map_err(reason)?;
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use moliceiro_messages::Letterbox;
    use moliceiro_messages::VideoId;
    use proptest::prelude::*;

    use moliceiro_messages::Matrix;

    use super::*;
    use crate::manifest::Layout;

    fn input(colors: Colors) -> Input {
        let (name, size) = (String::new(), [2, 2]);
        Input {
            name,
            size,
            multiple_of: None,
            layout: Layout::Nchw,
            colors,
            scale: 1.0,
            mean: [0.0; 3],
            std: [1.0; 3],
        }
    }

    fn i420(color: Color, size: Size, pixels: Vec<u8>) -> Frame {
        let letterbox = Letterbox { source: size, left: 0, top: 0, content: size };
        let video = VideoId::for_name("a", "1");
        Frame {
            version: 1,
            video,
            index: 0,
            pts: None,
            decoded_at: None,
            encoding: Encoding::I420,
            size,
            letterbox,
            color,
            pixels,
        }
    }

    fn one_color(input: &Input, color: Color, [y, cb, cr]: [u8; 3]) -> [f32; 3] {
        let frame = i420(color, Size { width: 2, height: 2 }, vec![y, y, y, y, cb, cr]);
        let mut pixels = Pixels::new(input);
        let decoded = pixels.decode(&frame).unwrap();
        let tensor = pixels.tensor(&frame, decoded);
        assert!(tensor.chunks_exact(4).all(|plane| plane.iter().all(|value| *value == plane[0])));
        [tensor[0], tensor[4], tensor[8]]
    }

    fn close(a: [f32; 3], b: [f32; 3], by: f32) -> bool {
        a.iter().zip(b).all(|(a, b)| (a - b).abs() <= by)
    }

    const COLORS: [Color; 6] = {
        const fn both(matrix: Matrix) -> [Color; 2] {
            [Color { matrix, full_range: true }, Color { matrix, full_range: false }]
        }
        let [[a, b], [c, d], [e, f]] =
            [both(Matrix::Bt601), both(Matrix::Bt709), both(Matrix::Bt2020)];
        [a, b, c, d, e, f]
    };

    #[test]
    fn black_white_and_grey_have_no_colour_in_any_matrix() {
        for color in COLORS {
            let of = |y| one_color(&input(Colors::Rgb), color, [y, 128, 128]);
            let (black, white) = if color.full_range { (0, 255) } else { (16, 235) };
            assert!(
                close(of(black), [0.0; 3], 0.0) && close(of(white), [255.0; 3], 1e-4),
                "{color:?}"
            );
            let grey = of(100);
            assert!(grey[0] == grey[1] && grey[1] == grey[2]);
            if !color.full_range {
                assert_eq!((of(0), of(255)), ([0.0; 3], [255.0; 3]), "beyond the range is clamped");
            }
        }
    }

    #[test]
    fn pure_colours_come_out_pure() {
        // 8-bit codes of red, green and blue, from the equations of JFIF, BT.601, BT.709 and
        // BT.2020.
        let codes = [
            (COLORS[0], [[76, 85, 255], [150, 44, 21], [29, 255, 107]]),
            (COLORS[1], [[81, 90, 240], [145, 54, 34], [41, 240, 110]]),
            (COLORS[3], [[63, 102, 240], [173, 42, 26], [32, 240, 118]]),
            (COLORS[5], [[74, 97, 240], [164, 40, 25], [29, 240, 119]]),
        ];
        for (color, [red, green, blue]) in codes {
            for (code, pure) in
                [(red, [255.0, 0.0, 0.0]), (green, [0.0, 255.0, 0.0]), (blue, [0.0, 0.0, 255.0])]
            {
                let found = one_color(&input(Colors::Rgb), color, code);
                assert!(close(found, pure, 2.5), "{color:?} {code:?}: {found:?}");
            }
        }
    }

    #[test]
    fn normalisation_and_order_are_those_of_the_tensors_planes() {
        let mut input = input(Colors::Bgr);
        (input.scale, input.mean, input.std) = (0.5, [1.0, 2.0, 3.0], [1.0, 2.0, 4.0]);
        let found = one_color(&input, COLORS[0], [76, 85, 255]);
        let [red, green, blue] =
            one_color(&super::tests::input(Colors::Rgb), COLORS[0], [76, 85, 255]);
        assert!(
            close(
                found,
                [blue * 0.5 - 1.0, (green * 0.5 - 2.0) / 2.0, (red * 0.5 - 3.0) / 4.0],
                1e-4
            ),
            "{found:?}"
        );
        let mut pixels = Pixels::new(&input);
        assert_eq!(
            pixels.blank(Size { width: 1, height: 2 }),
            [-1.0, -1.0, -1.0, -1.0, -0.75, -0.75]
        );
    }

    proptest! {
        /// Against the same picture with all of its border sent.
        #[test]
        fn what_is_around_the_sampled_area_is_black(
            picture in (1u32..40, 1u32..40), from in prop::array::uniform2(prop_oneof![Just(0.0), 0.0..1.0]),
            of in prop::array::uniform2(prop_oneof![Just(1.0), 0.0..1.0]),
            color in prop::sample::select(COLORS.to_vec()), seed in any::<u8>()
        ) {
            let size = Size { width: picture.0, height: picture.1 };
            let place = |whole: u32, axis: usize| {
                let offset = (f64::from(whole) * from[axis]) as u32;
                (offset, 1 + (f64::from(whole - offset - 1) * of[axis]) as u32)
            };
            let ((left, width), (top, height)) = (place(size.width, 0), place(size.height, 1));
            let content = Size { width, height };
            let letterbox = Letterbox { source: content, left, top, content };
            let area = letterbox.sampled(size);
            let bytes: Vec<u8> = (0..area.size.i420_len().unwrap()).map(|n| (n as u8).wrapping_mul(31).wrapping_add(seed)).collect();
            let black = if color.full_range { 0 } else { 16 };
            let mut whole = Vec::new();
            let mut samples = bytes.iter().copied();
            for (step, border) in [(1, black), (2, NEUTRAL), (2, NEUTRAL)] {
                let inside = |at: u32, start: u32, length: u32| (start..start + length).contains(&(at * step));
                for (x, y) in (0..size.height.div_ceil(step)).flat_map(|y| (0..size.width.div_ceil(step)).map(move |x| (x, y))) {
                    let sampled = inside(x, area.left, area.size.width) && inside(y, area.top, area.size.height);
                    whole.push(if sampled { samples.next().unwrap() } else { border });
                }
            }
            let mut pixels = Pixels::new(&input(Colors::Bgr));
            let expected = pixels.tensor(&i420(color, size, whole), Decoded::I420(Area { left: 0, top: 0, size })).iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            let frame = Frame { letterbox, ..i420(color, size, bytes) };
            let decoded = pixels.decode(&frame).unwrap();
            prop_assert_eq!(pixels.tensor(&frame, decoded).iter().map(|value| value.to_bits()).collect::<Vec<_>>(), expected);
        }

        /// Against the formula written out for each pixel, with the last column and row of odd
        /// sizes.
        #[test]
        fn i420_is_converted_pixel_by_pixel(
            width in 1u32..40, height in 1u32..9, color in prop::sample::select(COLORS.to_vec()), seed in any::<u32>()
        ) {
            let size = Size { width, height };
            let mut state = seed | 1;
            let mut random = || { state ^= state << 13; state ^= state >> 17; state ^= state << 5; state as u8 };
            let bytes: Vec<u8> = (0..size.i420_len().unwrap()).map(|_| random()).collect();
            let mut pixels = Pixels::new(&input(Colors::Rgb));
            let tensor = pixels.tensor(&i420(color, size, bytes.clone()), Decoded::I420(Area { left: 0, top: 0, size }));
            let (width, height) = (width as usize, height as usize);
            let (half, chroma) = (width.div_ceil(2), width.div_ceil(2) * height.div_ceil(2));
            let (kr, kb) = match color.matrix { Matrix::Bt601 => (0.299, 0.114), Matrix::Bt709 => (0.2126, 0.0722), Matrix::Bt2020 => (0.2627, 0.0593) };
            for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
                let luma = f64::from(bytes[y * width + x]);
                let at = width * height + y / 2 * half + x / 2;
                let (cb, cr) = (f64::from(bytes[at]) - 128.0, f64::from(bytes[at + chroma]) - 128.0);
                let (luma, pb, pr) = if color.full_range { (luma / 255.0, cb / 255.0, cr / 255.0) } else { ((luma - 16.0) / 219.0, cb / 224.0, cr / 224.0) };
                let (red, blue) = (luma + 2.0 * (1.0 - kr) * pr, luma + 2.0 * (1.0 - kb) * pb);
                let green = (luma - kr * red - kb * blue) / (1.0 - kr - kb);
                let expected = [red, green, blue].map(|value| (value.clamp(0.0, 1.0) * 255.0) as f32);
                let found = [0, 1, 2].map(|plane| tensor[plane * width * height + y * width + x]);
                prop_assert!(close(found, expected, 0.501) && found.iter().all(|v| v.fract() == 0.0), "{:?} {:?}", found, expected);
            }
        }
    }
}
