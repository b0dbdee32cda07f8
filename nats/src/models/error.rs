use thiserror::Error;

use crate::messages::ModelId;
use crate::objects::ObjectError;
use crate::{StreamsError, VideoError, VideoId};

/// Why a model cannot be found, read or changed.
#[derive(Debug, Error)]
pub enum ModelsError {
    /// No model has this name, or none in this version.
    #[error("there is no model {model}{}", advice(.nearest.as_ref()))]
    Unknown {
        /// As it was asked for.
        model: ModelId,
        /// The name that is most like it.
        nearest: Option<ModelId>,
    },
    /// Built-in models cannot be changed, and their names not used.
    #[error("{0} is built in: choose another name")]
    BuiltIn(ModelId),
    /// A new model's name has a version: the store chooses those.
    #[error("{0} has a version: name the model only, and its version follows from those before")]
    Versioned(ModelId),
    /// A model of this name exists.
    #[error("{0} exists already")]
    Exists(ModelId),
    /// Videos that are not finished need it.
    #[error("{model} is in use by {}: cancel them, or wait until they are finished", list(.videos))]
    InUse {
        /// The model.
        model: ModelId,
        /// The videos.
        videos: Vec<VideoId>,
    },
    /// Its bytes are not those that were added.
    #[error("the model {model} is damaged in the store ({reason}): remove it, and add it again")]
    Damaged {
        /// The model.
        model: ModelId,
        /// What differs.
        reason: String,
    },
    /// The local file cannot be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// Its path.
        path: std::path::PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The server does not answer. A later attempt may succeed.
    #[error("the models cannot be read: {0}")]
    Unavailable(String),
    /// The server does not have space for it.
    #[error("there is no space for the model: {0}")]
    Full(String),
}

impl ModelsError {
    /// True if a later attempt may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::File { .. })
    }

    pub(super) fn of(model: &ModelId, error: ObjectError) -> Self {
        use ObjectError::{Damaged, Exists, Full, Link, Missing, NoObjectUri, Unavailable};
        let model = model.clone();
        match error {
            Missing { .. } | NoObjectUri { .. } => Self::Unknown { model, nearest: None },
            Link { .. } => Self::Damaged { model, reason: "it is a link".into() },
            Damaged { reason, .. } => Self::Damaged { model, reason },
            Exists { .. } => Self::Exists(model),
            Unavailable(reason) => Self::Unavailable(reason),
            Full(reason) => Self::Full(reason),
        }
    }
}

impl From<VideoError> for ModelsError {
    fn from(error: VideoError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<StreamsError> for ModelsError {
    fn from(error: StreamsError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

fn advice(nearest: Option<&ModelId>) -> String {
    match nearest {
        Some(nearest) => format!(": did you mean {nearest}?"),
        None => ": `moliceiro model list` shows all".to_owned(),
    }
}

fn list(videos: &[VideoId]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<_> = videos.iter().take(SHOWN).map(VideoId::as_str).collect();
    let more = videos.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
