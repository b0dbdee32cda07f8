use moliceiro_nats::messages::{AlarmRule, Offset, RequestedSelection, Upload};
use moliceiro_nats::videos::UnfinishedVideo;
use url::Url;

/// What the command line asks of each upload; `None` leaves it to the settings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UploadOptions {
    pub(crate) selection: RequestedSelection,
    pub(crate) window: Option<Offset>,
    pub(crate) alarms: Option<Vec<AlarmRule>>,
}

impl UploadOptions {
    /// An upload of `uri` with these options.
    pub(crate) fn upload(&self, uri: Url) -> Upload {
        let Self { selection, window, alarms } = self.clone();
        Upload { selection, window, alarms, ..Upload::of(uri) }
    }

    /// Whether an unfinished video is what these options ask for. An option that is not given
    /// accepts any value.
    pub(crate) fn accepts(&self, video: &UnfinishedVideo) -> bool {
        let (wanted, has) = (self.selection, video.selection);
        let every = wanted.every.is_none_or(|every| Some(every) == has.every);
        let fps = wanted.fps.is_none_or(|fps| Some(fps) == has.fps);
        let start = wanted.start.is_none_or(|start| Some(start) == has.start);
        let end = wanted.end.is_none_or(|end| Some(end) == has.end);
        every && fps && start && end && (self.alarms.is_none() || self.alarms == video.alarms)
    }
}
