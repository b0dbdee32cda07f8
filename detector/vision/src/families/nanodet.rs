use moliceiro_messages::{Fit, Size};

use super::evidence::{Evidence, Feeding, is_float, matrix};
use super::name::FamilyName;
use crate::decoders::{Cells, Decoder, cell_count};
use crate::input::Colors;
use crate::onnx_file::Declared;
use crate::reading::Reading;

const THREE: [u32; 3] = [8, 16, 32];
const FOUR: [u32; 4] = [8, 16, 32, 64];
/// NanoDet, NanoDet-Plus and PicoDet have 8; NanoDet-g has 11.
const USUAL_BINS: [usize; 2] = [8, 11];
const SIDES: usize = 4;

/// Upstream's feeding: blue, green and red of 0 to 255, normalised outside of the graph.
const UPSTREAM: Feeding = Feeding {
    size: [416, 416],
    colors: Colors::Bgr,
    mean: [103.53, 116.28, 123.675],
    std: [57.375, 57.12, 58.395],
    ..Feeding::BYTES
};
const INSIDE: Feeding = Feeding { size: [416, 416], ..Feeding::BYTES };
const PADDLE: Feeding = Feeding { size: [416, 416], ..Feeding::IMAGENET };

/// NanoDet, NanoDet-Plus and PicoDet without suppression: scores and distributions of distances
/// for each cell, in one output or in two for each stride.
pub(super) fn read(evidence: &Evidence<'_>) -> Vec<Reading> {
    if !evidence.extras.is_empty() || evidence.is_ultralytics() {
        return Vec::new();
    }
    let mut readings = split(evidence);
    if readings.is_empty() {
        readings = joined(evidence);
    }
    let family = evidence.manifest.family.as_ref();
    if let Some(offset) = family.and_then(|family| family.offset) {
        for reading in &mut readings {
            if let Decoder::Cells(cells) = &mut reading.decoder {
                cells.offset = offset;
            }
        }
    }
    readings
}

/// The family of a model with these strides, as far as its file tells.
fn families(evidence: &Evidence<'_>, strides: &[u32]) -> Vec<FamilyName> {
    let named = evidence.metadata("family").unwrap_or_default();
    let choice = evidence.manifest.family.as_ref();
    match choice.map(|choice| choice.name) {
        Some(name @ (FamilyName::Nanodet | FamilyName::NanodetPlus | FamilyName::Picodet)) => {
            vec![name]
        }
        _ if named == "nanodet-plus" => vec![FamilyName::NanodetPlus],
        _ if named == "picodet" || evidence.mentions(&["picodet"]) => vec![FamilyName::Picodet],
        _ if strides.len() == THREE.len() => vec![FamilyName::Nanodet],
        // The name of the input in upstream's export.
        _ if evidence.picture_name() == "data" => vec![FamilyName::NanodetPlus],
        _ => vec![FamilyName::NanodetPlus, FamilyName::Picodet],
    }
}

fn reading(
    evidence: &Evidence<'_>,
    family: FamilyName,
    feeding: &Feeding,
    (strides, bins, split): (&[u32], usize, bool),
) -> Reading {
    let offset = if family == FamilyName::NanodetPlus { 0.0 } else { 0.5 };
    let decoder = Decoder::Cells(Cells { strides: strides.to_vec(), bins, offset, split });
    let mut reading = evidence.reading(family, feeding, decoder);
    reading.input.fit = if reading.input.multiple_of.is_some() { Fit::Area } else { Fit::Stretch };
    reading.nms = true;
    reading.threshold = if family == FamilyName::Picodet { 0.5 } else { 0.4 };
    reading.iou = 0.5;
    reading.says = match family {
        FamilyName::Picodet => "family = \"picodet\"",
        FamilyName::NanodetPlus => "family = \"nanodet-plus\"",
        _ => "family = \"nanodet\"",
    };
    reading
}

/// [1, cells, classes + 4 · bins].
fn joined(evidence: &Evidence<'_>) -> Vec<Reading> {
    let floats = || evidence.file.outputs.iter().filter(|output| is_float(output));
    let named = &evidence.manifest.output.name;
    let output = match (evidence.chosen(named, &[]), floats().count()) {
        (Some(output), _) => output,
        (None, 1) => match floats().next() {
            Some(output) => output,
            None => return Vec::new(),
        },
        _ => return Vec::new(),
    };
    let Some((rows, Some(columns))) = matrix(output) else { return Vec::new() };
    let Ok(columns) = usize::try_from(columns) else { return Vec::new() };
    let [width, height] = evidence.input(&INSIDE).size;
    let size = Size { width, height };
    let mut readings = Vec::new();
    for strides in strides(evidence) {
        let cells = cell_count(size, &strides) as u64;
        let is_fixed = evidence.input(&INSIDE).multiple_of.is_none();
        if rows.is_some_and(|rows| is_fixed && rows != cells) {
            continue;
        }
        for bins in bins(evidence, columns) {
            let classes = columns - SIDES * bins;
            // Without names or a number of cells, only the most usual number of classes is clear.
            if rows.is_none() && evidence.labels.is_none() && classes != 80 {
                continue;
            }
            for family in families(evidence, &strides) {
                for feeding in feedings(evidence) {
                    let one = reading(evidence, family, feeding, (&strides, bins, false));
                    let outputs = vec![output.name.clone()];
                    readings.push(Reading { outputs, classes: Some(classes), ..one });
                }
            }
        }
    }
    readings
}

