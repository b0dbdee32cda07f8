//! What stored results come to, by any rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use moliceiro_analytics::{
    Finding, Fold, FrameObservations, Observation, Rules, VideoTotals, rules_for,
};
use moliceiro_nats::messages::{
    Alarm, AlarmRule, AnalyticsSummary, Crossing, FrameResult, Started, Summary, Timeline,
    TrackRecord, TrackerKind, Tracking, UnknownClass, VideoState, Visit,
};
use moliceiro_nats::{Streams, VideoId};
use serde::Serialize;

use crate::question::{Classes, Question};
use crate::{ReplayError, StoredResults};

/// Runs of missing frames that are listed.
const MOST_GAPS: usize = 20;

/// Frames in a row whose results are not stored any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct MissingRun {
    /// The index of the first one.
    pub first: u64,
    /// The index of the last one.
    pub last: u64,
}

/// What the stored results of a video come to.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = Reanalysis)]
pub struct Analysis {
    /// The video's identity.
    #[schema(value_type = String)]
    pub video: VideoId,
    /// Its display name.
    pub name: String,
    /// The video's state.
    pub state: VideoState,
    /// Why the video is not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// True if every frame of the video is in it: the video is done, and all results are stored.
    pub complete: bool,
    /// Frames whose results are in it.
    pub processed_frames: u64,
    /// Frames that are in it, too, with the objects of the frame that they equal.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    pub still_frames: u64,
    /// Frames that could not be analysed.
    pub failed_frames: u64,
    /// Frames that were analysed, and whose results are not stored any more: every number is what
    /// the other frames come to.
    pub missing_frames: u64,
    /// The first runs of missing frames.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingRun>,
    /// Objects that score above the threshold, by class.
    pub classes: BTreeMap<String, u64>,
    /// Tracks, lines and zones.
    #[serde(flatten)]
    pub analytics: AnalyticsSummary,
    /// What else there is to know about the numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
    /// Lines and zones over time, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Timeline>,
    /// The alarms, in order.
    #[schema(value_type = Vec<Object>)]
    pub alarms: Vec<Alarm>,
    /// Every track, in the order in which they ended.
    #[serde(skip)]
    pub track_records: Vec<TrackRecord>,
    /// Every crossing of a line, in order.
    #[serde(skip)]
    pub crossings: Vec<Crossing>,
    /// Every visit of a zone, in the order in which they ended.
    #[serde(skip)]
    pub visits: Vec<Visit>,
}

/// The rules of a video, as its upload asks. `defaults` are the alarms of one that leaves them out.
pub fn rules_of(started: &Started, defaults: &[AlarmRule]) -> Rules {
    let Tracking { lines, zones, .. } = started.tracking.clone();
    let alarms = rules_for(started, defaults);
    let labels = started.labels.clone();
    Rules { tracker: started.tracking.tracker(), lines, zones, alarms, labels }
}

/// Adds the result of a frame to a fold. `threshold` replaces the one that the result has.
pub fn fold_frame(
    fold: &mut Fold,
    frame: &FrameResult,
    threshold: Option<f32>,
    sink: &mut dyn FnMut(Finding),
) {
    let objects: Vec<_> = frame
        .objects
        .all()
        .map(|object| Observation {
            label: object.label,
            score: object.score,
            bounds: object.bounds,
        })
        .collect();
    let observations = FrameObservations {
        index: frame.index,
        pts: frame.pts,
        size: frame.size,
        threshold: threshold.unwrap_or_else(|| own_threshold(frame)),
        objects: &objects,
    };
    fold.frame(&observations, sink);
}

