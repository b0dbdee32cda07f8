//! What is asked of stored results.

use moliceiro_nats::messages::{
    AlarmRule, InvalidField, Line, Started, TrackerKind, Tracking, UnknownClass, Upload, Zone,
};
use moliceiro_nats::{ModelsError, Streams};

use crate::ReplayError;

/// What is asked of stored results; `None`: what the video's upload asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Question {
    /// Count objects with a greater score than this. Results hold those above the detector's
    /// floor.
    pub threshold: Option<f32>,
    /// How objects are recognised as the same one.
    pub tracker: Option<TrackerKind>,
    /// Lines instead of those of the upload.
    pub lines: Option<Vec<Line>>,
    /// Zones instead of those of the upload.
    pub zones: Option<Vec<Zone>>,
    /// Rules of alarms, which are not published.
    pub alarms: Option<Vec<AlarmRule>>,
}

/// Whether the classes that a question names are those of the video's model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Classes {
    Known,
    /// The model is not stored any more.
    Unknowable,
}

impl Question {
    /// Tracker, lines and zones together with what the upload asks.
    ///
    /// If nothing is to be tracked, the upload's lines and zones are left out. Lines and zones that
    /// are asked for bring a tracker to a video that had none.
    fn tracking(&self, upload: &Tracking) -> Tracking {
        let Self { tracker, lines, zones, .. } = self;
        let has_own = lines.as_ref().is_some_and(|lines| !lines.is_empty())
            || zones.as_ref().is_some_and(|zones| !zones.is_empty());
        let of_upload = upload.tracker.filter(|of| !has_own || *of != TrackerKind::None);
        let tracker = tracker.or(of_upload);
        let upload = match tracker {
            Some(TrackerKind::None) => Tracking::default(),
            _ => upload.clone(),
        };
        Tracking {
            tracker,
            lines: lines.clone().unwrap_or(upload.lines),
            zones: zones.clone().unwrap_or(upload.zones),
        }
    }

    /// Puts what is asked into the place of what the upload asked, if it fits the video: rules have
    /// to fit the lines and zones, and the model has to have the classes. Rules of the upload that
    /// do not fit are left out: why is added to `notices`.
    pub(crate) async fn replace(
        &self,
        streams: &Streams,
        started: &mut Started,
        notices: &mut Vec<String>,
    ) -> Result<Classes, ReplayError> {
        let tracking = self.tracking(&started.tracking);
        let rules = self.alarms.as_deref();
        tracking.check(rules.unwrap_or_default()).map_err(InvalidField::from)?;
        Upload::check_counted(&started.labels, rules)?;
        match rules {
            Some(rules) => started.alarms = Some(rules.to_vec()),
            None => {
                let of_upload = started.alarms.iter().flatten();
                let left_out = of_upload
                    .filter_map(|rule| tracking.check(std::slice::from_ref(rule)).err())
                    .map(|invalid| format!("alarms of the upload {invalid}: it is left out"));
                notices.extend(left_out);
            }
        }
        started.tracking = tracking;
        if self.lines.is_none() && self.zones.is_none() && self.alarms.is_none() {
            return Ok(Classes::Known);
        }
        match streams.models.labels(&[started.model()]).await {
            Ok(Some(known)) => {
                self.check_classes(&known).map_err(InvalidField::from)?;
                Ok(Classes::Known)
            }
            Ok(None) | Err(ModelsError::Unknown { .. }) => Ok(Classes::Unknowable),
            Err(error) => Err(error.into()),
        }
    }

    /// Checks that the classes that it names are `known`.
    pub(crate) fn check_classes(&self, known: &[String]) -> Result<(), UnknownClass> {
        let (lines, zones) = (self.lines.clone(), self.zones.clone());
        let tracking = Tracking {
            tracker: None,
            lines: lines.unwrap_or_default(),
            zones: zones.unwrap_or_default(),
        };
        tracking.check_classes(self.alarms.as_deref().unwrap_or_default(), known)
    }
}
