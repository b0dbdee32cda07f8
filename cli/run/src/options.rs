use moliceiro_nats::messages::{AlarmRule, Fps, Offset, Started, Upload};
use url::Url;

/// What the command line asks of each upload; `None` leaves it to the settings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UploadOptions {
    pub(crate) every: Option<u64>,
    pub(crate) fps: Option<Fps>,
    pub(crate) start: Option<Offset>,
    pub(crate) end: Option<Offset>,
    pub(crate) window: Option<Offset>,
    pub(crate) alarms: Option<Vec<AlarmRule>>,
}

impl UploadOptions {
    pub(crate) fn of_upload(upload: Upload) -> Self {
        let Upload { every, fps, start, end, window, alarms, .. } = upload;
        Self { every, fps, start, end, window, alarms }
    }

    /// The options that a video was started with. Its window length is not part of its record.
    pub(crate) fn of_started(started: Started) -> Self {
        let Started { every, fps, start, end, alarms, .. } = started;
        Self { every: Some(every), fps, start, end, window: None, alarms }
    }

    /// An upload of `uri` with these options.
    pub(crate) fn upload(&self, uri: Url) -> Upload {
        let Self { every, fps, start, end, window, alarms } = self.clone();
        Upload { every, fps, start, end, window, alarms, ..Upload::of(uri) }
    }

    /// Whether an unfinished video with the options `unfinished` is what these options ask for.
    /// An option that is not given accepts any value.
    pub(crate) fn accepts(&self, unfinished: &Self) -> bool {
        let every = self.every.is_none_or(|every| Some(every) == unfinished.every);
        let fps = self.fps.is_none_or(|fps| Some(fps) == unfinished.fps);
        let start = self.start.is_none_or(|start| Some(start) == unfinished.start);
        let end = self.end.is_none_or(|end| Some(end) == unfinished.end);
        every && fps && start && end && (self.alarms.is_none() || self.alarms == unfinished.alarms)
    }
}
