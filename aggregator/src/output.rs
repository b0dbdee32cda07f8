//! What alarms and summaries print: the rules that the aggregator and `moliceiro run` share.

use moliceiro_nats::messages::{Alarm, Summary, VideoState, to_json};

use crate::settings::OutputFormat;

/// What an aggregator has published.
#[derive(Clone, Copy, Debug)]
pub enum Publication<'a> {
    /// An alarm rule came true.
    Alarm(&'a Alarm),
    /// A video is finished.
    Summary(&'a Summary),
}

/// What a publication prints. Neither text ends with a line break.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// For standard output. It has several lines if a summary is printed as text.
    pub stdout: Option<String>,
    /// Lines for standard error: what is wrong with the video. A service logs this instead.
    pub stderr: Vec<String>,
}

impl Printed {
    /// Decides what a publication prints in this format.
    pub fn of(publication: Publication<'_>, format: OutputFormat) -> Self {
        match publication {
            Publication::Alarm(alarm) => Self { stdout: alarm_text(alarm, format), stderr: vec![] },
            Publication::Summary(summary) => {
                let ended = live_source_ended(summary).filter(|_| format == OutputFormat::Text);
                let stderr = ended.into_iter().chain(complaints(summary)).collect();
                Self { stdout: summary_text(summary, format), stderr }
            }
        }
    }
}

/// In JSON, every line is a summary, which contains the number of alarms.
fn alarm_text(alarm: &Alarm, format: OutputFormat) -> Option<String> {
    match format {
        OutputFormat::Text => Some(alarm.to_string()),
        OutputFormat::Json | OutputFormat::None => None,
    }
}

fn summary_text(summary: &Summary, format: OutputFormat) -> Option<String> {
    match format {
        OutputFormat::Json => Some(String::from_utf8_lossy(&to_json(summary)).into_owned()),
        OutputFormat::None => None,
        // A failed video has no counts. The objects of a live source are counted in its windows, and
        // its tracks from its start to its end.
        OutputFormat::Text if summary.live.is_some() => {
            let analytics = summary.tracked.analytics().filter(|_| summary.tracks_printed)?;
            Some(format!("{}\n{analytics}", summary.name))
        }
        OutputFormat::Text if summary.state == VideoState::Failed => None,
        OutputFormat::Text => Some(summary.to_string()),
    }
}

fn live_source_ended(summary: &Summary) -> Option<String> {
    // A live source without a frame has a complaint instead.
    summary.live.as_ref().filter(|_| summary.state != VideoState::Failed)?;
    let how = if summary.state == VideoState::Cancelled { "stopped" } else { "ended" };
    Some(format!("{}: {how}", summary.name))
}

fn complaints(summary: &Summary) -> impl Iterator<Item = String> {
    let name = &summary.name;
    let problem = summary.problem.as_deref().unwrap_or("unknown reason");
    let incomplete = match summary.state {
        VideoState::Done => None,
        // The usual end of a live source.
        VideoState::Cancelled if summary.live.is_some() => None,
        VideoState::Incomplete => Some(format!("error: {name} is incomplete: {problem}")),
        VideoState::Cancelled => Some(format!("error: {name} was cancelled: {problem}")),
        _ if problem.contains(name) => Some(format!("error: {problem}")),
        _ => Some(format!("error: {name}: {problem}")),
    };
    let failed = summary.failed.first().map(|first| {
        let n = summary.failed_frames;
        let (index, reason) = (first.index, &first.reason);
        format!("error: {name}: {n} of its frames could not be analysed; frame {index}: {reason}")
    });
    let models = (summary.models.len() > 1).then(|| {
        let models = summary.models.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        format!("warning: {name}: its frames were analysed with different models ({models})")
    });
    let notices = summary.notices.iter().map(move |notice| format!("{name}: note: {notice}"));
    [incomplete, failed, models].into_iter().flatten().chain(notices)
}

#[cfg(test)]
mod tests {
    use moliceiro_nats::VideoId;
    use moliceiro_nats::messages::{
        AlarmRule, FailedFrame, LiveStatus, Skipped, TrackedCounts, VERSION,
    };

    use super::*;

