//! Families of models, recognised by what their files declare: names, shapes and types of inputs
//! and outputs, and metadata.
//!
//! To add a family, for example `yolo`:
//!
//! 1. Write `families/yolo.rs`: a function from [`Evidence`] to the [`Reading`]s that are possible.
//!    Most families share one of the `decoders`.
//! 2. Add its names to `families/name.rs`, and the function to [`READERS`].
//! 3. Add a model to `tests/data/layouts.py`, and a row to `docs/models.md`.
//!
//! Where several readings are possible, `settle` tries them.

mod detr;
mod detr_export;
mod evidence;
mod name;
mod nanodet;
mod paddle;
mod refused;
mod tensorflow;
mod torchvision;
mod unrecognised;
mod yolo;
mod yolox;

use crate::manifest::Manifest;
use crate::onnx_file::OnnxFile;
use crate::reading::Reading;
use crate::value::InvalidValue;

use evidence::Evidence;
pub(crate) use name::FamilyChoice;
pub use name::FamilyName;
pub use unrecognised::Unrecognised;

type Reader = fn(&Evidence<'_>) -> Vec<Reading>;

const READERS: [Reader; 8] = [
    tensorflow::read,
    torchvision::read,
    detr_export::read,
    detr::read,
    paddle::read,
    nanodet::read,
    yolo::read,
    yolox::read,
];

/// The readings of a model.
pub(crate) enum Recognised {
    /// One or more.
    As(Vec<Reading>),
    /// The file leaves the shapes of its outputs open. Only a run shows them, with this input.
    Undetermined(Reading),
}

/// The readings that are possible, without those that the manifest rules out.
pub(crate) fn recognise(
    file: &OnnxFile,
    manifest: &Manifest,
    labels: Option<usize>,
) -> Result<Recognised, Unrecognised> {
    refused::check(file, labels.is_some())?;
    let evidence = Evidence::new(file, manifest, labels)?;
    let mut readings: Vec<Reading> = READERS.iter().flat_map(|read| read(&evidence)).collect();
    if let Some(choice) = &manifest.family {
        readings.retain(|reading| reading.family.is_meant_by(choice.name));
        if readings.iter().any(|reading| reading.family == choice.name) {
            readings.retain(|reading| reading.family == choice.name);
        }
    }
    for reading in &mut readings {
        evidence.override_input(&mut reading.input);
        reading.nms = manifest.nms.unwrap_or(reading.nms);
        reading.threshold = manifest.threshold.unwrap_or(reading.threshold);
        reading.iou = manifest.iou.unwrap_or(reading.iou);
    }
    let mut distinct: Vec<Reading> = Vec::new();
    for reading in readings {
        let same = |other: &Reading| Reading { says: reading.says, ..other.clone() } == reading;
        if !distinct.iter().any(same) {
            distinct.push(reading);
        }
    }
    if distinct.is_empty() {
        if file.outputs.iter().any(evidence::is_open) {
            return Ok(Recognised::Undetermined(evidence.provisional()));
        }
        let chosen = manifest.family.as_ref().map(|choice| choice.name);
        return Err(Unrecognised::unknown(file, chosen));
    }
    distinct.iter().try_for_each(|reading| reading.input.check())?;
    Ok(Recognised::As(distinct))
}

impl From<InvalidValue> for Unrecognised {
    fn from(error: InvalidValue) -> Self {
        Self::Value(error)
    }
}
