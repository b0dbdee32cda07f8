//! Models by name: those in the object store `models`, and the built-in ones.
//!
//! Each version of a model is an object of its own, named by its id (`boats@3`). Its bytes are the
//! ONNX file; its metadata is the [`ModelDescription`] and the manifest. A version is never
//! replaced, and its number never used again.

mod added;
mod change;
mod check;
mod error;
mod fetch;
mod find;

use std::collections::HashMap;

use async_nats::jetstream::object_store::ObjectInfo;
use async_nats::jetstream::stream::Stream;
use serde::Deserialize;
use tracing::warn;

pub use change::NewModel;
pub use check::{CheckError, CheckModel, CheckedModel, UNUSABLE};
pub use error::ModelsError;

use crate::messages::{ModelDescription, from_json, to_json};
use crate::objects::Objects;

/// The key of an object's metadata that has its description, as JSON.
const DESCRIPTION: &str = "moliceiro-model";
/// The key of an object's metadata that has its manifest, as TOML.
const MANIFEST: &str = "moliceiro-manifest";

/// The key of an object's metadata that says that `moliceiro run --model FILE` added it.
const OF_RUN: &str = "moliceiro-of-run";

/// The models that uploads can name. Cheap to clone.
#[derive(Clone)]
pub struct Models {
    objects: Objects,
}

/// A model of the store.
#[derive(Clone, Debug)]
pub struct StoredModel {
    /// What is known about it.
    pub description: ModelDescription,
    /// What its file does not say about itself.
    pub manifest: Option<String>,
    kept: Kept,
    info: ObjectInfo,
}

/// How long a model stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    UntilRemoved,
    WhileVideosUseIt,
}

impl StoredModel {
    /// `None` for an object that another program stored.
    fn of(info: ObjectInfo) -> Option<Self> {
        let text = info.metadata.get(DESCRIPTION)?;
        let description: ModelDescription = match from_json(text.as_bytes()) {
            Ok(description) => description,
            Err(error) => {
                warn!(object = info.name, %error, "ignoring a model that cannot be read");
                return None;
            }
        };
        let manifest = info.metadata.get(MANIFEST).cloned();
        let kept = match info.metadata.contains_key(OF_RUN) {
            true => Kept::WhileVideosUseIt,
            false => Kept::UntilRemoved,
        };
        (info.name == description.model.to_string() && description.has_valid_size())
            .then_some(Self { description, manifest, kept, info })
    }

    /// The names of its classes. Detectors write all of them into the manifest.
    fn labels(&self) -> Option<Vec<String>> {
        /// The part of a manifest that every service understands.
        #[derive(Deserialize)]
        struct Manifest {
            labels: Vec<String>,
        }
        let Manifest { labels } = toml::from_str(self.manifest.as_ref()?).ok()?;
        Some(labels.into_iter().map(|label| label.trim().to_owned()).collect())
    }
}

fn metadata(
    description: &ModelDescription,
    manifest: Option<&str>,
    kept: Kept,
) -> HashMap<String, String> {
    let text = String::from_utf8_lossy(&to_json(description)).into_owned();
    let mut metadata = HashMap::from([(DESCRIPTION.to_owned(), text)]);
    metadata.extend(manifest.map(|manifest| (MANIFEST.to_owned(), manifest.to_owned())));
    if kept == Kept::WhileVideosUseIt {
        metadata.insert(OF_RUN.to_owned(), "true".to_owned());
    }
    metadata
}

impl Models {
    pub(crate) fn new(objects: Objects) -> Self {
        Self { objects }
    }

    /// The stream that holds the store.
    pub fn stream(&self) -> &Stream {
        self.objects.stream()
    }
}
