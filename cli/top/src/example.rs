//! An example state, for tests.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{
    AlarmState, Ended, FrameResult, FrameSelection, Objects, Skipped, Started, Summary,
    TrackedCounts, Tracking, VERSION, VideoEntry, VideoState,
};

use crate::queues::{LastAlarm, Queues, StreamLevel};
use crate::state::State;

pub(crate) fn entry(name: &str, state: VideoState, counted: u64, total: u64) -> VideoEntry {
    let ended = state.is_final().then_some(Ended {
        frames: total,
        decoded: total,
        duration: None,
        problem: None,
        notices: vec![],
        skipped: None,
    });
    VideoEntry {
        version: VERSION,
        video: VideoId::for_name(name, "1"),
        state,
        started: Started {
            name: name.into(),
            uri: format!("file:///{name}"),
            selection: FrameSelection::every(1),
            uploaded_at: 1_700_000_000_000,
            alarms: None,
            tracking: Tracking::default(),
            window: None,
            labels: vec![],
            fingerprint: None,
            model: None,
        },
        published: counted,
        published_frames: None,
        milestones: vec![],
        live: None,
        announced: Some(total),
        ended,
        cancelled: None,
        counted,
        failed: 0,
        failures: vec![],
        unconfirmed: vec![],
        counted_frames: String::new(),
        failed_frames: String::new(),
        carried_frames: String::new(),
        carried: vec![],
        corrections: 0,
        processing_us: 0,
        classes: [("car", 80), ("person", 52), ("bicycle", 52), ("dog", 1)]
            .map(|(label, n)| (label.to_owned(), n))
            .into(),
        most_at_once: BTreeMap::new(),
        models: [].into(),
        alarms: 0,
        alarm_state: AlarmState::default(),
        analytics: None,
        repair: None,
        finished_at: None,
        summary_published: false,
        summary: state.is_final().then(|| summary(name, counted)),
    }
}

fn summary(name: &str, processed_frames: u64) -> Summary {
    Summary {
        version: VERSION,
        video: VideoId::for_name(name, "1"),
        name: name.into(),
        uri: format!("file:///{name}"),
        state: VideoState::Done,
        problem: None,
        notices: vec![],
        corrections: 0,
        total_frames: Some(processed_frames),
        processed_frames,
        skipped: Skipped::default(),
        failed_frames: 0,
        failed: vec![],
        average_processing_ms: 50.0,
        classes: BTreeMap::new(),
        most_at_once: BTreeMap::new(),
        top: vec![],
        alarms: 0,
        tracked: TrackedCounts::default(),
        tracks_printed: false,
        model: None,
        models: [].into(),
        live: None,
        duration_s: None,
        wall_time_s: 3.0,
        frames_per_second: processed_frames as f64 / 3.0,
    }
}

/// Ten seconds into a run of two detectors: 25 frames/s are decoded, 20 analysed, 19 counted.
pub(crate) fn running() -> State {
    let start = Instant::now();
    let mut state = State::new("nats://127.0.0.1:4222".into(), start);
    state.reset_videos();
    state.videos.update(start, &entry("aveiro.mkv", VideoState::Done, 120, 120), SystemTime::now());
    state.videos_loaded();
    for second in 0..=10 {
        let now = start + Duration::from_secs(second);
        let mut bikes = entry("bikes.mp4", VideoState::Decoding, 19 * second, 500);
        bikes.published = 25 * second;
        state.videos.update(now, &bikes, SystemTime::now());
        for (detector, processing_us) in [("west:7", 52_000), ("east:7", 48_000)] {
            for _ in 0..if second > 0 { 10 } else { 0 } {
                let detector = detector.to_owned();
                state.record_result(
                    now,
                    &FrameResult {
                        index: 0,
                        pts: None,
                        size: None,
                        decoded_at: None,
                        objects: Objects::default(),
                        processing_us,
                        detector,
                        model: None,
                    },
                );
            }
        }
        let queues = Queues {
            frames: StreamLevel {
                messages: 200,
                bytes: 52_000_000,
                max_bytes: Some(520_000_000),
                oldest: Some(Duration::from_secs(9)),
            },
            frames_per_video: Some(256),
            frames_published: 1000 + 25 * second,
            frames_waiting: 192,
            frames_in_flight: 8,
            redelivered: 3,
            pulls: 0,
            uploads_waiting: 2,
            uploads_in_flight: 1,
            results_waiting: 4,
            dead_letters: 1,
            last_alarm: Some(LastAlarm {
                video: "aveiro-mkv-1".into(),
                age: Duration::from_secs(75),
            }),
        };
        state.sample(now, queues, None);
    }
    state
}
