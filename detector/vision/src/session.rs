mod steps;

use moliceiro_messages::{Detection, Frame, Letterbox, Size};
use ort::ep::CPU;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{Outlet, TensorElementType, TensorRef, ValueType};
use thiserror::Error;

use crate::manifest::check_share;
use crate::model::{Model, ModelError, Weights};
use crate::nms::{Candidate, suppress};
use crate::phases::{Lap, Phases};
use crate::pixels::Pixels;
use crate::runtime::{Runtime, one_line};

pub use steps::Steps;

/// How a detector works, where the model's manifest leaves a choice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Threads that work on one frame, at least 1.
    pub intra_threads: usize,
    /// Only what scores above this is an object; from 0 to 1. Left out, the manifest says.
    pub threshold: Option<f32>,
    /// Of two boxes of a class with a greater intersection over union, the lesser is dropped; from
    /// 0 to 1. Left out, the manifest says.
    pub iou: Option<f32>,
}

impl Default for Options {
    fn default() -> Self {
        Self { intra_threads: 1, threshold: None, iou: None }
    }
}

/// A frame that was not looked at.
#[derive(Debug, Error)]
pub enum FrameError {
    /// The payload is not the picture that the frame says. It never will be.
    #[error("the frame's pixels cannot be read: {0}")]
    Undecodable(String),
    /// The model does not take pictures of this size.
    #[error("the model takes pictures of {takes}, and the frame has {}×{}", .size.width, .size.height)]
    WrongSize {
        /// The frame's.
        size: Size,
        /// The sizes that the model takes.
        takes: String,
    },
    /// ONNX Runtime failed, for want of memory perhaps: another try may succeed.
    #[error("inference failed: {0}")]
    Inference(String),
}

impl FrameError {
    /// True if no further try with this frame can succeed.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Undecodable(_) | Self::WrongSize { .. } => true,
            Self::Inference(_) => false,
        }
    }
}

/// Finds objects in frames, one at a time. It is made for a thread of its own, and gives the same
/// for the same frame.
pub struct Detector {
    session: Session,
    model: Model,
    threshold: f32,
    iou: f32,
    pixels: Pixels,
    found: Vec<Candidate>,
}

impl Detector {
    /// Loads the model and looks at a blank picture, so that a model that doesn't fit its manifest
    /// is refused here.
    pub fn new(runtime: &Runtime, model: &Model, options: Options) -> Result<Self, ModelError> {
        let threshold = options.threshold.unwrap_or(model.manifest.threshold);
        let iou = options.iou.unwrap_or(model.manifest.iou);
        check_share("the threshold", threshold)
            .and_then(|()| check_share("the IoU limit", iou))
            .map_err(ModelError::Option)?;
        let mut builder = session_builder(runtime, options.intra_threads)
            .map_err(|e| ModelError::Session(one_line(&e.to_string())))?;
        let session = match &model.weights {
            Weights::Builtin(bytes) => builder.commit_from_memory(bytes),
            Weights::File(path) => builder.commit_from_file(path),
        };
        let session = session.map_err(|e| ModelError::NotOnnx {
            model: model.name.clone(),
            reason: one_line(e.message()),
        })?;
        let pixels = Pixels::new(&model.manifest.input);
        let mut detector =
            Self { session, model: model.clone(), threshold, iou, pixels, found: vec![] };
        detector.check_outlets()?;
        detector.warm_up()?;
        Ok(detector)
    }

    /// What is in the frame, best first. Boxes are in the pixels of the video's own frame, and
    /// within it.
    pub fn detect(&mut self, frame: &Frame) -> Result<Vec<Detection>, FrameError> {
        self.detect_timed(frame).map(|(detections, _)| detections)
    }

