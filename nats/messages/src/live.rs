use std::fmt;

use serde::{Deserialize, Serialize};

use crate::VideoId;

/// How the connection to a live source stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Connection {
    /// It is being made for the first time.
    Connecting,
    /// Frames come.
    Connected,
    /// It broke off, or could not be made, and is tried again.
    Reconnecting,
    /// Nobody wants it any more, or the source has ended.
    Closed,
}

/// How a live source stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LiveStatus {
    /// When it stood so, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// The connection to it.
    pub connection: Connection,
    /// Why it is not connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Windows that are not ended.
    pub open: Vec<VideoId>,
    /// Windows ended.
    pub windows: u64,
    /// Frames published in those.
    pub frames: u64,
    /// Frames that were dropped because there was no room for them, in all.
    pub dropped: u64,
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
        }
    }
}

/// On one line, as people read it.
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
