use moliceiro_messages::{Color, Fit, Letterbox, Matrix, Scaling};
use proptest::prelude::*;

use super::color::NEUTRAL;
use super::*;
use crate::input::{Colors, Element, Layout};

fn input(colors: Colors) -> Input {
    Input {
        name: String::new(),
        element: Element::Float32,
        layout: Layout::Nchw,
        batch: true,
        size: [2, 2],
        multiple_of: None,
        colors,
        scale: 1.0,
        mean: [0.0; 3],
        std: [1.0; 3],
        fit: Fit::Letterbox,
        scaling: Scaling::Linear,
        padding: [0; 3],
    }
}

fn i420(color: Color, size: Size, bytes: &[u8]) -> Picture<'_> {
    let letterbox = Letterbox { source: size, left: 0, top: 0, content: size };
    Picture { encoding: Encoding::I420, size, letterbox, color, bytes }
}

fn tensor(input: &Input, picture: Picture<'_>) -> Vec<f32> {
    Pixels::new(input).decode(picture).unwrap().tensor().to_vec()
}

fn one_color(input: &Input, color: Color, [y, cb, cr]: [u8; 3]) -> [f32; 3] {
    let bytes = [y, y, y, y, cb, cr];
    let tensor = tensor(input, i420(color, Size { width: 2, height: 2 }, &bytes));
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
    let [[a, b], [c, d], [e, f]] = [both(Matrix::Bt601), both(Matrix::Bt709), both(Matrix::Bt2020)];
    [a, b, c, d, e, f]
};

#[test]
fn black_white_and_grey_have_no_colour_in_any_matrix() {
    for color in COLORS {
        let of = |y| one_color(&input(Colors::Rgb), color, [y, 128, 128]);
        let (black, white) = if color.full_range { (0, 255) } else { (16, 235) };
        assert!(close(of(black), [0.0; 3], 0.0) && close(of(white), [255.0; 3], 1e-4), "{color:?}");
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
    let [red, green, blue] = one_color(&self::input(Colors::Rgb), COLORS[0], [76, 85, 255]);
    assert!(
        close(found, [blue * 0.5 - 1.0, (green * 0.5 - 2.0) / 2.0, (red * 0.5 - 3.0) / 4.0], 1e-4),
        "{found:?}"
    );
    let mut pixels = Pixels::new(&input);
    assert_eq!(pixels.blank(Size { width: 1, height: 2 }), [-1.0, -1.0, -1.0, -1.0, -0.75, -0.75]);
}

#[test]
fn a_border_has_the_colour_of_the_padding_whatever_arrives() {
    let padded = Input { padding: [10, 20, 30], ..input(Colors::Bgr) };
    let size = Size { width: 4, height: 4 };
    let content = Size { width: 1, height: 2 };
    let letterbox = Letterbox { source: content, left: 1, top: 1, content };
    let area = letterbox.sampled(size);
    let grey = vec![128; area.size.i420_len().unwrap()];
    let tensor = tensor(&padded, Picture { letterbox, ..i420(COLORS[0], size, &grey) });
    for (plane, padding) in tensor.chunks_exact(16).zip([30.0, 20.0, 10.0]) {
        for (index, value) in plane.iter().enumerate() {
            let inside = [5, 9].contains(&index);
            assert_eq!(*value, if inside { 128.0 } else { padding }, "{index}");
        }
    }
}

#[test]
fn an_image_is_normalised_as_a_frame_is() {
    let mut input = input(Colors::Bgr);
    (input.scale, input.mean, input.std) = (0.5, [1.0, 2.0, 3.0], [1.0, 2.0, 4.0]);
    let image = Image::new(Size { width: 1, height: 1 }, vec![40, 20, 10]).unwrap();
    assert_eq!(Pixels::new(&input).image(&image), [4.0, 4.0, 4.25]);
}

proptest! {
    /// Against the same picture with all of its border sent.
    #[test]
    fn the_picture_is_black_around_the_sampled_area(
        picture in (1u32..40, 1u32..40),
        from in prop::array::uniform2(prop_oneof![Just(0.0), 0.0..1.0]),
        of in prop::array::uniform2(prop_oneof![Just(1.0), 0.0..1.0]),
        color in prop::sample::select(COLORS.to_vec()),
        seed in any::<u8>(),
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
        let byte = |n: usize| (n as u8).wrapping_mul(31).wrapping_add(seed);
        let bytes: Vec<u8> = (0..area.size.i420_len().unwrap()).map(byte).collect();
        let black = if color.full_range { 0 } else { 16 };
        let mut whole = Vec::new();
        let mut samples = bytes.iter().copied();
        for (step, border) in [(1, black), (2, NEUTRAL), (2, NEUTRAL)] {
            let inside = |at: u32, start: u32, length: u32| {
                (start..start + length).contains(&(at * step))
            };
            for y in 0..size.height.div_ceil(step) {
                for x in 0..size.width.div_ceil(step) {
                    let sampled = inside(x, area.left, area.size.width)
                        && inside(y, area.top, area.size.height);
                    whole.push(if sampled { samples.next().unwrap() } else { border });
                }
            }
        }
        let input = input(Colors::Bgr);
        let bits = |picture| -> Vec<u32> {
            tensor(&input, picture).iter().map(|value| value.to_bits()).collect()
        };
        prop_assert_eq!(
            bits(Picture { letterbox, ..i420(color, size, &bytes) }),
            bits(i420(color, size, &whole))
        );
    }

    /// Against the formula written out for each pixel, with the last column and row of odd sizes.
    #[test]
    fn i420_is_converted_pixel_by_pixel(
        width in 1u32..40,
        height in 1u32..9,
        color in prop::sample::select(COLORS.to_vec()),
        seed in any::<u32>(),
    ) {
        let size = Size { width, height };
        let mut state = seed | 1;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        };
        let bytes: Vec<u8> = (0..size.i420_len().unwrap()).map(|_| random()).collect();
        let tensor = tensor(&input(Colors::Rgb), i420(color, size, &bytes));
        let (width, height) = (width as usize, height as usize);
        let half = width.div_ceil(2);
        let chroma = half * height.div_ceil(2);
        let (kr, kb) = match color.matrix {
            Matrix::Bt601 => (0.299, 0.114),
            Matrix::Bt709 => (0.2126, 0.0722),
            Matrix::Bt2020 => (0.2627, 0.0593),
        };
        for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
            let luma = f64::from(bytes[y * width + x]);
            let at = width * height + y / 2 * half + x / 2;
            let (cb, cr) = (f64::from(bytes[at]) - 128.0, f64::from(bytes[at + chroma]) - 128.0);
            let (luma, pb, pr) = if color.full_range {
                (luma / 255.0, cb / 255.0, cr / 255.0)
            } else {
                ((luma - 16.0) / 219.0, cb / 224.0, cr / 224.0)
            };
            let (red, blue) = (luma + 2.0 * (1.0 - kr) * pr, luma + 2.0 * (1.0 - kb) * pb);
            let green = (luma - kr * red - kb * blue) / (1.0 - kr - kb);
            let expected = [red, green, blue].map(|value| (value.clamp(0.0, 1.0) * 255.0) as f32);
            let found = [0, 1, 2].map(|plane| tensor[plane * width * height + y * width + x]);
            prop_assert!(
                close(found, expected, 0.501) && found.iter().all(|v| v.fract() == 0.0),
                "{:?} {:?}", found, expected
            );
        }
    }
}