    fn summary(state: VideoState, problem: Option<&str>) -> Summary {
        Summary {
            version: VERSION,
            video: VideoId::for_name("a", "1"),
            name: "a.mp4".into(),
            uri: "file:///a.mp4".into(),
            state,
            problem: problem.map(Into::into),
            notices: vec![],
            corrections: 0,
            total_frames: Some(2),
            processed_frames: 2,
            skipped: Skipped::default(),
            failed_frames: 0,
            failed: vec![],
            average_processing_ms: 25.0,
            classes: [("person".to_owned(), 3)].into(),
            most_at_once: [("person".to_owned(), 2)].into(),
            top: vec!["person".into()],
            alarms: 1,
            tracked: TrackedCounts::default(),
            tracks_printed: false,
            model: None,
            models: ["nanodet".to_owned()].into(),
            live: None,
            duration_s: None,
            wall_time_s: 1.0,
            frames_per_second: 2.0,
        }
    }

    fn printed(summary: &Summary, format: OutputFormat) -> (Option<String>, Vec<String>) {
        let Printed { stdout, stderr } = Printed::of(Publication::Summary(summary), format);
        (stdout, stderr)
    }

    #[test]
    fn a_summary_is_its_lines_as_text_one_line_as_json_and_nothing_as_none() {
        let summary = summary(VideoState::Done, None);
        let json = String::from_utf8_lossy(&to_json(&summary)).into_owned();
        assert_eq!(printed(&summary, OutputFormat::Text), (Some(summary.to_string()), vec![]));
        assert_eq!(printed(&summary, OutputFormat::Json), (Some(json), vec![]));
        assert_eq!(printed(&summary, OutputFormat::None), (None, vec![]));
    }

    #[test]
    fn an_alarm_is_a_line_of_text_and_nothing_else() {
        let alarm = Alarm {
            version: VERSION,
            video: VideoId::for_name("a", "1"),
            name: "a.mp4".into(),
            number: 1,
            frame: 17,
            time_s: None,
            rule: AlarmRule::more_than("person", 10),
            label: "person".into(),
            count: 11,
            track: None,
        };
        for (format, stdout) in [
            (OutputFormat::Text, Some("Frame 17: 11 <person> detected".to_owned())),
            (OutputFormat::Json, None),
            (OutputFormat::None, None),
        ] {
            let printed = Printed::of(Publication::Alarm(&alarm), format);
            assert_eq!(printed, Printed { stdout, stderr: vec![] }, "{format:?}");
        }
    }

    #[test]
    fn a_note_on_a_complete_video_is_a_line_on_standard_error() {
        let plain = summary(VideoState::Done, None);
        let noted = Summary { notices: vec!["it has a second track".into()], ..plain.clone() };
        for format in [OutputFormat::Text, OutputFormat::Json, OutputFormat::None] {
            assert_eq!(printed(&noted, format).1, ["a.mp4: note: it has a second track"]);
        }
        assert_eq!(noted.to_string(), plain.to_string());
    }

    #[test]
    fn what_is_wrong_with_a_video_is_for_standard_error_in_every_format() {
        use VideoState::{Cancelled, Failed, Incomplete};
        for (state, problem, complaint) in [
            (Incomplete, Some("truncated"), "error: a.mp4 is incomplete: truncated"),
            (Cancelled, Some("unwanted"), "error: a.mp4 was cancelled: unwanted"),
            (Failed, Some("not a video"), "error: a.mp4: not a video"),
            (Failed, Some("a.mp4 is missing"), "error: a.mp4 is missing"),
            (Failed, None, "error: a.mp4: unknown reason"),
        ] {
            let summary = summary(state, problem);
            for format in [OutputFormat::Text, OutputFormat::Json, OutputFormat::None] {
                assert_eq!(printed(&summary, format).1, [complaint], "{format:?}");
            }
            let text = printed(&summary, OutputFormat::Text).0;
            assert_eq!(text.is_some(), state != Failed, "only a video with frames has counts");
        }
        let mut summary = summary(VideoState::Done, None);
        summary.failed_frames = 2;
        summary.failed = vec![FailedFrame { index: 7, reason: "broken".into() }];
        summary.models.insert("nanodet-int8".into());
        assert_eq!(
            printed(&summary, OutputFormat::Text).1,
            [
                "error: a.mp4: 2 of its frames could not be analysed; frame 7: broken",
                "warning: a.mp4: its frames were analysed with different models \
                 (nanodet, nanodet-int8)"
            ]
        );
    }

    #[test]
    fn a_live_source_has_no_counts_of_its_own_and_may_be_stopped() {
        for (state, line) in
            [(VideoState::Done, "a.mp4: ended"), (VideoState::Cancelled, "a.mp4: stopped")]
        {
            let live = Some(LiveStatus::default());
            let summary = Summary { live, ..summary(state, Some("stopped")) };
            assert_eq!(printed(&summary, OutputFormat::Text), (None, vec![line.to_owned()]));
            assert_eq!(printed(&summary, OutputFormat::Json).1, [""; 0]);
        }
    }
}
