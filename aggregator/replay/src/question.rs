//! What is asked of stored results.

use moliceiro_nats::messages::{AlarmRule, InvalidField, Started, Tracking, UnknownClass};
use moliceiro_nats::{ModelsError, Streams};

use crate::ReplayError;

/// What is asked of stored results; `None`: what the video's upload asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Question {
    /// Count objects with a greater score than this. Results hold those above the detector's
    /// floor.
    pub threshold: Option<f32>,
    /// Tracker, lines and zones.
    pub tracking: Option<Tracking>,
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
    /// Checks that it fits the video: its new rules have to fit the lines and zones of the upload
    /// if those are not replaced, and the model has to have the classes that it names.
    pub(crate) async fn check(
        &self,
        streams: &Streams,
        started: &Started,
    ) -> Result<Classes, ReplayError> {
        let tracking = self.tracking.as_ref().unwrap_or(&started.tracking);
        let places = tracking.check(self.alarms.as_deref().unwrap_or_default());
        places.map_err(InvalidField::from)?;
        if self.tracking.is_none() && self.alarms.is_none() {
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
        let tracking = self.tracking.clone().unwrap_or_default();
        tracking.check_classes(self.alarms.as_deref().unwrap_or_default(), known)
    }
}
