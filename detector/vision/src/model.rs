use std::fs::File;
use std::path::{Path, PathBuf};

use moliceiro_messages::Size;
use thiserror::Error;

use crate::manifest::Manifest;

const FLOAT: &str = "nanodet";
const INT8: &str = "nanodet-int8";
const BUILTIN_MANIFEST: &str = include_str!("../models/nanodet.toml");
const BUILTIN_LABELS: &str = include_str!("../models/coco-labels.txt");
static FLOAT_ONNX: &[u8] = include_bytes!("../models/nanodet.onnx");
static INT8_ONNX: &[u8] = include_bytes!("../models/nanodet-int8.onnx");

/// A model and its manifest, read and checked as far as that goes without loading it into ONNX
/// Runtime.
#[derive(Clone, Debug)]
pub struct Model {
    pub(crate) name: String,
    pub(crate) weights: Weights,
    pub(crate) manifest: Manifest,
    pub(crate) labels: Vec<String>,
}

/// Where the ONNX graph is.
#[derive(Clone, Debug)]
pub(crate) enum Weights {
    Builtin(&'static [u8]),
    /// The runtime itself reads it, as a graph may refer to further files beside it.
    File(PathBuf),
}

/// A model that cannot be used.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The path is not one of a model.
    #[error("{} is neither an .onnx file nor the .toml manifest of one", .0.display())]
    NotAModel(PathBuf),
    /// There is no such file.
    #[error("there is no model file {}", .0.display())]
    Missing(PathBuf),
    /// A model has no manifest.
    #[error("{} has no manifest: write {}, which says what the model takes and what its output means", .model.display(), .manifest.display())]
    NoManifest {
        /// The ONNX file.
        model: PathBuf,
        /// The manifest that is missing.
        manifest: PathBuf,
    },
    /// A file is there but cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The manifest is wrong in itself.
    #[error("{}: {reason}", .path.display())]
    Manifest {
        /// Its file.
        path: PathBuf,
        /// What is wrong: line or key, and how.
        reason: String,
    },
    /// ONNX Runtime does not take the file for a model.
    #[error("{model} is not a model that ONNX Runtime can load: {reason}")]
    NotOnnx {
        /// The model's file, or the name of the built-in one.
        model: String,
        /// What the runtime says.
        reason: String,
    },
    /// The model is not what its manifest says.
    #[error("{model} does not fit its manifest: {reason}")]
    Mismatch {
        /// The model's file, or the name of the built-in one.
        model: String,
        /// What differs.
        reason: String,
    },
    /// The number of labels is not the number of classes that the model tells apart.
    #[error(
        "{model} does not fit its manifest: it tells {classes} classes apart, and there are {labels} labels"
    )]
    Labels {
        /// The model's file, or the name of the built-in one.
        model: String,
        /// How many classes its output has.
        classes: usize,
        /// How many labels the manifest names.
        labels: usize,
    },
    /// A value that was to replace the manifest's is out of bounds.
    #[error("{0}")]
    Option(String),
    /// ONNX Runtime could not be set up for a session.
    #[error("ONNX Runtime refuses the session's settings: {0}")]
    Session(String),
}

impl Model {
    /// The model that is part of the program: NanoDet with the 80 classes of COCO.
    pub fn builtin() -> Self {
        Self::compiled_in(FLOAT, FLOAT_ONNX)
    }

    /// The same model with convolutions in 8-bit integers: faster where [`Self::suits_processor`],
    /// and a little less exact.
    pub fn builtin_int8() -> Self {
        Self::compiled_in(INT8, INT8_ONNX)
    }

    /// The built-in model or the file that `model` names; without it, the default built-in model.
    ///
    /// It is checked against its manifest as far as that goes without running it.
    pub fn resolve(model: Option<&Path>) -> Result<Self, ModelError> {
        match model {
            Some(path) => path.to_str().and_then(Self::named).map_or_else(|| Self::open(path), Ok),
            None => Ok(Self::builtin()),
        }
    }

