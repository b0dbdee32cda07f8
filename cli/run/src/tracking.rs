use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use moliceiro_nats::messages::{AlarmRule, InvalidField, Line, TrackerKind, Tracking, Zone};
use moliceiro_service::SettingsError;

/// What the command line asks about tracks.
#[derive(Clone, Debug, Args)]
pub struct TrackingArguments {
    /// Follow objects from frame to frame, and print how many different ones there are
    #[arg(long)]
    track: bool,
    /// How to recognise an object as the same one: bytetrack, ocsort, or none [default: bytetrack]
    #[arg(long, value_name = "TRACKER", value_parser = tracker_parser())]
    tracker: Option<TrackerKind>,
    /// Count the objects that cross a line, such as "gate: 0.1,0.8 0.9,0.8": its name and two
    /// points, as shares of the picture's width and height; "gate[person,car]@centre: …" for some
    /// classes and another point of the box; may be repeated
    #[arg(long = "line", value_name = "LINE")]
    lines: Vec<Line>,
    /// Count the objects in a zone, and how long they stay, such as "quay: 0,0.5 1,0.5 1,1 0,1": its
    /// name and three or more corners; may be repeated
    #[arg(long = "zone", value_name = "ZONE")]
    zones: Vec<Zone>,
}

fn tracker_parser() -> impl TypedValueParser<Value = TrackerKind> {
    PossibleValuesParser::new(TrackerKind::NAMES).try_map(|name| name.parse::<TrackerKind>())
}

impl TrackingArguments {
    /// What is asked, if that fits together. What is left out is empty.
    pub fn places(&self) -> Result<Tracking, SettingsError> {
        self.tracking(&[])
    }

    /// What is asked, if that fits together and fits the rules.
    pub fn tracking(&self, alarms: &[AlarmRule]) -> Result<Tracking, SettingsError> {
        let Self { track, tracker, lines, zones } = self.clone();
        if track && tracker == Some(TrackerKind::None) {
            let problem = "--tracker: none contradicts --track: leave out one of them";
            return Err(SettingsError::Invalid(vec![problem.to_owned()]));
        }
        let tracker = tracker.or_else(|| track.then(TrackerKind::default));
        let tracking = Tracking { tracker, lines, zones };
        tracking.check(alarms).map_err(|invalid| wrong_option(&invalid.into()))?;
        Ok(tracking)
    }
}

/// The error for an option whose value is invalid, as the upload's field.
pub fn wrong_option(invalid: &InvalidField) -> SettingsError {
    let option = match invalid.field() {
        "lines" => "--line",
        "zones" => "--zone",
        _ => "--alarm",
    };
    SettingsError::Invalid(vec![format!("{option}: {} {invalid}", invalid.field())])
}
