use super::evidence::{Evidence, Feeding, is_float, matrix};
use super::name::{ActivationChoice, FamilyName};
use crate::decoders::{Activation, Decoder, Queries};
use crate::onnx_file::Declared;
use crate::reading::{ExtraKind, Reading};
use moliceiro_messages::{Fit, Scaling};

/// COCO's numbers from 0 to 90, and "no object".
const DETR_CLASSES: u64 = 92;
/// Other detectors with scores and boxes have a row for each cell, which are thousands.
const MOST_QUERIES: u64 = 1000;

/// DETR and what came of it, as Hugging Face exports them; also RF-DETR's own export: logits and
/// boxes of queries.
pub(super) fn read(evidence: &Evidence<'_>) -> Vec<Reading> {
    let Some((logits, boxes)) = outputs(evidence) else { return Vec::new() };
    let extras_fit = evidence.extras.iter().all(|extra| extra.kind == ExtraKind::PixelMask);
    if !extras_fit {
        return Vec::new();
    }
    let (queries, columns) = matrix(logits).unwrap_or_default();
    // RF-DETR's own export has these names.
    let is_own = logits.name == "labels" || boxes.name == "dets";
    let detr = || {
        // The picture keeps its shape; its sides are 800 and at most 1,333 pixels.
        let feeding = Feeding { size: [1056, 800], fit: Fit::Area, ..PILLOW_IMAGENET };
        let mut reading = one(evidence, FamilyName::Detr, &feeding, Activation::Softmax);
        if reading.input.multiple_of.is_none() {
            reading.input.fit = Fit::Stretch;
        }
        Reading { says: "family = \"detr\"", ..reading }
    };
    let rt_detr = || {
        let reading = one(evidence, FamilyName::RtDetr, &PILLOW, Activation::Sigmoid);
        Reading { says: "family = \"rt-detr\"", ..reading }
    };
    let rf_detr = || {
        let base = if is_own { Feeding::IMAGENET } else { PILLOW_IMAGENET };
        let feeding = Feeding { size: [560, 560], ..base };
        let reading = one(evidence, FamilyName::RfDetr, &feeding, Activation::Sigmoid);
        Reading { says: "family = \"rf-detr\"", ..reading }
    };
    let names_no_object = evidence
        .labels
        .is_some_and(|labels| columns.is_some_and(|columns| columns == labels as u64 + 1));
    let is_rf = logits.name == "labels" || evidence.mentions(&["rf_detr", "rfdetr", "dinov2"]);
    let is_rt = evidence.mentions(&[
        "rt_detr",
        "rtdetr",
        "d_fine",
        "dfine",
        "hgnet",
        "fpn_block",
        "pan_block",
        "enc_score_head",
        "lqe_layer",
        "encoder_input_proj",
    ]);
    let mut readings = if evidence.manifest.family.is_some() {
        vec![rt_detr(), rf_detr(), detr()]
    } else if is_rf {
        vec![rf_detr()]
    } else if is_rt {
        vec![rt_detr()]
    } else if columns == Some(DETR_CLASSES) || names_no_object {
        vec![detr()]
    } else if columns == Some(91) {
        vec![rf_detr()]
    } else if queries == Some(100) && columns != Some(80) {
        vec![detr()]
    } else {
        vec![rt_detr(), rf_detr()]
    };
    let outputs = [logits, boxes].map(|output| output.name.clone());
    for reading in &mut readings {
        reading.outputs = outputs.to_vec();
        let choice = evidence.manifest.family.as_ref().and_then(|family| family.activation);
        if let (Some(choice), Decoder::Queries(decoder)) = (choice, &mut reading.decoder) {
            decoder.activation = match choice {
                ActivationChoice::Sigmoid => Activation::Sigmoid,
                ActivationChoice::Softmax => Activation::Softmax,
            };
        }
        let Decoder::Queries(Queries { activation }) = reading.decoder else { continue };
        let classes = columns.and_then(|columns| usize::try_from(columns).ok());
        reading.classes =
            classes.map(|all| all.saturating_sub(usize::from(activation == Activation::Softmax)));
    }
    readings
}

fn one(
    evidence: &Evidence<'_>,
    family: FamilyName,
    feeding: &Feeding,
    activation: Activation,
) -> Reading {
    evidence.reading(family, feeding, Decoder::Queries(Queries { activation }))
}

/// Hugging Face scales as Pillow does.
const PILLOW: Feeding = Feeding { scaling: Scaling::Smooth, ..Feeding::SHARES };
const PILLOW_IMAGENET: Feeding = Feeding { scaling: Scaling::Smooth, ..Feeding::IMAGENET };

/// The logits and boxes.
fn outputs<'a>(evidence: &Evidence<'a>) -> Option<(&'a Declared, &'a Declared)> {
    let names = &evidence.manifest.output;
    let boxes = evidence.chosen(&names.boxes, &["pred_boxes", "dets", "boxes"]);
    let logits = evidence
        .chosen(&names.scores, &["logits", "pred_logits", "labels", "scores", "class_logits"]);
    let is_few = |queries: Option<u64>| queries.is_none_or(|queries| queries <= MOST_QUERIES);
    let fits = |logits: &Declared, boxes: &Declared| {
        let (Some((queries, _)), Some((rows, columns))) = (matrix(logits), matrix(boxes)) else {
            return false;
        };
        // A graph may fix the number of one output and leave the other's open.
        let as_many = queries.zip(rows).is_none_or(|(queries, rows)| queries == rows);
        let has_four = columns.is_none_or(|four| four == 4);
        has_four
            && as_many
            && is_few(queries)
            && is_few(rows)
            && is_float(logits)
            && is_float(boxes)
    };
    if let (Some(logits), Some(boxes)) = (logits, boxes) {
        return fits(logits, boxes).then_some((logits, boxes));
    }
    // An export without names: two outputs, of which one has four columns.
    let [first, second] = &evidence.file.outputs[..] else { return None };
    let has_four =
        |output: &Declared| matrix(output).is_some_and(|(_, columns)| columns == Some(4));
    let (logits, boxes) = match (has_four(first), has_four(second)) {
        (true, false) => (second, first),
        (false, true) => (first, second),
        _ => return None,
    };
    fits(logits, boxes).then_some((logits, boxes))
}
