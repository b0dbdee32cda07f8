//! Messages of every kind, with and without their optional fields.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, UNIX_EPOCH};

use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{
    Abandoned, Alarm, AlarmRule, AlarmState, AnalyticsSummary, AuditAction, AuditRecord, Cancelled,
    Carried, CarriedRun, Color, Connection, Deinterlace, Detection, DetectorRates, Direction,
    Dwell, Encoding, Ended, Event, Failed, FailedFrame, Fingerprint, Fps, Frame, FrameRange,
    FrameResult, Instant, Letterbox, Limits, LineCrossed, LineSummary, LiveStatus, LiveWindow,
    Lost, Matrix, ModelRate, ModelWork, Object, Objects, Occupancy, Offset, PathPoint, Progress,
    QueuedWork, Repair, RepairState, RequestedSelection, RuleMatch, Score, Size, Skipped, Started,
    Summary, Thumbnail, TimeInZone, TrackRecord, TrackedCounts, TrackerKind, Tracking, Unconfirmed,
    Upload, UsedModel, VERSION, VideoEntry, VideoEvent, VideoState, VideoStatus, VideoTrack,
    ZoneSummary,
};
use serde_json::{Value, json};
use url::Url;

/// The names of the messages that are events.
pub const EVENTS: [&str; 11] = [
    "carried",
    "queued",
    "started",
    "progress",
    "frameResult",
    "failed",
    "live",
    "ended",
    "abandoned",
    "lost",
    "cancelled",
];

const SIZE: Size = Size { width: 4, height: 2 };

fn video() -> VideoId {
    VideoId::for_name("quay", "7")
}

fn rules() -> Vec<AlarmRule> {
    ["person > 10", "car >= 2 in 0,0.5 1,0.5 1,1 0,1 for 3 frames"]
        .map(|rule| rule.parse().unwrap())
        .to_vec()
}

fn classes() -> BTreeMap<String, u64> {
    BTreeMap::from([("boat".to_owned(), 3)])
}

fn model() -> UsedModel {
    UsedModel { name: "boats@3".parse().unwrap(), digest: "2f01".into() }
}

fn models() -> BTreeSet<String> {
    BTreeSet::from(["nanodet".to_owned(), "nanodet-int8".to_owned()])
}

pub fn uploads() -> Vec<Upload> {
    let plain = Upload::of(Url::parse("file:///data/a%20b.mp4").unwrap());
    let alarms = Upload {
        id: Some(video()),
        name: Some("quay, \"north\"".into()),
        selection: RequestedSelection { every: Some(25), ..RequestedSelection::default() },
        alarms: Some(rules()),
        uri: Url::parse("obj://uploads/a.mp4").unwrap(),
        ..plain.clone()
    };
    let labels = Upload {
        selection: RequestedSelection {
            every: None,
            fps: Some(Fps::try_from(2.5).unwrap()),
            start: Some(Offset::try_from(1.5).unwrap()),
            end: Some("2m".parse().unwrap()),
            video_track: Some(2),
            deinterlace: Some(Deinterlace::Fields),
            skip_still: Some(true),
            key_frames: Some(true),
        },
        window: Some("5m".parse().unwrap()),
        model: Some("boats@3".parse().unwrap()),
        alarms: Some(vec![]),
        tracking: Tracking {
            tracker: Some(TrackerKind::Ocsort),
            lines: vec!["gate: 0.1,0.8 0.9,0.8".parse().unwrap()],
            zones: vec!["quay[boat]@centre: 0,0.5 1,0.5 1,1 0,1".parse().unwrap()],
        },
        labels: vec!["boat".into(), "traffic light".into()],
        fingerprint: Some(Fingerprint {
            size: 1_234_567,
            modified: 1_795_409_643_547_000_000,
            inode: 42,
            machine: "den".into(),
        }),
        ..plain.clone()
    };
    let models = Upload {
        models: ["nanodet", "boats@3"].map(|model| model.parse().unwrap()).to_vec(),
        ..plain.clone()
    };
    let repair = Upload {
        id: Some(video()),
        repair: Some(Repair { round: 1, frames: vec![FrameRange(3, 3), FrameRange(7, 9)] }),
        ..plain.clone()
    };
    vec![plain, alarms, labels, models, repair]
}

