use half::f16;
use half::slice::HalfFloatSliceExt;
use moliceiro_messages::{Fit, Scaling, Size};
use serde::{Deserialize, Serialize};

use crate::value::InvalidValue;

/// The picture that the model takes. In the tensor, a value v of 0..=255 becomes (v · scale − mean)
/// / std, with `mean` and `std` in the order of `colors`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Input {
    pub name: String,
    pub element: Element,
    pub layout: Layout,
    /// The first dimension counts pictures.
    pub batch: bool,
    /// Width and height.
    pub size: [u32; 2],
    /// The model also takes every size whose sides are multiples of this. Without it, only `size`.
    pub multiple_of: Option<u32>,
    pub colors: Colors,
    pub scale: f32,
    pub mean: [f32; 3],
    pub std: [f32; 3],
    pub fit: Fit,
    pub scaling: Scaling,
    /// The red, green and blue around a letterboxed picture.
    pub padding: [u8; 3],
}

/// The order of the tensor's dimensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Picture, colour, row, column.
    #[default]
    Nchw,
    /// Picture, row, column, colour.
    Nhwc,
}

/// The order of the tensor's colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colors {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// The type of the tensor's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Element {
    /// 32-bit floating point.
    Float32,
    /// 16-bit floating point.
    Float16,
    /// Bytes, 0 to 255.
    Uint8,
}

/// A tensor as ONNX Runtime takes it.
pub(crate) enum Packed<'a> {
    Float32(&'a [f32]),
    Float16(&'a [f16]),
    Uint8(&'a [u8]),
}

/// Buffers that are reused.
#[derive(Default)]
pub(crate) struct Packing {
    floats: Vec<f32>,
    halves: Vec<f16>,
    bytes: Vec<u8>,
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
            let fit: &str = self.fit.into();
            let rule = format!("with fit {fit:?}: a divisor of {}", Fit::STEP);
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

    pub fn default_size(&self) -> Size {
        let [width, height] = self.size;
        Size { width, height }
    }

    /// The tensor's shape for pictures of this size.
    pub fn shape(&self, size: Size) -> Vec<i64> {
        let (height, width) = (i64::from(size.height), i64::from(size.width));
        let picture = match self.layout {
            Layout::Nchw => [3, height, width],
            Layout::Nhwc => [height, width, 3],
        };
        self.batch.then_some(1).into_iter().chain(picture).collect()
    }

    /// The sizes that the model takes, for messages.
    pub fn sizes(&self) -> String {
        match self.multiple_of {
            Some(1) => format!("any size up to {}", Size::MAX_SIDE),
            Some(step) => format!("multiples of {step} up to {}", Size::MAX_SIDE),
            None => format!("{}×{}", self.size[0], self.size[1]),
        }
    }

    /// The padding in the tensor's three planes.
    pub fn padding_planes(&self) -> [f32; 3] {
        let mut padding = self.padding.map(f32::from);
        if self.colors == Colors::Bgr {
            padding.reverse();
        }
        [0, 1, 2].map(|plane| {
            padding[plane] * (self.scale / self.std[plane])
                + (0.0 - self.mean[plane] / self.std[plane])
        })
    }

    /// Three planes of float32 in the order and type of the tensor.
    pub fn pack<'a>(&self, planes: &'a [f32], packing: &'a mut Packing) -> Packed<'a> {
        let Packing { floats, halves, bytes } = packing;
        let planes = match self.layout {
            Layout::Nchw => planes,
            Layout::Nhwc => {
                let (first, others) = planes.split_at(planes.len() / 3);
                let (second, third) = others.split_at(others.len() / 2);
                floats.resize(planes.len(), 0.0);
                let pixels = first.iter().zip(second).zip(third);
                for (pixel, ((first, second), third)) in floats.chunks_exact_mut(3).zip(pixels) {
                    (pixel[0], pixel[1], pixel[2]) = (*first, *second, *third);
                }
                floats
            }
        };
        match self.element {
            Element::Float32 => Packed::Float32(planes),
            Element::Float16 => {
                halves.resize(planes.len(), f16::ZERO);
                halves.convert_from_f32_slice(planes);
                Packed::Float16(halves)
            }
            Element::Uint8 => {
                bytes.clear();
                #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
                #[expect(clippy::cast_sign_loss, reason = "`as` saturates")]
                bytes.extend(planes.iter().map(|value| *value as u8));
                Packed::Uint8(bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn input(size: [u32; 2]) -> Input {
        Input {
            name: "picture".to_owned(),
            element: Element::Float32,
            layout: Layout::Nchw,
            batch: true,
            size,
            multiple_of: Some(32),
            colors: Colors::Rgb,
            scale: 1.0,
            mean: [0.0; 3],
            std: [1.0; 3],
            fit: Fit::Letterbox,
            scaling: Scaling::Linear,
            padding: [0; 3],
        }
    }

    #[test]
    fn a_model_takes_its_own_size_and_the_multiples_that_its_manifest_allows() {
        let mut input = input([64, 32]);
        let takes = |input: &Input, width, height| input.takes(Size { width, height });
        assert!(takes(&input, 64, 32) && takes(&input, 416, 192));
        assert!(!takes(&input, 0, 32) && !takes(&input, 416, 200) && !takes(&input, 4096, 32));
        input.multiple_of = None;
        assert!(takes(&input, 64, 32) && !takes(&input, 32, 64));
    }

    #[test]
    fn planes_are_packed_in_the_order_and_type_of_the_tensor() {
        let mut packing = Packing::default();
        let planes = [1.0, 2.0, 10.0, 20.0, 100.0, 255.0];
        let mut input = Input { layout: Layout::Nhwc, ..input([2, 1]) };
        let size = Size { width: 2, height: 1 };
        assert_eq!(input.shape(size), [1, 1, 2, 3]);
        let Packed::Float32(floats) = input.pack(&planes, &mut packing) else { panic!() };
        assert_eq!(floats, [1.0, 10.0, 100.0, 2.0, 20.0, 255.0]);
        input.element = Element::Uint8;
        let Packed::Uint8(bytes) = input.pack(&planes, &mut packing) else { panic!() };
        assert_eq!(bytes, [1, 10, 100, 2, 20, 255]);
        input = Input { element: Element::Float16, layout: Layout::Nchw, batch: false, ..input };
        assert_eq!(input.shape(size), [3, 1, 2]);
        let Packed::Float16(halves) = input.pack(&planes, &mut packing) else { panic!() };
        assert_eq!(halves, planes.map(f16::from_f32));
    }

    #[test]
    fn padding_is_normalised_as_pixels_are() {
        let input = Input {
            colors: Colors::Bgr,
            scale: 0.5,
            mean: [1.0, 2.0, 3.0],
            std: [1.0, 2.0, 4.0],
            padding: [8, 4, 2],
            ..input([32, 32])
        };
        assert_eq!(input.padding_planes(), [0.0, 0.0, 0.25]);
    }
}
