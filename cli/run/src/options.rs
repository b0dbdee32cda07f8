use moliceiro_nats::messages::{
    AlarmRule, ModelId, Offset, RequestedSelection, Tracking, Upload, UploadDefaults,
};
use moliceiro_nats::videos::UnfinishedVideo;
use url::Url;

/// What the command line asks of each upload; `None` leaves it to the settings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UploadOptions {
    pub(crate) selection: RequestedSelection,
    pub(crate) window: Option<Offset>,
    /// Of several, each analyses it.
    pub(crate) models: Vec<ModelId>,
    pub(crate) alarms: Option<Vec<AlarmRule>>,
    pub(crate) tracking: Tracking,
}

impl UploadOptions {
    /// An upload of `uri` with these options.
    pub(crate) fn upload(&self, uri: Url) -> Upload {
        let UploadDefaults { selection, window, model, models, alarms, tracking } = self.defaults();
        Upload { selection, window, model, models, alarms, tracking, ..Upload::of(uri) }
    }

    /// The same for uploads that do not say.
    pub(crate) fn defaults(&self) -> UploadDefaults {
        let Self { selection, window, models, alarms, tracking } = self.clone();
        let (model, models) = match &models[..] {
            [only] => (Some(only.clone()), vec![]),
            _ => (None, models),
        };
        UploadDefaults { selection, window, model, models, alarms, tracking }
    }

    /// The options that select frames by their times.
    pub(crate) fn by_time(&self) -> Vec<&'static str> {
        let RequestedSelection { fps, start, end, .. } = self.selection;
        let given =
            [("--fps", fps.is_some()), ("--start", start.is_some()), ("--end", end.is_some())];
        given.into_iter().filter_map(|(name, is_given)| is_given.then_some(name)).collect()
    }

    /// Whether an unfinished video is what these options ask for. An option that is not given
    /// accepts any value.
    pub(crate) fn accepts(&self, unfinished: &UnfinishedVideo) -> bool {
        let RequestedSelection { every, fps, start, end, video_track, deinterlace, .. } =
            self.selection;
        let RequestedSelection { skip_still, key_frames, .. } = self.selection;
        let is_same = |asked: Option<bool>, found: Option<bool>| {
            asked.is_none_or(|asked| asked == found.unwrap_or(false))
        };
        let found = unfinished.selection;
        every.is_none_or(|every| Some(every) == found.every)
            && fps.is_none_or(|fps| Some(fps) == found.fps)
            && start.is_none_or(|start| Some(start) == found.start)
            && end.is_none_or(|end| Some(end) == found.end)
            && video_track.is_none_or(|track| Some(track) == found.video_track)
            && deinterlace.is_none_or(|how| Some(how) == found.deinterlace)
            && is_same(skip_still, found.skip_still)
            && is_same(key_frames, found.key_frames)
            && self.models.first().is_none_or(|model| unfinished.model.as_ref() == Some(model))
            && (self.alarms.is_none() || self.alarms == unfinished.alarms)
            && (self.tracking == Tracking::default() || self.tracking == unfinished.tracking)
    }
}
