//! Chooses between the readings that a file allows: by the shapes and the numbers of its output
//! for a blank picture, and then by a trial on a picture with known objects.

use std::sync::Arc;
use std::time::Duration;

use moliceiro_messages::{Fit, Scaling};

use crate::candidate::Candidate;
use crate::decoders::{Context, UnexpectedOutput};
use crate::detector::{MOST_SIDE_OF_IMAGE, TRIAL, keep_objects};
use crate::families::{Recognised, Unrecognised, recognise};
use crate::fit;
use crate::frame_error::InferenceError;
use crate::image::Image;
use crate::model::{Model, Settled};
use crate::model_error::{Mismatch, ModelError};
use crate::onnx_file::OnnxFile;
use crate::pixels::Pixels;
use crate::reading::Reading;
use crate::runtime::Runtime;
use crate::session::ModelSession;
use crate::trial;

/// Boxes that score above this count in a trial.
const TRIAL_THRESHOLD: f32 = 0.2;

impl Model {
    /// The same model with one reading: those that its file allows are tried. Fails if none is
    /// possible, or if several are and a manifest has to choose.
    pub fn settled(&self, runtime: &Runtime) -> Result<Self, ModelError> {
        let mut session = ModelSession::load(runtime, self, 1)?;
        settle(self, &mut session, TRIAL)
    }
}

/// Checks the model's only reading, or chooses one. No run takes longer than `limit`.
pub(crate) fn settle(
    model: &Model,
    session: &mut ModelSession,
    limit: Duration,
) -> Result<Model, ModelError> {
    session.limit(Some(limit));
    let settled = try_out(model, session);
    session.limit(None);
    settled
}

fn try_out(model: &Model, session: &mut ModelSession) -> Result<Model, ModelError> {
    let mut model = model.clone();
    if model.settled.is_none() {
        determine(&mut model, session)?;
    }
    let several = model.readings.len() > 1;
    let mut possible: Vec<(Reading, Option<usize>)> = Vec::new();
    let mut first_error = None;
    for reading in std::mem::take(&mut model.readings) {
        match check(&reading, session) {
            Ok(classes) => possible.push((reading, classes)),
            Err(error) => drop(first_error.get_or_insert(error)),
        }
    }
    if possible.is_empty() {
        let reason = match first_error {
            Some(Rejection::Inference(error)) => Mismatch::BlankPicture(error),
            Some(Rejection::Output(error)) => Mismatch::Output(error),
            None => Mismatch::Output(UnexpectedOutput::Grid),
        };
        return Err(ModelError::Mismatch { model: model.name, reason });
    }
    let mut how = if several { Settled::BlankPicture } else { Settled::File };
    if possible.len() > 1 {
        let chosen = choose(&model, session, &possible);
        let ambiguous = || {
            let way = |(reading, _): &(Reading, _)| {
                (format!("{} {}", reading.family, feeding(reading)), reading.says.to_owned())
            };
            let ways = Unrecognised::Ambiguous(possible.iter().map(way).collect());
            ModelError::Unrecognised { model: model.name.clone(), source: Box::new(ways) }
        };
        let chosen = chosen.ok_or_else(ambiguous)?;
        possible = vec![possible.swap_remove(chosen)];
        how = Settled::Trial;
    }
    let Some((mut reading, classes)) = possible.pop() else {
        unreachable!("it is not empty, as was checked")
    };
    reading.classes = classes;
    model.readings = vec![reading];
    model.labels = model.labels_for(classes);
    if let Some(classes) = classes
        && classes != model.labels.len()
    {
        let labels = model.labels.len();
        return Err(ModelError::Labels { model: model.name, classes, labels });
    }
    model.settled = Some(model.settled.unwrap_or(how));
    Ok(model)
}

/// What distinguishes readings of one family.
fn feeding(reading: &Reading) -> String {
    let input = &reading.input;
    format!(
        "fed with ({:?} × {:.4} − {:?}) / {:?}",
        input.colors, input.scale, input.mean, input.std
    )
    .to_lowercase()
}