    /// The model of this name that is part of the program.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            FLOAT => Some(Self::builtin()),
            INT8 => Some(Self::builtin_int8()),
            _ => None,
        }
    }

    fn compiled_in(name: &str, onnx: &'static [u8]) -> Self {
        #[expect(
            clippy::expect_used,
            reason = "the manifest and labels are compiled in, and a test reads them"
        )]
        let (manifest, labels) = parse(BUILTIN_MANIFEST, |_| Ok(BUILTIN_LABELS.to_owned()))
            .expect("the built-in manifest");
        Self { name: name.to_owned(), weights: Weights::Builtin(onnx), manifest, labels }
    }

    /// A model of the user's own: the path of its `.onnx` file or of the `.toml` manifest with the
    /// same name beside it.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        if !path.extension().is_some_and(|extension| extension == "onnx" || extension == "toml") {
            return Err(ModelError::NotAModel(path.to_owned()));
        }
        let (onnx, manifest_path) = (path.with_extension("onnx"), path.with_extension("toml"));
        match File::open(&onnx).and_then(|file| file.metadata()) {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => return Err(ModelError::NotAModel(onnx)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(ModelError::Missing(onnx));
            }
            Err(source) => return Err(ModelError::Unreadable { path: onnx, source }),
        }
        let text =
            std::fs::read_to_string(&manifest_path).map_err(|source| match source.kind() {
                std::io::ErrorKind::NotFound => {
                    ModelError::NoManifest { model: onnx.clone(), manifest: manifest_path.clone() }
                }
                _ => ModelError::Unreadable { path: manifest_path.clone(), source },
            })?;
        let beside =
            |file: &Path| std::fs::read_to_string(manifest_path.with_file_name("").join(file));
        let parsed = parse(&text, beside);
        let (manifest, labels) = parsed
            .map_err(|reason| ModelError::Manifest { path: manifest_path.clone(), reason })?;
        Ok(Self {
            name: onnx.display().to_string(),
            weights: Weights::File(onnx),
            manifest,
            labels,
        })
    }

    /// False if it is the built-in 8-bit model and this processor lacks the instructions that make
    /// it fast and exact: VNNI on x86-64, the dot product on arm64.
    ///
    /// Without VNNI, x86-64 adds two products of 8-bit integers in 16 bits, and may saturate:
    /// <https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html>.
    pub fn suits_processor(&self) -> bool {
        self.name != INT8 || multiplies_bytes()
    }

    /// The built-in model's name, or the path of the model's file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The built-in model's name, or the name of the model's file without its folders, which differ
    /// between machines.
    /// Its name without the path it was read from.
    pub fn short_name(&self) -> &str {
        Path::new(&self.name).file_name().and_then(|name| name.to_str()).unwrap_or(&self.name)
    }

    /// The names of the classes, in the model's order.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The size of picture that the model is at its best with.
    pub fn size(&self) -> Size {
        self.manifest.size()
    }

    /// True if the model takes pictures of every size whose sides are multiples of `step`.
    pub fn takes_multiples_of(&self, step: u32) -> bool {
        self.manifest.input.multiple_of.is_some_and(|multiple| step.is_multiple_of(multiple))
    }

    /// True if the model takes pictures of this size.
    pub fn takes(&self, size: Size) -> bool {
        self.manifest.input.takes(size)
    }
}

#[cfg(target_arch = "x86_64")]
fn multiplies_bytes() -> bool {
    std::arch::is_x86_feature_detected!("avx512vnni")
        || std::arch::is_x86_feature_detected!("avxvnni")
}

#[cfg(target_arch = "aarch64")]
fn multiplies_bytes() -> bool {
    std::arch::is_aarch64_feature_detected!("dotprod")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn multiplies_bytes() -> bool {
    false
}

fn parse(
    text: &str,
    read: impl FnOnce(&Path) -> std::io::Result<String>,
) -> Result<(Manifest, Vec<String>), String> {
    let manifest = Manifest::parse(text)?;
    let labels = manifest.labels.names(read)?;
    Ok((manifest, labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builtin_model_knows_the_classes_of_coco() {
        let model = Model::builtin();
        assert_eq!(model.labels().len(), 80);
        assert_eq!(
            [model.labels()[0].as_str(), model.labels()[79].as_str()],
            ["person", "toothbrush"]
        );
        assert!(model.takes(model.size()) && model.takes(Size { width: 416, height: 192 }));
    }
}