    /// As [`Self::detect`], and how long each part of it took.
    pub fn detect_timed(&mut self, frame: &Frame) -> Result<(Vec<Detection>, Phases), FrameError> {
        let Frame { size, letterbox, .. } = frame;
        if !self.model.takes(*size) {
            return Err(FrameError::WrongSize {
                size: *size,
                takes: self.model.manifest.input.sizes(),
            });
        }
        if [letterbox.source, letterbox.content]
            .iter()
            .any(|size| size.width == 0 || size.height == 0)
        {
            return Err(FrameError::Undecodable(format!(
                "no pixels of the video are in it: {letterbox:?}"
            )));
        }
        if !letterbox.fits(*size) {
            return Err(FrameError::Undecodable(format!("{letterbox:?} is not within {size:?}")));
        }
        let mut lap = Lap::begin();
        let decoded = self.pixels.decode(frame)?;
        let payload = lap.take();
        let tensor = self.pixels.tensor(frame, decoded);
        let tensor_took = lap.take();
        let decoder = self.model.manifest.family.decoder();
        let (labels, found) = (&self.model.labels, &mut self.found);
        found.clear();
        let look = |output: &[f32]| {
            let inference = lap.take();
            decoder.decode(output, labels.len(), *size, self.threshold, found);
            inference
        };
        let inference = infer(&mut self.session, &self.model, tensor, *size, look)
            .map_err(FrameError::Inference)?;
        found.retain_mut(|candidate| {
            candidate.bounds = in_source(candidate.bounds, letterbox);
            candidate.bounds.iter().all(|side| side.is_finite())
        });
        suppress(found, self.iou);
        let detection = |c: &Candidate| Detection {
            label: labels[c.class].clone(),
            score: c.score,
            bounds: c.bounds,
        };
        let detections = found.iter().map(detection).collect();
        Ok((detections, Phases { payload, tensor: tensor_took, inference, boxes: lap.take() }))
    }

    fn mismatch(&self, reason: String) -> ModelError {
        ModelError::Mismatch { model: self.model.name.clone(), reason }
    }

    /// Compares what the graph declares of its input and output with the manifest.
    fn check_outlets(&self) -> Result<(), ModelError> {
        let manifest = &self.model.manifest;
        let (input, output) = (&manifest.input, &manifest.output);
        if let [_, _, ..] = self.session.inputs() {
            return Err(self.mismatch(format!(
                "it has the inputs {}, and can have only one",
                names(self.session.inputs())
            )));
        }
        let shape = self.shape("input", &input.name, self.session.inputs(), 4)?;
        let expected = input.shape(manifest.size());
        if !fits(shape, &expected) {
            return Err(self.mismatch(format!(
                "its input {:?} has the shape {shape:?}, not {expected:?}",
                input.name
            )));
        }
        if input.multiple_of.is_some() && shape.iter().filter(|length| **length < 0).count() < 2 {
            return Err(self.mismatch(format!(
                "its input {:?} has the shape {shape:?} only: leave out input.multiple_of",
                input.name
            )));
        }
        let shape = self.shape("output", &output.name, self.session.outputs(), 3)?;
        self.check_columns(shape[2])?;
        let expected = output_shape(&self.model, manifest.size());
        if !fits(shape, &expected) {
            return Err(self.mismatch(format!(
                "its output {:?} has the shape {shape:?}, not {expected:?}",
                output.name
            )));
        }
        Ok(())
    }

    /// The shape that the graph declares: -1 is a dimension that may vary.
    fn shape<'a>(
        &self,
        what: &str,
        name: &str,
        outlets: &'a [Outlet],
        rank: usize,
    ) -> Result<&'a [i64], ModelError> {
        let Some(outlet) = outlets.iter().find(|outlet| outlet.name() == name) else {
            return Err(self.mismatch(format!("it has no {what} {name:?}, but {}", names(outlets))));
        };
        match outlet.dtype() {
            ValueType::Tensor { ty: TensorElementType::Float32, shape, .. }
                if shape.len() == rank =>
            {
                Ok(&shape[..])
            }
            other => Err(self.mismatch(format!(
                "its {what} {name:?} is {other}, not a float32 tensor of {rank} dimensions"
            ))),
        }
    }

    fn check_columns(&self, columns: i64) -> Result<(), ModelError> {
        let (labels, extra) =
            (self.model.labels.len(), self.model.manifest.family.decoder().extra_columns());
        match usize::try_from(columns) {
            Ok(columns) if columns > extra && columns - extra != labels => {
                Err(ModelError::Labels {
                    model: self.model.name.clone(),
                    classes: columns - extra,
                    labels,
                })
            }
            _ => Ok(()),
        }
    }

    fn warm_up(&mut self) -> Result<(), ModelError> {
        let size = self.model.size();
        let decoder = self.model.manifest.family.decoder();
        let classes = self.model.labels.len();
        let checked =
            infer(&mut self.session, &self.model, self.pixels.blank(size), size, |output| {
                decoder.check(output, classes)
            });
        let checked = checked.and_then(|checked| {
            checked.map_err(|reason| format!("for a blank picture it {reason}"))
        });
        checked.map_err(|reason| self.mismatch(reason))
    }
}

