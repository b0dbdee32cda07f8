use moliceiro_messages::{Frame, Size};

use super::{Detector, FrameError, infer};
use crate::nms::{Candidate, suppress};
use crate::pixels::Decoded;

/// The steps of [`Detector::detect`], one by one and in its order: for measuring each by itself.
pub struct Steps {
    detector: Detector,
    decoded: Option<Decoded>,
    kept: Vec<Candidate>,
}

impl Steps {
    /// The steps of a detector.
    pub fn of(detector: Detector) -> Self {
        Self { detector, decoded: None, kept: vec![] }
    }

    /// Decodes the frame's JPEG, if it is one.
    pub fn payload(&mut self, frame: &Frame) -> Result<(), FrameError> {
        self.decoded = Some(self.detector.pixels.decode(frame)?);
        Ok(())
    }

    /// The model's input, from the pixels that [`Self::payload`] gave of the same frame.
    pub fn tensor(&mut self, frame: &Frame) -> &[f32] {
        match self.decoded {
            Some(decoded) => self.detector.pixels.tensor(frame, decoded),
            None => &[],
        }
    }

    /// The model's output for the frame.
    pub fn output(&mut self, frame: &Frame) -> Result<Vec<f32>, FrameError> {
        let Detector { session, model, pixels, .. } = &mut self.detector;
        let decoded = pixels.decode(frame)?;
        let tensor = pixels.tensor(frame, decoded);
        infer(session, model, tensor, frame.size, <[f32]>::to_vec).map_err(FrameError::Inference)
    }

    /// How many boxes of a picture's output score above the threshold.
    pub fn boxes(&mut self, output: &[f32], size: Size) -> usize {
        let Detector { model, threshold, found, .. } = &mut self.detector;
        found.clear();
        model.manifest.family.decoder().decode(output, model.labels.len(), size, *threshold, found);
        found.len()
    }

    /// How many of the boxes that [`Self::boxes`] found remain of those that overlap.
    pub fn suppress(&mut self) -> usize {
        self.kept.clone_from(&self.detector.found);
        suppress(&mut self.kept, self.detector.iou);
        self.kept.len()
    }
}
