use moliceiro_messages::{Fit, Size};

use super::evidence::{Evidence, Feeding, matrix};
use super::name::{FamilyName, GridChoice};
use super::yolo::{STRIDES, main_output};
use crate::decoders::{Decoder, Dense, Grid, cell_count};
use crate::input::Colors;
use crate::reading::Reading;

const UPPER_LEFT: Feeding =
    Feeding { colors: Colors::Bgr, fit: Fit::UpperLeft, padding: 114, ..Feeding::BYTES };
const LETTERBOX: Feeding = Feeding { fit: Fit::Letterbox, padding: 114, ..Feeding::SHARES };
/// Centre, width, height and objectness.
const OTHERS: u64 = 5;

/// YOLOX, with boxes that are relative to their cell or not; and YOLOv6, which has the same shape,
/// no objectness, and another input. A run shows which of them it is.
pub(super) fn read(evidence: &Evidence<'_>) -> Vec<Reading> {
    if !evidence.extras.is_empty() || evidence.is_ultralytics() {
        return Vec::new();
    }
    let Some(output) = main_output(evidence) else { return Vec::new() };
    let Some((rows, Some(columns))) = matrix(output) else { return Vec::new() };
    let Some(classes) = columns.checked_sub(OTHERS).filter(|classes| *classes > 0) else {
        return Vec::new();
    };
    let choice = evidence.manifest.family.as_ref();
    let own = choice.and_then(|family| family.strides.as_deref());
    let all_strides = own.map_or_else(|| STRIDES.to_vec(), |strides| vec![strides]);
    let input = evidence.input(&UPPER_LEFT);
    let [width, height] = input.size;
    let mut readings = Vec::new();
    for strides in all_strides {
        let cells = cell_count(Size { width, height }, strides) as u64;
        if input.multiple_of.is_none() && rows.is_some_and(|rows| rows != cells) {
            continue;
        }
        let strides = strides.to_vec();
        let grids = [
            (FamilyName::Yolox, Grid::Decoded(strides.clone())),
            (FamilyName::Yolox, Grid::Raw(strides.clone())),
            (FamilyName::Yolov6, Grid::DecodedWithoutObjectness(strides)),
        ];
        for (family, grid) in grids {
            let says = match (family, &grid) {
                (FamilyName::Yolov6, _) => "family = \"yolov6\"",
                (_, Grid::Raw(_)) => "[family.yolox] grid = \"raw\"",
                _ => "[family.yolox] grid = \"decoded\"",
            };
            let is_other = match choice.and_then(|family| family.grid) {
                Some(GridChoice::Raw) => !matches!(grid, Grid::Raw(_)),
                Some(GridChoice::Decoded) => matches!(grid, Grid::Raw(_)),
                None => false,
            };
            if is_other {
                continue;
            }
            let feeding = if family == FamilyName::Yolov6 { &LETTERBOX } else { &UPPER_LEFT };
            let decoder = Decoder::Dense(Dense { objectness: true, transposed: false, grid });
            let reading = evidence.reading(family, feeding, decoder);
            readings.push(Reading {
                outputs: vec![output.name.clone()],
                classes: usize::try_from(classes).ok(),
                nms: true,
                threshold: if family == FamilyName::Yolov6 { 0.4 } else { 0.3 },
                iou: 0.45,
                says,
                ..reading
            });
        }
    }
    readings
}