pub fn rates() -> Vec<DetectorRates> {
    let of_model = ModelRate { model: model().name, frames: 120, seconds: 5.5 };
    let models = vec![of_model];
    let detector = "den-4711".to_owned();
    let busy =
        DetectorRates { version: VERSION, detector, sessions: 2, models, is_stopping: false };
    let stopping = DetectorRates { models: vec![], is_stopping: true, ..busy.clone() };
    vec![busy, stopping]
}

pub fn works() -> Vec<QueuedWork> {
    let busy = ModelWork {
        model: model().name,
        frames: 250,
        in_flight: 8,
        detectors: 2,
        frames_per_second: 40.5,
        detector_frames_per_second: Some(20.5),
        seconds: Some(6.25),
        detector_seconds: 12.5,
    };
    let unknown = ModelWork { detector_frames_per_second: None, seconds: None, ..busy.clone() };
    let work =
        |models| QueuedWork { version: VERSION, detectors: 2, detector_seconds: 1.5, models };
    vec![work(vec![busy, unknown]), work(vec![])]
}

fn analytics() -> AnalyticsSummary {
    let counts = || BTreeMap::from([("boat".to_owned(), 3)]);
    let line = LineSummary { inwards: counts(), outwards: BTreeMap::new() };
    let zone = ZoneSummary {
        occupancy: Occupancy { least: 0, mean: 0.5, most: 2 },
        entries: counts(),
        exits: counts(),
        dwell: Some(Dwell { mean_s: 4.5, median_s: 4.0, p95_s: 9.0, longest_s: 9.5 }),
    };
    AnalyticsSummary {
        tracker: TrackerKind::Bytetrack,
        tracks: counts(),
        lines: BTreeMap::from([("gate".to_owned(), line)]),
        zones: BTreeMap::from([
            ("bay".to_owned(), ZoneSummary::default()),
            ("quay".to_owned(), zone),
        ]),
        assumed_fps: Some(25.0),
    }
}

pub fn tracks() -> Vec<VideoTrack> {
    let at = |frame, time_s| Instant { frame, time_s };
    let record = TrackRecord {
        number: 2,
        track: 1,
        label: "boat".into(),
        first: at(0, Some(0.0)),
        last: at(90, Some(3.6)),
        frames: 88,
        path: vec![PathPoint(0, 0.25, 0.5), PathPoint(90, 0.75, 0.5)],
        lines: vec![LineCrossed {
            line: "gate".into(),
            direction: Direction::In,
            at: at(40, None),
        }],
        zones: BTreeMap::from([("quay".to_owned(), TimeInZone { visits: 1, dwell_s: 2.5 })]),
    };
    let video_track =
        |track| VideoTrack { version: VERSION, video: video(), name: "quay".into(), track };
    let timeless = TrackRecord { first: at(0, None), last: at(90, None), ..record.clone() };
    vec![video_track(record), video_track(timeless)]
}

