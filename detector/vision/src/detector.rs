use std::time::Duration;

use std::borrow::Cow;

use moliceiro_messages::{Detection, Letterbox, Limits, Object, Objects, Score, Size};

use crate::candidate::Candidate;
use crate::decoders::Context;
use crate::frame_error::{FrameError, InferenceError};
use crate::image::Image;
use crate::model::Model;
use crate::model_error::ModelError;
use crate::nms::{keep_best, suppress};
use crate::phases::{Lap, Phases};
use crate::picture::Picture;
use crate::pixels::Pixels;
use crate::reading::Reading;
use crate::runtime::Runtime;
use crate::session::ModelSession;
use crate::settle::settle;
use crate::value::check_share;

/// The longest side of an image that is scaled.
pub(crate) const MOST_SIDE_OF_IMAGE: u32 = 16_384;

/// How long a model may take for a picture before it is used, if nothing else is said.
pub(crate) const TRIAL: Duration = Duration::from_secs(60);

/// How a detector works, where the model's manifest leaves a choice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Threads that work on one picture, at least 1.
    pub intra_threads: usize,
    /// A box is an object if its score is above this, 0 to 1. `None`: the model's.
    pub threshold: Option<f32>,
    /// A box that is not an object is found nevertheless if its score is above this, 0 to 1.
    /// `None`, or above the threshold: that.
    pub floor: Option<f32>,
    /// Of two boxes of a class with a greater intersection over union, the one with the lower score
    /// is removed, 0 to 1. `None`: the model's.
    pub iou: Option<f32>,
    /// How long the model may take for one picture before it is used.
    pub trial: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { intra_threads: 1, threshold: None, floor: None, iou: None, trial: TRIAL }
    }
}

/// Finds objects in pictures, one picture at a time. Give each thread its own. The same picture
/// always gives the same objects.
pub struct Detector {
    pub(crate) model: Model,
    pub(crate) session: ModelSession,
    pub(crate) threshold: f32,
    /// At most the threshold.
    pub(crate) floor: f32,
    pub(crate) iou: f32,
    pub(crate) pixels: Pixels,
    pub(crate) candidates: Vec<Candidate>,
}

impl Detector {
    /// Loads the model and runs it on a blank picture. Fails if the model is not what its file and
    /// its manifest say, or if these leave a choice.
    pub fn new(runtime: &Runtime, model: &Model, options: Options) -> Result<Self, ModelError> {
        let threshold = options.threshold.unwrap_or(model.reading().threshold);
        let iou = options.iou.unwrap_or(model.reading().iou);
        check_share("the threshold", threshold)?;
        check_share("the floor", options.floor.unwrap_or(threshold))?;
        check_share("the IoU limit", iou)?;
        let mut session = ModelSession::load(runtime, model, options.intra_threads)?;
        let model = settle(model, &mut session, options.trial)?;
        let reading = model.reading();
        let threshold = options.threshold.unwrap_or(reading.threshold);
        Ok(Self {
            threshold,
            floor: options.floor.map_or(threshold, |floor| floor.min(threshold)),
            iou: options.iou.unwrap_or(reading.iou),
            pixels: Pixels::new(&reading.input),
            session,
            model,
            candidates: vec![],
        })
    }

    /// The model, settled.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The objects in the picture, best score first. Boxes are in the pixels of the letterbox's
    /// source, and lie within it.
    pub fn detect<'a>(
        &mut self,
        picture: impl Into<Picture<'a>>,
    ) -> Result<Vec<Detection>, FrameError> {
        self.detect_timed(picture).map(|(detections, _)| detections)
    }

    /// As [`Self::detect`], with the time that each step took.
    pub fn detect_timed<'a>(
        &mut self,
        picture: impl Into<Picture<'a>>,
    ) -> Result<(Vec<Detection>, Phases), FrameError> {
        let phases = self.examine(picture.into())?;
        Ok((self.detections(), phases))
    }

    /// All that is found in the picture above the floor, in the precision of results.
    ///
    /// What is above the threshold does not depend on the floor.
    pub fn find<'a>(
        &mut self,
        picture: impl Into<Picture<'a>>,
    ) -> Result<(Objects, Phases), FrameError> {
        let picture: Picture<'_> = picture.into();
        let source = picture.letterbox.source;
        let phases = self.examine(picture)?;
        let (floor, threshold) = (Score::nearest(self.floor), Score::nearest(self.threshold));
        let mut objects = Objects::new(Limits { floor, threshold });
        for Candidate { class, score, bounds } in &self.candidates {
            // A model has fewer classes.
            let Ok(index) = u16::try_from(*class) else { continue };
            let label = label(&self.model, *class);
            let object = Object { class: index, label: &label, score: *score, bounds: *bounds };
            objects.push(source, object);
        }
        Ok((objects, phases))
    }

    fn examine(&mut self, picture: Picture<'_>) -> Result<Phases, FrameError> {
        let Picture { size, letterbox, .. } = picture;
        let Self { model, session, floor, iou, pixels, candidates, .. } = self;
        let reading = model.reading();
        if !reading.input.takes(size) {
            return Err(FrameError::WrongSize { size, takes: reading.input.sizes() });
        }
        let mut lap = Lap::start();
        let mut samples = pixels.decode(picture)?;
        let payload = lap.take();
        let tensor = samples.tensor();
        let tensor_time = lap.take();
        let context = Context { size, threshold: *floor };
        let inference = infer(model, session, tensor, context, candidates, &mut lap)?;
        keep_objects(model.reading(), candidates, &letterbox, *iou);
        Ok(Phases { payload, tensor: tensor_time, inference, boxes: lap.take() })
    }

    /// The objects in a picture of any size, which is scaled as the model wants it. Boxes are in
    /// the picture's pixels.
    pub fn detect_image(&mut self, image: &Image) -> Result<(Vec<Detection>, Phases), FrameError> {
        let Self { model, session, floor, iou, pixels, candidates, .. } = self;
        let reading = model.reading();
        let (letterbox, size) = model.place(image.size());
        let longest = image.size().width.max(image.size().height);
        if longest > MOST_SIDE_OF_IMAGE || size.width.max(size.height) > Size::MAX_SIDE {
            let takes = format!("sides up to {MOST_SIDE_OF_IMAGE}");
            return Err(FrameError::WrongSize { size: image.size(), takes });
        }
        let mut lap = Lap::start();
        let placed = image.placed(size, &letterbox, (reading.input.padding, reading.input.scaling));
        let payload = lap.take();
        let tensor = pixels.image(&placed);
        let tensor_time = lap.take();
        let context = Context { size, threshold: *floor };
        let inference = infer(model, session, tensor, context, candidates, &mut lap)?;
        keep_objects(model.reading(), candidates, &letterbox, *iou);
        let phases = Phases { payload, tensor: tensor_time, inference, boxes: lap.take() };
        Ok((self.detections(), phases))
    }

    /// The candidates that are objects.
    fn detections(&self) -> Vec<Detection> {
        let objects = self.candidates.iter().filter(|found| found.score > self.threshold);
        let detection = |candidate: &Candidate| Detection {
            label: label(&self.model, candidate.class).into_owned(),
            score: candidate.score.min(1.0),
            bounds: candidate.bounds,
        };
        objects.map(detection).collect()
    }

    /// The size of picture that [`Self::detect`] gets at best.
    pub fn size(&self) -> Size {
        self.model.size()
    }
}

