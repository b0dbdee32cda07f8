use moliceiro_messages::{Detection, Letterbox};

use crate::candidate::Candidate;
use crate::frame_error::FrameError;
use crate::model::Model;
use crate::model_error::ModelError;
use crate::nms::suppress;
use crate::phases::{Lap, Phases};
use crate::picture::Picture;
use crate::pixels::Pixels;
use crate::runtime::Runtime;
use crate::session::ModelSession;
use crate::value::check_share;

/// How a detector works, where the model's manifest leaves a choice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Threads that work on one picture, at least 1.
    pub intra_threads: usize,
    /// A box is an object if its score is above this, 0 to 1. `None`: the manifest's.
    pub threshold: Option<f32>,
    /// Of two boxes of a class with a greater intersection over union, the one with the lower score
    /// is removed, 0 to 1. `None`: the manifest's.
    pub iou: Option<f32>,
}

impl Default for Options {
    fn default() -> Self {
        Self { intra_threads: 1, threshold: None, iou: None }
    }
}

/// Finds objects in pictures, one picture at a time. Give each thread its own. The same picture
/// always gives the same objects.
pub struct Detector {
    pub(crate) session: ModelSession,
    pub(crate) threshold: f32,
    pub(crate) iou: f32,
    pub(crate) pixels: Pixels,
    pub(crate) candidates: Vec<Candidate>,
}

impl Detector {
    /// Loads the model and runs it on a blank picture. Fails if the model does not fit its
    /// manifest.
    pub fn new(runtime: &Runtime, model: &Model, options: Options) -> Result<Self, ModelError> {
        let threshold = options.threshold.unwrap_or(model.manifest.threshold);
        let iou = options.iou.unwrap_or(model.manifest.iou);
        check_share("the threshold", threshold)?;
        check_share("the IoU limit", iou)?;
        let mut session = ModelSession::load(runtime, model, options.intra_threads)?;
        let mut pixels = Pixels::new(&model.manifest.input);
        session.check_output(pixels.blank(model.size()), model.size())?;
        Ok(Self { session, threshold, iou, pixels, candidates: vec![] })
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
        let picture: Picture<'_> = picture.into();
        let Picture { size, letterbox, .. } = picture;
        let Self { session, threshold, iou, pixels, candidates } = self;
        if !session.model().takes(size) {
            let takes = session.model().manifest.input.sizes();
            return Err(FrameError::WrongSize { size, takes });
        }
        let mut lap = Lap::start();
        let mut samples = pixels.decode(picture)?;
        let payload = lap.take();
        let tensor = samples.tensor();
        let tensor_time = lap.take();
        candidates.clear();
        let inference = session.infer(tensor, size, |model, output| {
            let inference = lap.take();
            let decoder = model.manifest.family.decoder();
            decoder.decode(output, model.labels.len(), size, *threshold, candidates);
            inference
        })?;
        candidates.retain_mut(|candidate| {
            candidate.bounds = in_source(candidate.bounds, &letterbox);
            candidate.bounds.iter().all(|side| side.is_finite())
        });
        suppress(candidates, *iou);
        let labels = &session.model().labels;
        let detection = |candidate: &Candidate| Detection {
            label: labels[candidate.class].clone(),
            score: candidate.score,
            bounds: candidate.bounds,
        };
        let detections = candidates.iter().map(detection).collect();
        Ok((detections, Phases { payload, tensor: tensor_time, inference, boxes: lap.take() }))
    }
}

/// From the letterboxed picture's pixels to the source's own, clipped to it.
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
    use moliceiro_messages::Size;

    use super::*;

    #[test]
    fn the_letterbox_is_undone_for_each_axis_separately_and_boxes_are_clipped() {
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
