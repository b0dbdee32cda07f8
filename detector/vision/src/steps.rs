use std::path::Path;

use moliceiro_messages::Size;

use crate::candidate::Candidate;
use crate::decoders::{
    Activation, BoxFormat, Cells, Context, Decoder, Dense, Grid, Lists, Output, Queries, RowLayout,
    Rows,
};
use crate::detector::Detector;
use crate::frame_error::{FrameError, InferenceError};
use crate::input::{Packed, Packing};
use crate::model::Model;
use crate::nms::suppress;
use crate::picture::Picture;
use crate::pixels::{Pixels, Samples};

/// The steps of [`Detector::detect`] one by one, to measure each of them.
pub struct Steps {
    detector: Detector,
    kept: Vec<Candidate>,
}

impl Steps {
    /// The steps of this detector.
    pub fn of(detector: Detector) -> Self {
        Self { detector, kept: vec![] }
    }

    /// Decodes the picture's JPEG, if it has one. [`Samples::tensor`] is the next step.
    pub fn payload<'a>(
        &'a mut self,
        picture: impl Into<Picture<'a>>,
    ) -> Result<Samples<'a>, FrameError> {
        Ok(self.detector.pixels.decode(picture.into())?)
    }

    /// The model's outputs for the picture.
    pub fn output<'a>(&mut self, picture: impl Into<Picture<'a>>) -> Result<Outputs, FrameError> {
        let Detector { model, session, pixels, .. } = &mut self.detector;
        let picture = picture.into();
        let mut samples = pixels.decode(picture)?;
        let copied = session.infer(model.reading(), samples.tensor(), picture.size, |outputs| {
            let copy = |output: &Output<'_>| Output {
                shape: output.shape.clone(),
                values: output.values.to_vec().into(),
            };
            outputs.iter().map(copy).collect()
        })?;
        Ok(Outputs(copied))
    }

    /// How many boxes of a picture's outputs score above the floor.
    pub fn boxes(&mut self, outputs: &Outputs, size: Size) -> Result<usize, FrameError> {
        let Detector { model, floor, candidates, .. } = &mut self.detector;
        candidates.clear();
        let context = Context { size, threshold: *floor };
        let decoder = &model.reading().decoder;
        decoder.decode(&outputs.0, context, candidates).map_err(InferenceError::from)?;
        Ok(candidates.len())
    }

    /// How many of the boxes that [`Self::boxes`] found remain after suppression.
    pub fn suppress(&mut self) -> usize {
        self.kept.clone_from(&self.detector.candidates);
        suppress(&mut self.kept, self.detector.iou);
        self.kept.len()
    }
}

/// A copy of a model's outputs.
pub struct Outputs(Vec<Output<'static>>);

/// Making a model's input of pictures of any size, to measure each kind of input.
pub struct Making {
    model: Model,
    pixels: Pixels,
    packing: Packing,
}

impl Making {
    /// For the model of this file. `None` if it is none.
    pub fn of(file: &Path) -> Option<Self> {
        let model = Model::open(file).ok()?;
        let pixels = Pixels::new(&model.reading().input);
        Some(Self { model, pixels, packing: Packing::default() })
    }

    /// Makes the input, and returns how many numbers it has.
    pub fn input<'a>(&mut self, picture: impl Into<Picture<'a>>) -> Result<usize, FrameError> {
        let mut samples = self.pixels.decode(picture.into())?;
        Ok(match self.model.reading().input.pack(samples.tensor(), &mut self.packing) {
            Packed::Float32(values) => values.len(),
            Packed::Float16(values) => values.len(),
            Packed::Uint8(values) => values.len(),
        })
    }
}

/// Decoding and suppression of outputs that no model gave, to measure each family.
pub struct Decoding {
    decoder: Decoder,
    outputs: Outputs,
    candidates: Vec<Candidate>,
}

impl Decoding {
    /// Outputs of a family: shapes and values. `None` for a family that is not measured.
    pub fn of(family: &str, outputs: Vec<(Vec<usize>, Vec<f32>)>) -> Option<Self> {
        let strides = vec![8, 16, 32];
        let decoder = match family {
            "yolov5" => {
                Decoder::Dense(Dense { objectness: true, transposed: false, grid: Grid::None })
            }
            "yolov8" => {
                Decoder::Dense(Dense { objectness: false, transposed: true, grid: Grid::None })
            }
            "yolox" => Decoder::Dense(Dense {
                objectness: true,
                transposed: false,
                grid: Grid::Raw(strides),
            }),
            "nanodet" => Decoder::Cells(Cells { strides, bins: 8, offset: 0.5, split: false }),
            "detr" => Decoder::Queries(Queries { activation: Activation::Softmax }),
            "rt-detr" => Decoder::Queries(Queries { activation: Activation::Sigmoid }),
            "paddle" => Decoder::Rows(Rows { layout: RowLayout::ClassScoreBox }),
            "yolo-end2end" => Decoder::Rows(Rows { layout: RowLayout::BoxScoreClass }),
            "rt-detr-export" => Decoder::Lists(Lists { boxes: BoxFormat::Pixels, first_class: 0 }),
            "torchvision" => Decoder::Lists(Lists { boxes: BoxFormat::Pixels, first_class: 1 }),
            "tensorflow" => {
                Decoder::Lists(Lists { boxes: BoxFormat::TopLeftShares, first_class: 1 })
            }
            _ => return None,
        };
        let output =
            |(shape, values): (Vec<usize>, Vec<f32>)| Output { shape, values: values.into() };
        let outputs = Outputs(outputs.into_iter().map(output).collect());
        Some(Self { decoder, outputs, candidates: vec![] })
    }

    /// How many objects the outputs hold.
    pub fn objects(&mut self, size: Size) -> Result<usize, FrameError> {
        self.candidates.clear();
        let context = Context { size, threshold: 0.3 };
        self.decoder
            .decode(&self.outputs.0, context, &mut self.candidates)
            .map_err(InferenceError::from)?;
        suppress(&mut self.candidates, 0.5);
        Ok(self.candidates.len())
    }
}
