//! The models that every detector has. A test of `moliceiro-vision` compares them with its files.

use super::{ModelDescription, ModelId};
use crate::{Fit, Scaling, Size, VERSION};

/// The built-in model that analyses what does not name another.
pub const DEFAULT_MODEL: &str = "nanodet";

/// The names of all built-in models.
pub const BUILTIN_MODELS: [&str; 2] = [DEFAULT_MODEL, "nanodet-int8"];

/// Of each, in the same order: the SHA-256 and the length of its file.
const FILES: [(&str, u64); 2] = [
    ("f26a6ae81b2efab1fc25b1600f7aaafa96a9a57071cb7948fe56371f139460b7", 7_610_720),
    ("65197178cf7d53067b2bc57257786a25e31ca3203bd9d00955bfd38d88631394", 3_951_627),
];

/// The names of the classes of each, one on a line.
const LABELS: &str = include_str!("builtin-labels.txt");

impl ModelDescription {
    /// The names of the classes of each built-in model.
    pub fn builtin_labels() -> Vec<String> {
        LABELS.lines().map(str::to_owned).collect()
    }

    /// The descriptions of all built-in models.
    pub fn builtin() -> [Self; 2] {
        std::array::from_fn(|at| {
            let (digest, bytes) = FILES[at];
            Self {
                version: VERSION,
                model: ModelId::for_name(BUILTIN_MODELS[at]),
                digest: digest.to_owned(),
                bytes,
                size: Size { width: 416, height: 416 },
                multiple_of: Some(32),
                fit: Fit::Area,
                scaling: Scaling::Lanczos,
                classes: 80,
                added_at: None,
            }
        })
    }

    /// The built-in model of this name.
    pub fn builtin_named(model: &ModelId) -> Option<Self> {
        Self::builtin().into_iter().find(|known| known.model == *model)
    }
}