/// The threshold that the result was counted with.
pub(crate) fn own_threshold(frame: &FrameResult) -> f32 {
    frame.objects.limits().map_or(0.0, |limits| limits.threshold.value())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// What happens while stored results are folded.
pub(crate) enum Step<'a> {
    Frame(&'a FrameResult),
    /// A frame that carries the objects of another one.
    Still(&'a FrameResult),
    Failed,
    Missing(u64),
    Found(Finding),
}

/// A video whose stored results were folded.
pub(crate) struct Replayed {
    pub(crate) fold: Fold,
    pub(crate) started: Started,
    /// Every frame of the video is settled.
    pub(crate) is_complete: bool,
    pub(crate) totals: VideoTotals,
    pub(crate) classes: Classes,
    /// What of the upload's question is left out.
    pub(crate) notices: Vec<String>,
}

/// Folds all results of a video that are stored now, and calls `on_step` with each step. Fails if
/// the question does not fit the video.
pub(crate) async fn replay(
    streams: &Streams,
    video: &VideoId,
    question: &Question,
    mut on_step: impl FnMut(&Started, Step<'_>),
) -> Result<Replayed, ReplayError> {
    let entry = streams.videos().entry(video).await?;
    let entry = entry.ok_or_else(|| ReplayError::Unknown(video.clone()))?;
    let totals = VideoTotals::from_entry(entry)?;
    let mut started = totals.started().clone();
    let mut notices = Vec::new();
    let classes = question.replace(streams, &mut started, &mut notices).await?;
    let mut fold = Fold::new(&rules_of(&started, &[]));
    fold.keep_timeline();
    let mut results = StoredResults::new(streams, video);
    for (index, is_analysed) in totals.settled_from(0) {
        let frame = if is_analysed { results.of(index).await? } else { None };
        if let Some(frame) = frame {
            let is_still = totals.is_carried(index);
            on_step(&started, if is_still { Step::Still(&frame) } else { Step::Frame(&frame) });
            fold_frame(&mut fold, &frame, question.threshold, &mut |finding| {
                on_step(&started, Step::Found(finding));
            });
        } else {
            fold.failed(index, None);
            on_step(&started, if is_analysed { Step::Missing(index) } else { Step::Failed });
        }
    }
    if totals.is_complete() {
        fold.end(&mut |finding| on_step(&started, Step::Found(finding)));
    }
    let is_complete = totals.is_complete();
    Ok(Replayed { fold, started, is_complete, totals, classes, notices })
}

/// Folds all results of a video that are stored now.
pub async fn analyse(
    streams: &Streams,
    video: &VideoId,
    question: &Question,
) -> Result<Analysis, ReplayError> {
    let mut analysis = Analysis::of(video);
    let mut seen = BTreeSet::new();
    let mut floor = 0.0_f32;
    let on_step = |started: &Started, step: Step<'_>| match step {
        Step::Frame(frame) => {
            for object in frame.objects.all() {
                if !seen.contains(object.label) {
                    seen.insert(object.label.to_owned());
                }
            }
            floor = frame.objects.limits().map_or(floor, |of| floor.max(of.floor.value()));
            analysis.processed_frames += 1;
            analysis.count(frame, question.threshold, &started.labels);
        }
        Step::Still(frame) => {
            floor = frame.objects.limits().map_or(floor, |of| floor.max(of.floor.value()));
            analysis.still_frames += 1;
            analysis.count(frame, question.threshold, &started.labels);
        }
        Step::Failed => analysis.failed_frames += 1,
        Step::Missing(index) => analysis.miss(index, started.selection.every.max(1)),
        Step::Found(finding) => analysis.found(finding, &started.name),
    };
    let replayed = replay(streams, video, question, on_step).await?;
    let Replayed { fold, started, totals, classes, notices, .. } = replayed;
    analysis.notices = notices;
    if question.threshold.is_some_and(|threshold| threshold < floor) {
        analysis.notices.push(format!(
            "results do not have objects that score {floor} or less (detector.floor): more may \
             be above the threshold"
        ));
    }
    if classes == Classes::Unknowable {
        let seen: Vec<_> = seen.into_iter().collect();
        analysis.notices.extend(question.check_classes(&seen).err().map(
            |UnknownClass { label, .. }| {
                format!(
                    "no object of the class {label:?} was found, and the model is not stored any \
                 more: whether it has that class is unknown"
                )
            },
        ));
    }
    analysis.name = started.name;
    analysis.analytics = fold.summary();
    analysis.timeline = fold.timeline();
    analysis.judge(&totals);
    Ok(analysis)
}

impl Analysis {
    fn of(video: &VideoId) -> Self {
        Self {
            video: video.clone(),
            name: String::new(),
            state: VideoState::Queued,
            problem: None,
            complete: false,
            processed_frames: 0,
            still_frames: 0,
            failed_frames: 0,
            missing_frames: 0,
            missing: vec![],
            classes: BTreeMap::new(),
            notices: vec![],
            analytics: AnalyticsSummary::default(),
            timeline: None,
            alarms: vec![],
            track_records: vec![],
            crossings: vec![],
            visits: vec![],
        }
    }

    fn count(&mut self, frame: &FrameResult, threshold: Option<f32>, labels: &[String]) {
        let threshold = threshold.unwrap_or_else(|| own_threshold(frame));
        for object in frame.objects.all().filter(|object| object.score > threshold) {
            if labels.is_empty() || labels.iter().any(|label| label == object.label) {
                match self.classes.get_mut(object.label) {
                    Some(count) => *count += 1,
                    None => drop(self.classes.insert(object.label.to_owned(), 1)),
                }
            }
        }
    }

    fn found(&mut self, finding: Finding, name: &str) {
        match finding {
            Finding::Observed(_) => {}
            Finding::Crossing(crossing) => self.crossings.push(crossing),
            Finding::Visit(visit) => self.visits.push(visit),
            Finding::Alarm(alarm) => self.alarms.push(alarm.of(&self.video, name)),
            Finding::Track(track) => self.track_records.push(track),
        }
    }

    fn miss(&mut self, index: u64, every: u64) {
        self.missing_frames += 1;
        let is_full = self.missing.len() >= MOST_GAPS;
        match self.missing.last_mut() {
            Some(MissingRun { last, .. }) if *last + every == index => *last = index,
            _ if is_full => {}
            _ => self.missing.push(MissingRun { first: index, last: index }),
        }
    }

    /// Says what the video's state means for the numbers.
    fn judge(&mut self, totals: &VideoTotals) {
        self.state = totals.state();
        self.complete = self.state == VideoState::Done && self.missing_frames == 0;
        let summary = totals.summary(&self.video);
        if totals.last_window().is_some() {
            self.notices.push(
                "a live source: what its upload asked, of all windows together; for other \
                 questions and records, ask its windows"
                    .to_owned(),
            );
            self.analytics = totals.analytics().cloned().unwrap_or_default();
            self.timeline = None;
        } else if let Some(summary) = &summary {
            let known = self.processed_frames + self.missing_frames;
            let more = summary.processed_frames.saturating_sub(known);
            if more > 0 {
                self.notices.push(format!(
                    "{more} more frames were counted, after one that never had a result: they are \
                     left out"
                ));
            }
        }
        self.problem = summary.and_then(|summary| summary.problem);
    }

    /// What is missing, on one line, if something is.
    pub fn gap(&self) -> Option<String> {
        if self.missing_frames == 0 {
            return None;
        }
        let run = |MissingRun { first, last }: &MissingRun| match first == last {
            true => first.to_string(),
            false => format!("{first} to {last}"),
        };
        let runs: Vec<_> = self.missing.iter().map(run).collect();
        let more = if self.missing.len() == MOST_GAPS { ", …" } else { "" };
        Some(format!(
            "the results of {} of {} frames are not stored any more ({}{more}): every number is \
             what the other frames come to",
            self.missing_frames,
            self.missing_frames + self.processed_frames + self.still_frames + self.failed_frames,
            runs.join(", ")
        ))
    }
}

/// The lines of a summary that stored results can tell, and those about tracks.
impl fmt::Display for Analysis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = self.problem.as_deref().unwrap_or("unknown");
        match self.state {
            VideoState::Incomplete => writeln!(f, "{} (incomplete: {problem})", self.name)?,
            VideoState::Cancelled => writeln!(f, "{} (cancelled: {problem})", self.name)?,
            VideoState::Failed => writeln!(f, "{} (failed: {problem})", self.name)?,
            VideoState::Done if self.complete => writeln!(f, "{}", self.name)?,
            VideoState::Done => writeln!(f, "{} (incomplete)", self.name)?,
            VideoState::Queued | VideoState::Decoding | VideoState::Counting => {
                writeln!(f, "{} (not finished)", self.name)?;
            }
        }
        writeln!(f, "Processed frames: {}", self.processed_frames)?;
        let persons = self.classes.get("person").copied().unwrap_or(0);
        writeln!(f, "Person objects detected: {persons}")?;
        writeln!(f, "Total classes detected: {}", self.classes.len())?;
        let top = Summary::ranking(&self.classes, 3);
        let top = if top.is_empty() { "none".to_owned() } else { top.join(", ") };
        write!(f, "Top 3 objects detected: {top}")?;
        if self.still_frames > 0 {
            write!(f, "\nStill frames: {}", self.still_frames)?;
        }
        if self.analytics.tracker != TrackerKind::None {
            write!(f, "\n{}", self.analytics)?;
        }
        self.alarms.iter().try_for_each(|alarm| write!(f, "\n{alarm}"))
    }
}