/// Runs the model, and reads its candidates. Returns the time of the run.
fn infer(
    model: &Model,
    session: &mut ModelSession,
    tensor: &[f32],
    context: Context,
    candidates: &mut Vec<Candidate>,
    lap: &mut Lap,
) -> Result<std::time::Duration, InferenceError> {
    candidates.clear();
    let reading = model.reading();
    let (inference, decoded) = session.infer(reading, tensor, context.size, |outputs| {
        let inference = lap.take();
        let checked = outputs.iter().try_for_each(|output| output.check_numbers());
        let decoded = checked.and_then(|()| reading.decoder.decode(outputs, context, candidates));
        (inference, decoded)
    })?;
    decoded?;
    Ok(inference)
}

/// Maps the candidates to the source, and keeps those that lie in it and do not repeat another.
pub(crate) fn keep_objects(
    reading: &Reading,
    candidates: &mut Vec<Candidate>,
    letterbox: &Letterbox,
    iou: f32,
) {
    for candidate in candidates.iter_mut() {
        candidate.bounds = to_source(candidate.bounds, letterbox);
    }
    if reading.family.clips_first() {
        clip(candidates, letterbox);
    }
    if reading.nms {
        suppress(candidates, iou);
    } else {
        keep_best(candidates);
    }
    clip(candidates, letterbox);
}

/// Clips candidates to the source, and removes those that lie beside it.
fn clip(candidates: &mut Vec<Candidate>, letterbox: &Letterbox) {
    candidates.retain_mut(|candidate| {
        let [left, top, right, bottom] = in_source(candidate.bounds, letterbox.source);
        candidate.bounds = [left, top, right, bottom];
        left < right && top < bottom
    });
}

fn label(model: &Model, class: usize) -> Cow<'_, str> {
    match model.labels.get(class) {
        Some(label) => Cow::Borrowed(label),
        None => Cow::Owned(format!("class {class}")),
    }
}

/// From the letterboxed picture's pixels to the source's own.
fn to_source(bounds: [f32; 4], letterbox: &Letterbox) -> [f32; 4] {
    let Letterbox { source, left, top, content } = letterbox;
    let map = |value: f32, offset: u32, content: u32, source: u32| {
        (value - offset as f32) * (source as f32 / content as f32)
    };
    let x = |value: f32| map(value, *left, content.width, source.width);
    let y = |value: f32| map(value, *top, content.height, source.height);
    [x(bounds[0]), y(bounds[1]), x(bounds[2]), y(bounds[3])]
}

/// The part that lies in a source of this size.
fn in_source([left, top, right, bottom]: [f32; 4], source: Size) -> [f32; 4] {
    let x = |value: f32| value.clamp(0.0, source.width as f32);
    let y = |value: f32| value.clamp(0.0, source.height as f32);
    [x(left), y(top), x(right), y(bottom)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_letterbox_is_undone_for_each_axis_separately_and_boxes_are_clipped() {
        let source = Size { width: 640, height: 272 };
        let content = Size { width: 416, height: 177 };
        let letterbox = Letterbox { source, left: 0, top: 119, content };
        let placed = |bounds| in_source(to_source(bounds, &letterbox), source);
        assert_eq!(placed([0.0, 119.0, 416.0, 296.0]), [0.0, 0.0, 640.0, 272.0]);
        assert_eq!(placed([208.0, 207.5, 500.0, 400.0]), [320.0, 136.0, 640.0, 272.0]);
        assert_eq!(placed([-9.0, 0.0, -3.0, 50.0]), [0.0; 4]);
    }
}
