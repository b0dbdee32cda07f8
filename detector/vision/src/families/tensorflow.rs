use super::evidence::{Evidence, Feeding, is_float, rank};
use super::name::FamilyName;
use crate::decoders::{BoxFormat, Decoder, Lists};
use crate::input::{Element, Layout};
use crate::onnx_file::Declared;
use crate::reading::{Coco, Reading};
use moliceiro_messages::Fit;

/// TensorFlow's Object Detection API, converted by tf2onnx: bytes with the colours last; boxes in
/// shares as top, left, bottom, right; classes from 1.
pub(super) fn read(evidence: &Evidence<'_>) -> Vec<Reading> {
    let names = &evidence.manifest.output;
    let output = |manifest, name| evidence.chosen(manifest, &[name]);
    let boxes = output(&names.boxes, "detection_boxes");
    let classes = output(&names.classes, "detection_classes");
    let scores = output(&names.scores, "detection_scores");
    let count = output(&names.count, "num_detections");
    match (boxes, classes, scores) {
        (Some(boxes), Some(classes), Some(scores)) if is_float(boxes) && is_float(scores) => {
            vec![reading(evidence, [Some(boxes), Some(classes), Some(scores), count], 1)]
        }
        _ => numbered(evidence).map_or_else(|| lite(evidence), |reading| vec![reading]),
    }
}

/// A saved model whose outputs have numbers for names. They are in the order of their proper names:
/// indices of anchors, boxes, classes, scores of all classes, scores, number, and raw ones.
fn numbered(evidence: &Evidence<'_>) -> Option<Reading> {
    let outputs = &evidence.file.outputs;
    let ranks: Option<Vec<usize>> = outputs.iter().map(rank).collect();
    if ranks? != [2, 3, 2, 3, 2, 1, 3, 3] || !evidence.extras.is_empty() {
        return None;
    }
    let used = [&outputs[1], &outputs[2], &outputs[4], &outputs[5]].map(Some);
    Some(reading(evidence, used, 1))
}

/// A model for TensorFlow Lite, whose outputs have numbers for names: [1, n, 4], twice [1, n], and
/// [1]. Its classes begin at 0. Which of the two lists has the classes, a run shows.
fn lite(evidence: &Evidence<'_>) -> Vec<Reading> {
    let outputs = &evidence.file.outputs;
    if outputs.len() != 4 || !outputs.iter().all(is_float) || !evidence.extras.is_empty() {
        return Vec::new();
    }
    let of_rank = |wanted: usize| outputs.iter().filter(move |output| rank(output) == Some(wanted));
    let columns = |output: &&Declared| {
        output.shape.as_ref().is_some_and(|shape| shape.last() == Some(&Some(4)))
    };
    let boxes = of_rank(3).find(columns);
    let lists: Vec<&Declared> = of_rank(2).collect();
    let (Some(boxes), [first, second], Some(count)) = (boxes, &lists[..], of_rank(1).next()) else {
        return Vec::new();
    };
    let with = |classes, scores| {
        let outputs = [Some(boxes), Some(classes), Some(scores), Some(count)];
        Reading { says: "output.classes and output.scores", ..reading(evidence, outputs, 0) }
    };
    vec![with(*first, *second), with(*second, *first)]
}

fn reading(
    evidence: &Evidence<'_>,
    outputs: [Option<&Declared>; 4],
    first_class: usize,
) -> Reading {
    let chosen = evidence.manifest.family.as_ref().and_then(|family| family.first_class);
    let decoder = Decoder::Lists(Lists {
        boxes: BoxFormat::TopLeftShares,
        first_class: chosen.unwrap_or(first_class),
    });
    // The graph scales the picture itself; where it takes any size, the shape is kept.
    let open = Feeding { size: [640, 480], fit: Fit::Area, multiple_of: 1, ..Feeding::BYTES };
    let mut reading = evidence.reading(FamilyName::Tensorflow, &open, decoder);
    if reading.input.multiple_of.is_none() {
        reading.input.fit = Fit::Stretch;
    }
    if reading.input.layout == Layout::Nhwc && reading.input.element == Element::Float32 {
        // Models that take floats take them from -1 to 1.
        (reading.input.mean, reading.input.std) = ([127.5; 3], [127.5; 3]);
    }
    reading.outputs = outputs.into_iter().flatten().map(|output| output.name.clone()).collect();
    reading.coco = Coco::Ids;
    reading
}
