use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ModelId, VERSION, Versioned, milliseconds_now};
use crate::VideoId;

/// A change that somebody asked for, as JSON on `audit.<action>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// [`VERSION`].
    pub version: u8,
    /// When it was done, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// Who asked: the name of the token, the NATS user and the command, or `anyone` where neither
    /// is needed.
    pub who: String,
    /// What was done.
    pub action: AuditAction,
    /// The video that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video: Option<VideoId>,
    /// The model that changed, or that analyses the video again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelId>,
}

/// What somebody did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditAction {
    /// Uploaded a video.
    Upload,
    /// Cancelled a video.
    Cancel,
    /// Deleted what is stored of a video.
    Delete,
    /// Had a video analysed again, by another model.
    Rerun,
    /// Put dead letters back into the queue.
    Replay,
    /// Deleted dead letters.
    Drop,
    /// Added a model.
    AddModel,
    /// Deleted a model.
    RemoveModel,
}

impl AuditRecord {
    /// A change that was done now.
    pub fn now(who: impl Into<String>, action: AuditAction) -> Self {
        Self {
            version: VERSION,
            at: milliseconds_now(),
            who: who.into(),
            action,
            video: None,
            model: None,
        }
    }

    /// The change is of this video.
    #[must_use]
    pub fn of_video(self, video: VideoId) -> Self {
        Self { video: Some(video), ..self }
    }

    /// The change is of this model, or by it.
    #[must_use]
    pub fn of_model(self, model: ModelId) -> Self {
        Self { model: Some(model), ..self }
    }
}

impl Versioned for AuditRecord {
    fn version(&self) -> u8 {
        self.version
    }
}

impl fmt::Display for AuditAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upload => "upload",
            Self::Cancel => "cancel",
            Self::Delete => "delete",
            Self::Rerun => "rerun",
            Self::Replay => "replay",
            Self::Drop => "drop",
            Self::AddModel => "add_model",
            Self::RemoveModel => "remove_model",
        })
    }
}
