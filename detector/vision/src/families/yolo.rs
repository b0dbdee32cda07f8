use moliceiro_messages::{Fit, Size};

use super::evidence::{Evidence, Feeding, is_float, is_integer, matrix, rank};
use super::name::FamilyName;
use crate::decoders::{BoxFormat, Decoder, Dense, Grid, Lists, RowLayout, Rows, cell_count};
use crate::onnx_file::Declared;
use crate::reading::Reading;

const LETTERBOX: Feeding = Feeding { fit: Fit::Letterbox, padding: 114, ..Feeding::SHARES };
/// Boxes for each cell of YOLOv5 and 7.
const ANCHORS: u64 = 3;
/// The most rows that a graph with suppression returns.
const MOST_ROWS: u64 = 1000;
/// Strides of 8 to 32, and to 64 in larger models.
pub(super) const STRIDES: [&[u32]; 2] = [&[8, 16, 32], &[8, 16, 32, 64]];

/// YOLOv5 to 12 and 26, in the layouts of Ultralytics and of their own exports.
pub(super) fn read(evidence: &Evidence<'_>) -> Vec<Reading> {
    if !evidence.extras.is_empty() {
        return Vec::new();
    }
    if let Some(reading) = counted(evidence) {
        return vec![reading];
    }
    let Some(output) = main_output(evidence) else { return Vec::new() };
    // YOLO-NAS has rows of seven numbers in another order.
    if output.name.contains("flat_predictions") {
        return Vec::new();
    }
    let Some(shape) = matrix(output) else { return Vec::new() };
    let mut readings = of_shape(evidence, shape, rank(output));
    if let Some(labels) = evidence.labels {
        let suits = |reading: &Reading| reading.classes.is_none_or(|classes| classes == labels);
        if readings.iter().any(suits) {
            readings.retain(suits);
        }
    }
    for reading in &mut readings {
        reading.outputs = vec![output.name.clone()];
        // Its own code feeds a model of open sides with no more border than strides need.
        let input = &mut reading.input;
        let is_letterboxed = input.fit == Fit::Letterbox && evidence.is_ultralytics();
        if is_letterboxed && input.takes_fitted(Fit::LetterboxWithin) {
            input.fit = Fit::LetterboxWithin;
        }
    }
    readings
}

/// The only output with a row or column for each box. YOLOv5 exports those of its strides, too,
/// in five dimensions.
pub(super) fn main_output<'a>(evidence: &Evidence<'a>) -> Option<&'a Declared> {
    let named = &evidence.manifest.output.name;
    if let Some(output) = evidence.chosen(named, &[]) {
        return Some(output);
    }
    let mut rows = evidence.file.outputs.iter().filter(|output| rank(output) != Some(5));
    let output = rows.next().filter(|output| is_float(output));
    if rows.next().is_none() {
        return output;
    }
    // YOLOv9 exports what its auxiliary branch finds, too.
    let all = ["output0", "output", "outputs"];
    let named = all.iter().find_map(|name| evidence.output(name));
    named.filter(|output| is_float(output) && rank(output) == Some(3))
}

fn of_shape(
    evidence: &Evidence<'_>,
    (rows, columns): (Option<u64>, Option<u64>),
    rank: Option<usize>,
) -> Vec<Reading> {
    let is_end2end = evidence.metadata("end2end").is_some_and(|value| value.trim() == "True");
    let has_cells = |count: u64, boxes: u64| {
        let input = evidence.input(&LETTERBOX);
        let [width, height] = input.size;
        let size = Size { width, height };
        STRIDES.iter().any(|strides| boxes * cell_count(size, strides) as u64 == count)
    };
    let v5 = |columns: u64| with_classes(evidence, FamilyName::Yolov5, columns, 5);
    let v8 = |rows: u64| with_classes(evidence, FamilyName::Yolov8, rows, 4);
    let end2end = |layout| {
        let decoder = Decoder::Rows(Rows { layout });
        let mut reading = evidence.reading(FamilyName::YoloEnd2end, &LETTERBOX, decoder);
        reading.threshold = 0.25;
        reading.says = "family = \"yolo-end2end\"";
        Some(reading)
    };
    let rows_of_six = || end2end(RowLayout::BoxScoreClass);
    let is_rt_detr = |rows: u64, columns: u64| {
        let labels = evidence.labels.map(|labels| labels as u64 + 4);
        let has_queries = evidence.is_ultralytics() && rows <= MOST_ROWS && rows != columns;
        has_queries && labels == Some(columns) && !has_rows_of_rt_detr(evidence, columns)
    };
    let readings = match (rows, columns) {
        _ if is_end2end => vec![rows_of_six()],
        (Some(rows), Some(columns)) if is_rt_detr(rows, columns) => {
            vec![Some(rt_detr(evidence, columns))]
        }
        (rows, Some(columns))
            if rows.is_none_or(|rows| rows <= MOST_ROWS)
                && has_rows_of_rt_detr(evidence, columns) =>
        {
            let decoder = Decoder::Rows(Rows { layout: RowLayout::SharesScoreClass });
            vec![Some(of_rt_detr(evidence, decoder))]
        }
        (_, Some(7)) if rank == Some(2) => vec![end2end(RowLayout::PictureBoxClassScore)],
        (Some(rows), Some(columns)) if has_cells(rows, ANCHORS) => vec![v5(columns)],
        (Some(rows), Some(columns)) if has_cells(rows, 1) => {
            // YOLOX and YOLOv6 have this shape; of Ultralytics' models, none has.
            if evidence.is_ultralytics() { vec![v5(columns)] } else { vec![] }
        }
        (Some(rows), Some(columns)) if has_cells(columns, 1) => vec![v8(rows)],
        (Some(rows), Some(6)) if rows <= MOST_ROWS => vec![rows_of_six()],
        (None, Some(6)) => vec![rows_of_six(), v5(6)],
        (Some(rows), Some(columns)) if rows < columns => vec![v8(rows)],
        (_, Some(columns)) => vec![v5(columns)],
        (Some(rows), None) => vec![v8(rows)],
        (None, None) => vec![],
    };
    readings.into_iter().flatten().collect()
}

