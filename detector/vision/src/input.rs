use moliceiro_messages::{Fit, Size};
use serde::Deserialize;

use crate::value::InvalidValue;

/// The picture that the model takes. In the tensor, a value v of 0..=255 becomes (v · scale − mean)
/// / std, with `mean` and `std` in the order of `colors`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    pub name: String,
    /// Width and height.
    pub size: [u32; 2],
    /// The model also takes every size whose sides are multiples of this. Without it, only `size`.
    pub multiple_of: Option<u32>,
    /// How frames are best fitted into the picture.
    #[serde(default = "letterbox")]
    pub fit: Fit,
    #[serde(default)]
    pub layout: Layout,
    pub colors: Colors,
    #[serde(default = "one")]
    pub scale: f32,
    #[serde(default)]
    pub mean: [f32; 3],
    #[serde(default = "ones")]
    pub std: [f32; 3],
}

/// The order of the tensor's dimensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Layout {
    /// Picture, colour, row, column.
    #[default]
    Nchw,
}

/// The order of the tensor's colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Colors {
    Rgb,
    Bgr,
}

fn letterbox() -> Fit {
    Fit::Letterbox
}

fn one() -> f32 {
    1.0
}

fn ones() -> [f32; 3] {
    [1.0; 3]
}

impl Input {
    pub fn check(&self) -> Result<(), InvalidValue> {
        let sides = 1..=Size::MAX_SIDE;
        if !self.size.iter().all(|side| sides.contains(side)) {
            let rule = format!("two numbers from 1 to {}", Size::MAX_SIDE);
            return Err(InvalidValue::new("input.size", rule));
        }
        if let Some(step) = self.multiple_of
            && (step == 0 || !self.size.iter().all(|side| side.is_multiple_of(step)))
        {
            let size = self.size;
            let rule = format!("multiples of input.multiple_of ({step}), and is {size:?}");
            return Err(InvalidValue::new("input.size", rule));
        }
        if !self.takes_fitted(self.fit) {
            let rule = format!("with fit \"area\" or \"within\": a divisor of {}", Fit::STEP);
            return Err(InvalidValue::new("input.multiple_of", rule));
        }
        let numbers = self.mean.iter().chain(&self.std).chain([&self.scale]);
        if !numbers.copied().all(f32::is_finite) || self.scale == 0.0 || self.std.contains(&0.0) {
            let rule = "finite, and scale and std not 0";
            return Err(InvalidValue::new("input.scale, input.mean and input.std", rule));
        }
        Ok(())
    }

    /// True if the model takes the pictures that such a fit makes.
    pub fn takes_fitted(&self, fit: Fit) -> bool {
        !fit.varies() || self.multiple_of.is_some_and(|multiple| Fit::STEP.is_multiple_of(multiple))
    }

    /// True if the model takes pictures of this size.
    pub fn takes(&self, size: Size) -> bool {
        let sides = [size.width, size.height];
        let allowed = |step: u32| {
            sides
                .iter()
                .all(|side| (1..=Size::MAX_SIDE).contains(side) && side.is_multiple_of(step))
        };
        sides == self.size || self.multiple_of.is_some_and(allowed)
    }

    /// The tensor's shape for pictures of this size.
    pub fn shape(&self, size: Size) -> [i64; 4] {
        let (height, width) = (i64::from(size.height), i64::from(size.width));
        match self.layout {
            Layout::Nchw => [1, 3, height, width],
        }
    }

    /// The sizes that the model takes, for messages.
    pub fn sizes(&self) -> String {
        match self.multiple_of {
            Some(step) => format!("multiples of {step} up to {}", Size::MAX_SIDE),
            None => format!("{}×{}", self.size[0], self.size[1]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_takes_its_own_size_and_the_multiples_that_its_manifest_allows() {
        let mut input: Input = toml::from_str(
            "name = \"picture\"\nsize = [64, 32]\nmultiple_of = 32\ncolors = \"rgb\"",
        )
        .unwrap();
        let takes = |input: &Input, width, height| input.takes(Size { width, height });
        assert!(takes(&input, 64, 32) && takes(&input, 416, 192));
        assert!(!takes(&input, 0, 32) && !takes(&input, 416, 200) && !takes(&input, 4096, 32));
        input.multiple_of = None;
        assert!(takes(&input, 64, 32) && !takes(&input, 32, 64));
    }
}
