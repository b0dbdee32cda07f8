//! Output families: what the numbers in a model's output mean.
//!
//! To add a family, for example `yolo`:
//!
//! 1. Write `families/yolo.rs`: a struct with the family's parameters (`Deserialize`,
//!    `deny_unknown_fields`), and [`Decoder`] for it.
//! 2. Add a variant to [`Family`]. Its name in lower case is the manifest's `[family.yolo]`.
//! 3. Add an arm to [`Family::decoder`].
//!
//! No other code changes; `docs/models.md` lists the families. A manifest then names the family,
//! and the tests of `nanodet.rs` show what
//! to test. A layout of the input that no family uses yet is added in `input.rs`.

mod decoder;
mod nanodet;

use serde::Deserialize;

pub(crate) use decoder::Decoder;
pub use decoder::UnexpectedOutput;

/// A family and its parameters, as manifests name them.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Family {
    /// NanoDet and NanoDet-Plus, in the layout of their own ONNX export.
    Nanodet(nanodet::Nanodet),
}

impl Family {
    pub fn decoder(&self) -> &dyn Decoder {
        match self {
            Self::Nanodet(nanodet) => nanodet,
        }
    }
}