pub fn summaries() -> Vec<Summary> {
    let whole = Summary {
        version: VERSION,
        video: video(),
        name: "quay".into(),
        uri: "file:///quay.mp4".into(),
        state: VideoState::Incomplete,
        problem: Some("truncated".into()),
        notices: notices(),
        corrections: 1,
        total_frames: Some(332),
        processed_frames: 9,
        skipped: skipped(),
        failed_frames: 1,
        failed: vec![FailedFrame { index: 40, reason: "no pixels".into() }],
        average_processing_ms: 71.5,
        classes: classes(),
        most_at_once: classes(),
        top: vec!["boat".into()],
        alarms: 2,
        tracked: analytics().into(),
        tracks_printed: true,
        model: Some(model()),
        models: models(),
        duration_s: Some(1.5),
        wall_time_s: 3.25,
        frames_per_second: 2.75,
        live: Some(live(None)),
    };
    let (failed, classes, top, models) = (vec![], BTreeMap::new(), vec![], BTreeSet::new());
    let empty = Summary {
        problem: None,
        notices: vec![],
        total_frames: None,
        skipped: Skipped::default(),
        duration_s: None,
        live: None,
        tracked: TrackedCounts::default(),
        tracks_printed: false,
        failed,
        most_at_once: classes.clone(),
        classes,
        top,
        model: None,
        models,
        ..whole.clone()
    };
    VideoState::all_final()
        .map(|state| Summary { state, ..empty.clone() })
        .chain([whole.clone()])
        .collect()
}

pub fn changes() -> Vec<AuditRecord> {
    use AuditAction::{AddModel, Cancel, Delete, Drop, RemoveModel, Replay, Rerun, Upload};
    let all = [Upload, Cancel, Delete, Rerun, Replay, Drop, AddModel, RemoveModel];
    let mut changes: Vec<_> =
        all.map(|action| AuditRecord::now("gate", action).of_video(video())).into();
    changes.push(AuditRecord::now("gate", AddModel).of_model("boats@3".parse().unwrap()));
    changes
}

pub fn alarms() -> Vec<Alarm> {
    let name = "quay".to_owned();
    let alarm = |rule: AlarmRule, time_s| Alarm {
        version: VERSION,
        video: video(),
        name: name.clone(),
        number: 1,
        frame: 17,
        time_s,
        label: rule.label.clone(),
        rule,
        count: 11,
        track: None,
    };
    let crosses = alarm("person crosses gate inwards".parse().unwrap(), Some(0.68));
    let of_track = Alarm { count: 1, track: Some(3), ..crosses };
    let times = [Some(0.68), None];
    let alarms = rules().into_iter().zip(times).map(|(rule, time_s)| alarm(rule, time_s));
    alarms.chain([of_track]).collect()
}

fn started(upload: &Upload) -> Started {
    let started = upload.started(UNIX_EPOCH + Duration::from_millis(1_795_409_643_547), 1);
    let window = |_: &_| LiveWindow { source: video(), follows: Some(video()) };
    let (model, window) =
        (upload.model.as_ref().map(|_| model()), upload.model.as_ref().map(window));
    Started { model, window, ..started }
}

fn notices() -> Vec<String> {
    vec!["video track 2 of 3 was decoded".into()]
}

fn ended(duration: Option<u64>, problem: Option<&str>) -> Ended {
    let notices = if problem.is_some() { notices() } else { vec![] };
    let skipped = problem.map(|_| skipped());
    let problem = problem.map(str::to_owned);
    Ended { frames: 10, decoded: 250, duration, problem, notices, skipped }
}

fn skipped() -> Skipped {
    Skipped {
        still: 312,
        every: 2,
        fps: 3,
        before_start: 1,
        not_key: 2,
        cancelled: 1,
        unselected: 1,
    }
}

fn runs() -> Vec<CarriedRun> {
    vec![CarriedRun { source: 7, frames: vec![(8, None), (9, Some(360_000_000))] }]
}

fn live(reason: Option<&str>) -> LiveStatus {
    LiveStatus {
        at: 1_795_409_643_547,
        connection: reason.map_or(Connection::Connected, |_| Connection::Reconnecting),
        reason: reason.map(str::to_owned),
        open: vec![video().window(1_795_409_643_547).unwrap()],
        windows: 12,
        frames: 360,
        dropped: 4,
        last: Some(video()),
    }
}

fn rule_match(pts: Option<u64>) -> RuleMatch {
    RuleMatch { frame: 3, pts, rule: 1, count: 2 }
}