/// Ultralytics' RT-DETR since its version 8.4: rows of the best pairs of query and class. Earlier
/// ones have the scores of all classes, after the sigmoid.
fn has_rows_of_rt_detr(evidence: &Evidence<'_>, columns: u64) -> bool {
    let says = |key: &str, word: &str| {
        evidence.metadata(key).is_some_and(|value| value.to_lowercase().contains(word))
    };
    let is_newer = says("head", "rtdetr");
    let is_older = evidence.labels == Some(2) && evidence.metadata("head").is_none();
    let is_rt_detr = || {
        says("description", "rtdetr") || evidence.mentions(&["enc_score_head", "dec_score_head"])
    };
    let chosen = evidence.manifest.family.as_ref().map(|choice| choice.name);
    let is_meant = chosen == Some(FamilyName::RtDetr)
        || chosen.is_none() && evidence.is_ultralytics() && is_rt_detr();
    columns == 6 && (is_newer || is_meant && !is_older)
}

fn rt_detr(evidence: &Evidence<'_>, columns: u64) -> Reading {
    let dense = Dense { objectness: false, transposed: false, grid: Grid::Shares };
    let mut reading = of_rt_detr(evidence, Decoder::Dense(dense));
    reading.classes = usize::try_from(columns - 4).ok();
    reading
}

fn of_rt_detr(evidence: &Evidence<'_>, decoder: Decoder) -> Reading {
    let mut reading = evidence.reading(FamilyName::RtDetr, &Feeding::SHARES, decoder);
    reading.threshold = 0.25;
    reading
}

fn with_classes(
    evidence: &Evidence<'_>,
    family: FamilyName,
    columns: u64,
    others: u64,
) -> Option<Reading> {
    let classes = usize::try_from(columns.checked_sub(others)?).ok().filter(|count| *count > 0)?;
    let is_v5 = family == FamilyName::Yolov5;
    let dense = Dense { objectness: is_v5, transposed: !is_v5, grid: Grid::None };
    let mut reading = evidence.reading(family, &LETTERBOX, Decoder::Dense(dense));
    reading.classes = Some(classes);
    reading.nms = true;
    reading.threshold = 0.25;
    reading.iou = if is_v5 { 0.45 } else { 0.7 };
    reading.says = if is_v5 { "family = \"yolov5\"" } else { "family = \"yolov8\"" };
    Some(reading)
}

/// YOLOv6 and 7 with the suppression of TensorRT's plug-in: four outputs.
fn counted(evidence: &Evidence<'_>) -> Option<Reading> {
    let names = &evidence.manifest.output;
    let boxes = evidence.chosen(&names.boxes, &["det_boxes"])?;
    let classes = evidence.chosen(&names.classes, &["det_classes"])?;
    let scores = evidence.chosen(&names.scores, &["det_scores"])?;
    let count = evidence.chosen(&names.count, &["num_dets"]).filter(|count| is_integer(count));
    let decoder = Decoder::Lists(Lists { boxes: BoxFormat::Pixels, first_class: 0 });
    let mut reading = evidence.reading(FamilyName::YoloEnd2end, &LETTERBOX, decoder);
    reading.threshold = 0.25;
    let used = [Some(boxes), Some(classes), Some(scores), count].into_iter().flatten();
    reading.outputs = used.map(|output| output.name.clone()).collect();
    Some(reading)
}