fn feedings(evidence: &Evidence<'_>) -> Vec<&'static Feeding> {
    // A manifest that has the colours describes all of it.
    if evidence.normalises_itself() || evidence.manifest.input.colors.is_some() {
        vec![&INSIDE]
    } else {
        vec![&UPSTREAM]
    }
}

fn strides(evidence: &Evidence<'_>) -> Vec<Vec<u32>> {
    let choice = evidence.manifest.family.as_ref().and_then(|family| family.strides.clone());
    let metadata = || {
        let numbers = evidence.metadata("strides")?.split(',');
        let strides: Option<Vec<u32>> = numbers.map(|number| number.trim().parse().ok()).collect();
        strides.filter(|strides| {
            (1..=8).contains(&strides.len()) && strides.iter().all(|s| (1..=1024).contains(s))
        })
    };
    match choice.or_else(metadata) {
        Some(strides) => vec![strides],
        None => vec![FOUR.to_vec(), THREE.to_vec()],
    }
}

/// How many bins a side may have.
fn bins(evidence: &Evidence<'_>, columns: usize) -> Vec<usize> {
    let choice = evidence.manifest.family.as_ref().and_then(|family| family.bins);
    let metadata = evidence.metadata("bins").and_then(|bins| bins.trim().parse().ok());
    let of_classes = |classes: usize| {
        let sides = columns.checked_sub(classes)?;
        (sides.is_multiple_of(SIDES) && sides > SIDES).then_some(sides / SIDES)
    };
    let known = choice.or(metadata).or_else(|| evidence.labels.and_then(of_classes));
    let all = match known {
        Some(bins) => vec![bins],
        None if USUAL_BINS.iter().any(|bins| columns == 80 + SIDES * bins) => {
            of_classes(80).into_iter().collect()
        }
        None => USUAL_BINS.to_vec(),
    };
    let fits = |bins: &usize| (2..=256).contains(bins) && columns > SIDES * bins;
    all.into_iter().filter(fits).collect()
}

/// Two outputs for each stride: [1, cells, classes] and [1, cells, 4 · bins].
fn split(evidence: &Evidence<'_>) -> Vec<Reading> {
    let outputs = &evidence.file.outputs;
    if ![6, 8].contains(&outputs.len()) || !outputs.iter().all(is_float) {
        return Vec::new();
    }
    let shape = |output: &Declared| match matrix(output)? {
        (Some(rows), Some(columns)) => {
            Some((usize::try_from(rows).ok()?, usize::try_from(columns).ok()?))
        }
        _ => None,
    };
    let Some(shapes) = outputs.iter().map(shape).collect::<Option<Vec<_>>>() else {
        return Vec::new();
    };
    let mut cells: Vec<usize> = shapes.iter().map(|(rows, _)| *rows).collect();
    cells.sort_unstable_by(|a, b| b.cmp(a));
    cells.dedup();
    let strides = &FOUR[..outputs.len() / 2];
    let [width, height] = evidence.input(&INSIDE).size;
    let expected = strides.iter().map(|stride| cell_count(Size { width, height }, &[*stride]));
    if !cells.iter().copied().eq(expected) {
        return Vec::new();
    }
    let wanted = evidence.manifest.family.as_ref().and_then(|family| family.bins);
    let mut readings = Vec::new();
    let all_bins = wanted.map_or_else(|| USUAL_BINS.to_vec(), |bins| vec![bins]);
    for bins in all_bins {
        let Some((names, classes)) = pairs(&shapes, &cells, SIDES * bins, outputs) else {
            continue;
        };
        if evidence.labels.is_some_and(|labels| labels != classes) && wanted.is_none() {
            continue;
        }
        let is_paddle = evidence.picture_name() == "image";
        let feeding = match evidence.normalises_itself() {
            true => &INSIDE,
            false if is_paddle => &PADDLE,
            false => &UPSTREAM,
        };
        let mut all = families(evidence, strides);
        if is_paddle && evidence.manifest.family.is_none() {
            all = vec![FamilyName::Picodet];
        }
        for family in all {
            let mut one = reading(evidence, family, feeding, (strides, bins, true));
            if strides.len() == THREE.len() && !is_paddle {
                // OpenCV Zoo letterboxes.
                one.input.fit = Fit::Letterbox;
            }
            let outputs = names.clone();
            readings.push(Reading { outputs, classes: Some(classes), ..one });
        }
    }
    readings
}

/// The names of the scores and then of the distances, by falling number of cells; and the number
/// of classes.
fn pairs(
    shapes: &[(usize, usize)],
    cells: &[usize],
    sides: usize,
    outputs: &[Declared],
) -> Option<(Vec<String>, usize)> {
    let (mut scores, mut distances, mut classes) = (Vec::new(), Vec::new(), None);
    for cells in cells {
        let of_stride: Vec<usize> =
            (0..shapes.len()).filter(|index| shapes[*index].0 == *cells).collect();
        let [first, second] = of_stride[..] else { return None };
        // Where both have as many columns, the scores come first.
        let (score, distance) = match (shapes[first].1 == sides, shapes[second].1 == sides) {
            (_, true) => (first, second),
            (true, false) => (second, first),
            (false, false) => return None,
        };
        if *classes.get_or_insert(shapes[score].1) != shapes[score].1 {
            return None;
        }
        scores.push(outputs[score].name.clone());
        distances.push(outputs[distance].name.clone());
    }
    scores.append(&mut distances);
    Some((scores, classes?))
}
