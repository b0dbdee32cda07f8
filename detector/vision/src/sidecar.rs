use std::path::Path;

use moliceiro_messages::Size;
use serde::Deserialize;

use crate::families::FamilyName;
use crate::manifest::{InputManifest, Manifest};
use crate::onnx_file::OnnxFile;

/// The files that Hugging Face's exports have beside them.
const CONFIG: &str = "config.json";
/// Their input for the picture.
const PICTURE: &str = "pixel_values";
/// Open sides are multiples of this.
const STEP: u32 = 32;
const PREPROCESSOR: &str = "preprocessor_config.json";
/// They are small; a larger file is another one.
const MOST_BYTES: u64 = 1 << 20;

#[derive(Deserialize)]
struct Config {
    model_type: Option<String>,
    id2label: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Preprocessor {
    do_resize: Option<bool>,
    /// Height and width, or the shortest edge, which may be the number itself.
    size: Option<serde_json::Value>,
    do_rescale: Option<bool>,
    rescale_factor: Option<f32>,
    do_normalize: Option<bool>,
    image_mean: Option<[f32; 3]>,
    image_std: Option<[f32; 3]>,
}

/// Completes the manifest by what `config.json` and `preprocessor_config.json` beside the model
/// say, and returns the names of the classes.
pub(crate) fn read(
    onnx: &Path,
    file: &OnnxFile,
    manifest: &mut Manifest,
    named: Option<(String, Vec<String>)>,
) -> Option<(String, Vec<String>)> {
    let Some(config) = json::<Config>(onnx, CONFIG) else { return named };
    let family = config.model_type.as_deref().and_then(family);
    // Another program's file has this name, too.
    let Some(family) = family else { return named };
    if manifest.family.is_none() {
        manifest.family = Some(crate::families::FamilyChoice::of(family));
    }
    if let Some(preprocessor) = json::<Preprocessor>(onnx, PREPROCESSOR) {
        feeding(&preprocessor, file, &mut manifest.input);
    }
    named.or_else(|| {
        let mut labels: Vec<(usize, String)> = config
            .id2label?
            .into_iter()
            .filter_map(|(id, label)| Some((id.parse().ok()?, label)))
            .collect();
        labels.sort();
        let labels: Vec<String> = labels.into_iter().map(|(_, label)| label).collect();
        (!labels.is_empty()).then(|| (format!("{CONFIG}, id2label"), labels))
    })
}

fn feeding(preprocessor: &Preprocessor, file: &OnnxFile, input: &mut InputManifest) {
    if input.scale.is_none() {
        input.scale = match preprocessor.do_rescale {
            Some(false) => Some(1.0),
            _ => preprocessor.rescale_factor,
        };
    }
    if input.mean.is_none() && input.std.is_none() {
        let normalises = preprocessor.do_normalize.unwrap_or(true);
        input.mean = if normalises { preprocessor.image_mean } else { Some([0.0; 3]) };
        input.std = if normalises { preprocessor.image_std } else { Some([1.0; 3]) };
    }
    let is_open = file.inputs.iter().any(|input| {
        matches!(input.shape.as_deref(), Some([_, _, None, None])) && input.name == PICTURE
    });
    let resizes = preprocessor.do_resize.unwrap_or(true);
    let Some(size) = preprocessor.size.as_ref().filter(|_| is_open && resizes) else { return };
    if input.size.is_some() || input.multiple_of.is_some() {
        return;
    }
    let side = |value: &serde_json::Value| {
        let side = u32::try_from(value.as_u64()?).ok()?;
        (STEP..=Size::MAX_SIDE).contains(&side).then_some(side)
    };
    let named = |key: &str| size.get(key).and_then(side);
    if let (Some(width), Some(height)) = (named("width"), named("height")) {
        input.size = Some([width, height]);
    } else if let Some(shortest) = named("shortest_edge").or_else(|| side(size)) {
        // Frames keep their shape. A picture of 4:3 has the shortest edge that is wanted.
        let rounded = |side: u32| (side / STEP * STEP).min(Size::MAX_SIDE);
        input.size = Some([rounded(shortest.saturating_mul(4) / 3), rounded(shortest)]);
        input.multiple_of = Some(STEP);
    }
}

fn family(model_type: &str) -> Option<FamilyName> {
    match model_type {
        "rt_detr" | "rt_detr_v2" | "d_fine" | "rtdetr" | "dfine" => Some(FamilyName::RtDetr),
        "rf_detr" | "deformable_detr" | "conditional_detr" | "deta" => Some(FamilyName::RfDetr),
        "detr" | "yolos" | "table-transformer" => Some(FamilyName::Detr),
        _ => None,
    }
}

fn json<T: for<'de> Deserialize<'de>>(onnx: &Path, name: &str) -> Option<T> {
    let path = onnx.with_file_name(name);
    let is_small = |metadata: std::fs::Metadata| metadata.len() <= MOST_BYTES;
    if !std::fs::metadata(&path).is_ok_and(is_small) {
        return None;
    }
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}