pub fn entries() -> Vec<VideoEntry> {
    let bare = VideoEntry {
        version: VERSION,
        video: video(),
        state: VideoState::Queued,
        started: started(&uploads()[0]),
        published: 0,
        published_frames: None,
        milestones: vec![],
        announced: None,
        live: None,
        ended: None,
        cancelled: None,
        counted: 0,
        failed: 0,
        failures: vec![],
        unconfirmed: vec![],
        counted_frames: String::new(),
        failed_frames: String::new(),
        carried_frames: String::new(),
        carried: vec![],
        corrections: 0,
        processing_us: 0,
        classes: BTreeMap::new(),
        most_at_once: BTreeMap::new(),
        models: BTreeSet::new(),
        alarms: 0,
        alarm_state: AlarmState::default(),
        analytics: None,
        repair: None,
        finished_at: None,
        summary_published: false,
        summary: None,
    };
    let (unsent, ahead) = (vec![rule_match(None)], vec![rule_match(Some(40_000_000))]);
    let waiting = |failure: Option<&str>, matches| {
        let failure = failure.map(str::to_owned);
        let model = failure.is_none().then(|| "nanodet".to_owned());
        Unconfirmed { index: 9, processing_us: 70_000, classes: classes(), failure, model, matches }
    };
    let labelled = VideoEntry { started: started(&uploads()[2]), ..bare.clone() };
    let full = VideoEntry {
        started: started(&uploads()[1]),
        published_frames: Some(9),
        milestones: vec![(120, 5)],
        announced: Some(250),
        live: Some(live(Some("the connection was closed"))),
        ended: Some(ended(Some(10_000_000_000), Some("truncated"))),
        models: models(),
        cancelled: Some(Cancelled { reason: "no longer wanted".into() }),
        failures: vec![FailedFrame { index: 40, reason: "no pixels".into() }],
        unconfirmed: vec![
            waiting(None, vec![rule_match(None)]),
            waiting(Some("no pixels"), vec![]),
        ],
        counted_frames: "AAAAAAAAAAA=".into(),
        carried_frames: "AAAAAAAAAAA=".into(),
        carried: runs(),
        classes: classes(),
        most_at_once: classes(),
        alarm_state: AlarmState { rules: rules(), next: 3, ahead, runs: vec![0, 2], unsent },
        analytics: Some(analytics()),
        repair: Some(RepairState {
            rounds: 3,
            fruitless: 1,
            missing: 2,
            server: "NABC".into(),
            lost: 1,
            reason: Some("no such file".into()),
        }),
        finished_at: Some(1_795_409_653_547),
        summary_published: true,
        summary: summaries().pop(),
        ..bare.clone()
    };
    VideoState::ALL
        .map(|state| VideoEntry { state, ..bare.clone() })
        .into_iter()
        .chain([labelled, full])
        .collect()
}

pub fn statuses() -> Vec<VideoStatus> {
    entries().into_iter().map(VideoStatus::from).collect()
}

pub fn frames() -> Vec<Frame> {
    let letterbox = Letterbox {
        source: Size { width: 640, height: 272 },
        left: 1,
        top: 0,
        content: Size { width: 3, height: 2 },
    };
    let frame = |matrix, full_range, time: Option<u64>| Frame {
        version: VERSION,
        video: video(),
        index: 3,
        pts: time,
        decoded_at: time.map(|_| 1_795_409_643_600),
        encoding: Encoding::Jpeg,
        size: SIZE,
        letterbox,
        color: Color { matrix, full_range },
        pixels: vec![0xff, 0xd8, 0xff],
    };
    vec![
        frame(Matrix::Bt601, false, None),
        frame(Matrix::Bt709, true, Some(40_000_000)),
        frame(Matrix::Bt2020, false, None),
    ]
}

/// Its length follows from its letterbox, which a schema cannot describe.
pub fn raw_frame() -> Frame {
    Frame {
        encoding: Encoding::I420,
        pixels: vec![7; SIZE.i420_len().unwrap()],
        ..frames().remove(0)
    }
}

