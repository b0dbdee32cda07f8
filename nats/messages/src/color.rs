use serde::{Deserialize, Serialize};

/// What Y'CbCr values mean (ITU-T H.273).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Color {
    /// The coefficients between Y'CbCr and R'G'B'.
    pub matrix: Matrix,
    /// True when Y' uses all of 0..=255, false when 16..=235.
    pub full_range: bool,
}

/// Coefficients between Y'CbCr and R'G'B' (ITU-T H.273, table 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Matrix {
    /// ITU-R BT.601, standard definition and JPEG.
    Bt601,
    /// ITU-R BT.709, high definition.
    Bt709,
    /// ITU-R BT.2020, non-constant luminance.
    Bt2020,
}

impl Matrix {
    /// The weights of red and blue in luma, `(Kr, Kb)` of ITU-T H.273, table 4. Green has the rest.
    pub const fn luma_weights(self) -> (f64, f64) {
        match self {
            Self::Bt601 => (0.299, 0.114),
            Self::Bt709 => (0.2126, 0.0722),
            Self::Bt2020 => (0.2627, 0.0593),
        }
    }
}