/// Completes what the file leaves open by the shapes of the outputs for a blank picture.
fn determine(model: &mut Model, session: &mut ModelSession) -> Result<(), ModelError> {
    let open = |file: &OnnxFile| {
        file.outputs.iter().any(|output| match output.shape.as_deref() {
            None => true,
            Some(shape) => shape.iter().rev().take(2).any(Option::is_none),
        })
    };
    if !open(&model.file) {
        return Ok(());
    }
    let reading = model.reading();
    let size = reading.input.default_size();
    let mut pixels = Pixels::new(&reading.input);
    let shapes = session.shapes(reading, pixels.blank(size), size).map_err(|error| {
        let reason = Mismatch::BlankPicture(error);
        ModelError::Mismatch { model: model.name.clone(), reason }
    })?;
    let mut file = OnnxFile::clone(&model.file);
    for output in &mut file.outputs {
        if let Some((_, shape)) = shapes.iter().find(|(name, _)| *name == output.name) {
            output.shape = Some(shape.iter().map(|length| u64::try_from(*length).ok()).collect());
        }
    }
    let labels = model.named.as_ref().map(|(_, names)| names.len());
    let unrecognised =
        |source| ModelError::Unrecognised { model: model.name.clone(), source: Box::new(source) };
    match recognise(&file, &model.manifest, labels).map_err(unrecognised)? {
        Recognised::As(readings) => model.readings = readings,
        Recognised::Undetermined(_) => {
            return Err(unrecognised(Unrecognised::unknown(&file, None)));
        }
    }
    model.file = Arc::new(file);
    Ok(())
}

enum Rejection {
    Inference(InferenceError),
    Output(UnexpectedOutput),
}

/// Runs the model on a blank picture, and returns the number of classes if the output is one of
/// this reading.
fn check(reading: &Reading, session: &mut ModelSession) -> Result<Option<usize>, Rejection> {
    let size = reading.input.default_size();
    let mut pixels = Pixels::new(&reading.input);
    let checked = session.infer(reading, pixels.blank(size), size, |outputs| {
        outputs.iter().try_for_each(|output| output.check_numbers())?;
        reading.decoder.check(outputs, size)
    });
    checked.map_err(Rejection::Inference)?.map_err(Rejection::Output)
}

/// The index of the reading that finds the objects of a picture clearly best.
fn choose(
    model: &Model,
    session: &mut ModelSession,
    readings: &[(Reading, Option<usize>)],
) -> Option<usize> {
    let image = Image::from_jpeg(trial::PICTURE, MOST_SIDE_OF_IMAGE).ok()?;
    let qualities: Option<Vec<f32>> = readings
        .iter()
        .map(|(reading, classes)| {
            let labels = match &model.named {
                Some((_, names)) => names.clone(),
                None => crate::labels::fallback(*classes, reading.coco).1,
            };
            let found = try_reading(reading, session, &image)?;
            Some(trial::quality(&found, &labels))
        })
        .collect();
    let qualities = qualities?;
    tracing::debug!(model = model.name, ?qualities, "tried the readings of a model");
    trial::clear_best(&qualities)
}

fn try_reading(
    reading: &Reading,
    session: &mut ModelSession,
    image: &Image,
) -> Option<Vec<Candidate>> {
    // All readings see the same picture.
    let size = reading.input.default_size();
    let (letterbox, _) = fit::place(Fit::Letterbox, image.size(), size, None);
    let mut pixels = Pixels::new(&reading.input);
    let placed = image.placed(size, &letterbox, (reading.input.padding, Scaling::Linear));
    let context = Context { size, threshold: TRIAL_THRESHOLD };
    let mut found = Vec::new();
    let decoded = session.infer(reading, pixels.image(&placed), size, |outputs| {
        reading.decoder.decode(outputs, context, &mut found)
    });
    decoded.ok()?.ok()?;
    keep_objects(reading, &mut found, &letterbox, reading.iou);
    Some(found)
}