fn session_builder(runtime: &Runtime, intra_threads: usize) -> ort::Result<SessionBuilder> {
    let builder = SessionBuilder::new(runtime.environment())?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(intra_threads.max(1))?
        // Threads that wait by spinning take the cores from the other sessions'.
        .with_intra_op_spinning(false)?
        // One session sees pictures of many sizes: an arena and memory patterns would keep the
        // memory of each.
        .with_memory_pattern(false)?
        .with_execution_providers([CPU::default().with_arena_allocator(false).build()])?;
    Ok(builder)
}

/// Runs the model and hands the output to `look`, once it has the shape that it must have.
fn infer<T>(
    session: &mut Session,
    model: &Model,
    tensor: &[f32],
    size: Size,
    look: impl FnOnce(&[f32]) -> T,
) -> Result<T, String> {
    let manifest = &model.manifest;
    let reason = |e: ort::Error| one_line(e.message());
    let tensor =
        TensorRef::from_array_view((manifest.input.shape(size), tensor)).map_err(reason)?;
    let outputs =
        session.run(ort::inputs![manifest.input.name.as_str() => tensor]).map_err(reason)?;
    let output = outputs
        .get(&manifest.output.name)
        .ok_or_else(|| format!("no output {:?}", manifest.output.name))?;
    let (shape, output) = output.try_extract_tensor::<f32>().map_err(reason)?;
    let expected = output_shape(model, size);
    if shape[..] != expected {
        return Err(format!("the output has the shape {:?}, not {expected:?}", &shape[..]));
    }
    Ok(look(output))
}

/// The shape that the output must have for a picture of this size.
fn output_shape(model: &Model, size: Size) -> [i64; 3] {
    let decoder = model.manifest.family.decoder();
    [1, decoder.rows(size) as i64, (model.labels.len() + decoder.extra_columns()) as i64]
}

/// True if every dimension is as expected or may vary.
fn fits(shape: &[i64], expected: &[i64]) -> bool {
    shape.len() == expected.len()
        && shape.iter().zip(expected).all(|(length, expected)| *length < 0 || length == expected)
}

fn names(outlets: &[Outlet]) -> String {
    outlets.iter().map(|outlet| format!("{:?}", outlet.name())).collect::<Vec<_>>().join(", ")
}

/// From the letterboxed picture's pixels to the video's own, clipped to its frame.
fn in_source(bounds: [f32; 4], letterbox: &Letterbox) -> [f32; 4] {
    let Letterbox { source, left, top, content } = letterbox;
    let map = |value: f32, offset: u32, content: u32, source: u32| {
        let source = source as f32;
        ((value - offset as f32) * (source / content as f32)).clamp(0.0, source)
    };
    let x = |value: f32| map(value, *left, content.width, source.width);
    let y = |value: f32| map(value, *top, content.height, source.height);
    [x(bounds[0]), y(bounds[1]), x(bounds[2]), y(bounds[3])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_letterbox_is_undone_for_each_axis_on_its_own_and_boxes_are_clipped() {
        let source = Size { width: 640, height: 272 };
        let content = Size { width: 416, height: 177 };
        let letterbox = Letterbox { source, left: 0, top: 119, content };
        assert_eq!(in_source([0.0, 119.0, 416.0, 296.0], &letterbox), [0.0, 0.0, 640.0, 272.0]);
        assert_eq!(
            in_source([208.0, 207.5, 500.0, 400.0], &letterbox),
            [320.0, 136.0, 640.0, 272.0]
        );
        assert_eq!(in_source([-9.0, 0.0, -3.0, 50.0], &letterbox), [0.0; 4]);
    }
}
