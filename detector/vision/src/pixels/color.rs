use moliceiro_messages::Color;

use crate::input::{Colors, Input};

/// The chroma of grey.
pub(super) const NEUTRAL: u8 = 128;

/// The change from a value of 0..=255 to that of the tensor's planes: value · gain + bias.
pub(super) struct Normalisation {
    pub colors: Colors,
    pub gain: [f32; 3],
    pub bias: [f32; 3],
}

impl Normalisation {
    pub fn new(input: &Input) -> Self {
        let gain = input.std.map(|std| input.scale / std);
        let bias = [0, 1, 2].map(|plane| 0.0 - input.mean[plane] / input.std[plane]);
        Self { colors: input.colors, gain, bias }
    }

    /// Black in each of the tensor's planes.
    pub fn black(&self) -> [f32; 3] {
        self.bias
    }
}

/// One row of a picture, with chroma at the resolution of luma.
#[derive(Default)]
pub(super) struct YCbCrRow {
    pub y: Vec<u8>,
    pub cb: Vec<u8>,
    pub cr: Vec<u8>,
}

impl YCbCrRow {
    pub fn resize(&mut self, width: usize) {
        for row in [&mut self.y, &mut self.cb, &mut self.cr] {
            row.resize(width, 0);
        }
    }

    /// Makes the whole row grey of this luma.
    pub fn fill_grey(&mut self, luma: u8) {
        self.y.fill(luma);
        self.cb.fill(NEUTRAL);
        self.cr.fill(NEUTRAL);
    }
}

/// From Y'CbCr to the values of the tensor's three planes.
pub(super) struct ColorConversion {
    /// Y' of black: 0 or 16.
    black_luma: u8,
    luma_gain: f32,
    planes: [Plane; 3],
}

#[derive(Clone, Copy)]
struct Plane {
    cb: f32,
    cr: f32,
    gain: f32,
    bias: f32,
}

impl ColorConversion {
    /// The equations of ITU-T H.273, 8.3 (table 4 has the constants Kr and Kb), solved for R'G'B'.
    pub fn new(color: Color, normalisation: &Normalisation) -> Self {
        let (kr, kb) = color.matrix.luma_weights();
        let kg = 1.0 - kr - kb;
        let (black_luma, luma, chroma) =
            if color.full_range { (0, 1.0, 1.0) } else { (16, 255.0 / 219.0, 255.0 / 224.0) };
        let from_cr = 2.0 * (1.0 - kr) * chroma;
        let from_cb = 2.0 * (1.0 - kb) * chroma;
        let red = (0.0, from_cr);
        let green = (-from_cb * kb / kg, -from_cr * kr / kg);
        let blue = (from_cb, 0.0);
        let order = match normalisation.colors {
            Colors::Rgb => [red, green, blue],
            Colors::Bgr => [blue, green, red],
        };
        #[expect(clippy::cast_possible_truncation, reason = "bytes need less precision than f32")]
        let coefficient = |value: f64| value as f32;
        let plane = |index: usize| {
            let (cb, cr) = order[index];
            Plane {
                cb: coefficient(cb),
                cr: coefficient(cr),
                gain: normalisation.gain[index],
                bias: normalisation.bias[index],
            }
        };
        Self { black_luma, luma_gain: coefficient(luma), planes: [plane(0), plane(1), plane(2)] }
    }

    /// Black in Y'.
    pub fn black_luma(&self) -> u8 {
        self.black_luma
    }

    /// Black in each of the tensor's planes.
    pub fn black(&self) -> [f32; 3] {
        self.planes.map(|plane| plane.bias)
    }

    /// Converts a row. All slices have the same length: stated once before the loop, this lets the
    /// compiler emit vector instructions.
    pub fn convert(&self, y: &[u8], cb: &[u8], cr: &[u8], [first, second, third]: [&mut [f32]; 3]) {
        let width = y.len();
        let (cb, cr) = (&cb[..width], &cr[..width]);
        let (first, second, third) =
            (&mut first[..width], &mut second[..width], &mut third[..width]);
        let black = f32::from(self.black_luma);
        let neutral = f32::from(NEUTRAL);
        for x in 0..width {
            let luma = (f32::from(y[x]) - black) * self.luma_gain;
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
/// From 2²³ on, f32 has no fractions, so the addition itself rounds, with fewer instructions than
/// `f32::round`.
fn round(value: f32) -> f32 {
    const NO_FRACTIONS: f32 = 1.5 * 8_388_608.0;
    (value + NO_FRACTIONS) - NO_FRACTIONS
}