pub fn stills() -> Vec<Thumbnail> {
    let still = |pts| Thumbnail {
        version: VERSION,
        video: video(),
        index: 3,
        pts,
        source: SIZE,
        jpeg: vec![0xff, 0xd8],
    };
    vec![still(None), still(Some(40_000_000))]
}

/// Events, each with the name of its message.
pub fn events() -> Vec<(&'static str, VideoEvent)> {
    let starts = || uploads().into_iter().map(|upload| started(&upload));
    let detections =
        vec![Detection { label: "boat".into(), score: 0.5, bounds: [1.0, 0.5, 3.25, 2.0] }];
    let result = |time: Option<u64>, size, detections: Vec<Detection>| FrameResult {
        index: 3,
        pts: time,
        decoded_at: time.map(|_| 1_795_409_643_600),
        objects: detections.try_into().unwrap(),
        size,
        processing_us: 70_000,
        detector: "den".into(),
        model: time.map(|_| "nanodet".to_owned()),
    };
    let failed =
        |detector| Failed { index: 40, reason: "no pixels".into(), detector, deliveries: 2 };
    let progress =
        |announced| Event::Progress(Progress { published: 223, frames: announced, announced });
    let carried = |announced| {
        Event::Carried(Carried { from: 3, published: 17, frames: 14, announced, runs: runs() })
    };
    let reason = || "no longer wanted".to_owned();
    let all = starts().map(Event::Queued).chain(starts().map(Event::Started)).chain([
        progress(None),
        progress(Some(250)),
        carried(None),
        carried(Some(250)),
        Event::Frame(FrameResult { objects: objects(), ..result(None, None, vec![]) }),
        Event::Frame(result(None, None, vec![])),
        Event::Frame(result(Some(40_000_000), Some(SIZE), detections)),
        Event::Failed(failed(None)),
        Event::Failed(failed(Some("den".into()))),
        Event::Live(live(None)),
        Event::Live(live(Some("the connection was closed"))),
        Event::Ended(ended(None, None)),
        Event::Ended(ended(Some(10_000_000_000), Some("truncated"))),
        Event::Abandoned(Abandoned { reason: reason() }),
        Event::Lost(Lost { reason: reason() }),
        Event::Cancelled(Cancelled { reason: reason() }),
    ]);
    all.map(|event| (name(&event), VideoEvent::new(video(), event))).collect()
}

fn objects() -> Objects {
    Objects::new(Limits { floor: Score::nearest(0.1), threshold: Score::nearest(0.45) })
}

/// A result with objects, whose classes must have labels: a schema cannot describe that.
pub fn result_with_objects() -> VideoEvent {
    let mut objects = objects();
    let bounds = [1.0, 0.5, 3.25, 2.0];
    objects.push(SIZE, Object { class: 8, label: "boat", score: 0.5, bounds });
    let (_, VideoEvent { video, event, .. }) =
        events().into_iter().find(|(name, _)| *name == "frameResult").unwrap();
    let Event::Frame(result) = event else { panic!("{event:?} is another event") };
    VideoEvent::new(video, Event::Frame(FrameResult { objects, size: Some(SIZE), ..result }))
}

fn name(event: &Event) -> &'static str {
    match event {
        Event::Queued(_) => "queued",
        Event::Started(_) => "started",
        Event::Progress(_) => "progress",
        Event::Carried(_) => "carried",
        Event::Frame(_) => "frameResult",
        Event::Failed(_) => "failed",
        Event::Live(_) => "live",
        Event::Ended(_) => "ended",
        Event::Abandoned(_) => "abandoned",
        Event::Lost(_) => "lost",
        Event::Cancelled(_) => "cancelled",
    }
}

/// The value with its floating-point numbers as exact as single precision allows.
pub fn rounded(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => json!((number.as_f64().unwrap() * 1e3).round()),
        Value::Array(items) => items.iter().map(rounded).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), rounded(value))).collect()
        }
        other => other.clone(),
    }
}
