use std::fmt;

use serde::{Deserialize, Serialize};

use crate::VideoId;

/// State of the connection to a live source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Connection {
    /// The first attempt to connect.
    Connecting,
    /// Frames arrive.
    Connected,
    /// It was lost or refused, and is tried again.
    Reconnecting,
    /// The source was stopped or cancelled, or has ended.
    Closed,
}

/// Status of a live source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LiveStatus {
    /// When it was reported, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// State of the connection to it.
    pub connection: Connection,
    /// Why it is not connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Windows whose frames are still being published.
    pub open: Vec<VideoId>,
    /// How many windows have ended.
    pub windows: u64,
    /// Frames published in the windows that have ended.
    pub frames: u64,
    /// Frames dropped so far because publishing was too slow.
    pub dropped: u64,
    /// The window that was opened last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<VideoId>,
}

/// Which window of which live source a video is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveWindow {
    /// The source, as a video.
    pub source: VideoId,
    /// The window before it: what was in the picture at its end is tracked on. Left out: it is the
    /// first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<VideoId>,
}

impl Default for LiveStatus {
    fn default() -> Self {
        Self {
            at: 0,
            connection: Connection::Connecting,
            reason: None,
            open: vec![],
            windows: 0,
            frames: 0,
            dropped: 0,
            last: None,
        }
    }
}

/// On one line, for people.
impl fmt::Display for LiveStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { windows, frames, dropped, .. } = self;
        f.write_str(match self.connection {
            Connection::Connecting => "connecting",
            Connection::Connected => "connected",
            Connection::Reconnecting => "reconnecting",
            Connection::Closed => "closed",
        })?;
        if let Some(reason) = &self.reason {
            write!(f, " ({reason})")?;
        }
        write!(f, ", {windows} windows with {frames} frames, {dropped} dropped")
    }
}
