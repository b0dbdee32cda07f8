//! Each frame is judged by the alarm rules once and in order, whatever order the results arrive in.

use moliceiro_analytics::{Applied, VideoTotals};
use moliceiro_messages::{
    Alarm, AlarmRule, Cancelled, Detection, Ended, Event, Failed, Fps, FrameResult, FrameSelection,
    Offset, Progress, Size, Started, Tracking, VideoState, from_json, to_json,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{NOW, restarted, video};

fn rules(texts: &[&str]) -> Vec<AlarmRule> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn started(every: u64, alarms: Option<&[&str]>, labels: &[&str]) -> Started {
    let (alarms, labels) =
        (alarms.map(rules), labels.iter().map(|label| (*label).to_owned()).collect());
    let (name, uri, uploaded_at) = ("a.mp4".into(), "file:///a.mp4".into(), NOW - 10_000);
    let selection = FrameSelection::every(every);
    let (tracking, window, fingerprint, model) = (Tracking::default(), None, None, None);
    Started {
        name,
        uri,
        selection,
        uploaded_at,
        alarms,
        tracking,
        window,
        labels,
        fingerprint,
        model,
    }
}

/// A frame with this many persons on its left and boats on its right.
fn frame(index: u64, persons: u32, boats: u32) -> Event {
    let found = |label: &str, left: f32| Detection {
        label: label.into(),
        score: 0.5,
        bounds: [left, 40.0, left + 10.0, 60.0],
    };
    let persons = (0..persons).map(|_| found("person", 10.0));
    let detections: Vec<_> = persons.chain((0..boats).map(|_| found("boat", 80.0))).collect();
    let size = Some(Size { width: 100, height: 100 });
    Event::Frame(FrameResult {
        index,
        pts: Some(index * 40_000_000),
        decoded_at: None,
        objects: detections.try_into().unwrap(),
        size,
        processing_us: 1000,
        detector: "d".into(),
        model: Some("nanodet".into()),
    })
}

fn failed(index: u64) -> Event {
    Event::Failed(Failed { index, reason: "broken".into(), detector: None, deliveries: 5 })
}

fn ended(frames: u64, decoded: u64) -> Event {
    Event::Ended(Ended {
        frames,
        decoded,
        duration: None,
        problem: None,
        notices: vec![],
        skipped: None,
    })
}

fn progress(published: u64) -> Event {
    Event::Progress(Progress { published, frames: None, announced: None })
}

/// What readers of the video's alarms receive: the next number is appended, a repeated number is
/// not.
fn publish(published: &mut Vec<Alarm>, totals: &VideoTotals) {
    for alarm in totals.unpublished_alarms(&video()) {
        assert!(
            alarm.number <= published.len() as u64 + 1,
            "alarm {} after {}",
            alarm.number,
            published.len()
        );
        match published.get(alarm.number as usize - 1) {
            Some(known) => assert_eq!(*known, alarm),
            None => published.push(alarm),
        }
    }
}

fn lines(alarms: &[Alarm]) -> Vec<String> {
    alarms.iter().map(ToString::to_string).collect()
}

/// The persons and boats in a frame; `None` for a frame that fails.
type Content = Option<(u32, u32)>;

/// The same rules, implemented in the simplest way: frame by frame, in order.
fn expected(frames: &[Content], index_of: impl Fn(u64) -> u64) -> Vec<String> {
    let (mut lines, mut boats_in_a_row) = (Vec::new(), 0);
    for (n, content) in frames.iter().enumerate() {
        let index = index_of(n as u64);
        let Some((persons, boats)) = content else {
            boats_in_a_row = 0;
            continue;
        };
        if *persons > 3 {
            lines.push(format!("Frame {index}: {persons} <person> detected"));
        }
        boats_in_a_row = if *boats >= 1 { boats_in_a_row + 1 } else { 0 };
        if boats_in_a_row == 3 {
            lines.push(format!("Frame {index}: {boats} <boat> detected"));
        }
        if *persons == 0 {
            lines.push(format!("Frame {index}: 0 <person> detected"));
        }
        if *boats >= 2 {
            lines.push(format!("Frame {index}: {boats} <boat> detected"));
        }
    }
    lines
}

const RULES: [&str; 5] = [
    "person > 3",
    "boat >= 1 for 3 frames",
    "person == 0",
    "boat >= 2 in 0.5,0 1,0 1,1 0.5,1",
    // The boats are on the other side.
    "boat >= 1 in 0,0 0.5,0 0.5,1 0,1",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn order_repetition_batches_and_crashes_raise_the_same_alarms_in_order_each_once(
        frames in vec(proptest::option::weighted(0.9, (0_u32..6, 0_u32..3)), 0..60),
        every in 1_u64..4,
        by_time in any::<bool>(),
        repetitions in vec(any::<prop::sample::Index>(), 0..60),
        keys in vec(any::<u32>(), 200),
        batch in 1_usize..20,
        dies_before_marking in any::<bool>(),
    ) {
        let n = frames.len() as u64;
        // Where frames are selected by time, their distances do not follow from their indexes.
        let index = |i: u64| if by_time { 5 + 3 * i + i % 3 } else { i * every };
        let decoded = if by_time { index(n) } else { n * every };
        let fps = Fps::try_from(7.0).ok().filter(|_| by_time);
        let every = if by_time { 1 } else { every };
        let selection = FrameSelection { fps, ..FrameSelection::every(every) };
        let started_event = Started { selection, ..started(1, None, &[]) };
        let mut events: Vec<_> = (0..).zip(&frames).map(|(i, content)| match content {
            Some((persons, boats)) => frame(index(i), *persons, *boats),
            None => failed(index(i)),
        }).collect();
        events.extend((0..decoded).step_by(10).map(|published| {
            let frames = Some((0..n).filter(|i| index(*i) < published).count() as u64);
            Event::Progress(Progress { published, frames, announced: None })
        }));
        events.push(ended(n, decoded));
        let repeated: Vec<_> = repetitions.iter().map(|i| i.get(&events).clone()).collect();
        events.extend(repeated);
        let mut order: Vec<_> = (0..events.len()).collect();
        order.sort_by_key(|i| keys[*i % keys.len()].wrapping_mul(*i as u32 + 1));

        let mut written = VideoTotals::new(started_event, &rules(&RULES));
        let mut published = Vec::new();
        for batch in order.chunks(batch) {
            let mut totals = restarted(&written);
            // Written, but not acknowledged: it is redelivered.
            for i in batch.iter().chain(batch) {
                totals.apply(&events[*i], NOW);
            }
            publish(&mut published, &totals);
            if !dies_before_marking {
                totals.mark_alarms_published(totals.unpublished_alarms(&video()).len());
            }
            written = totals;
        }
        prop_assert_eq!(lines(&published), expected(&frames, index));
        prop_assert_eq!(written.summary(&video()).unwrap().alarms, published.len() as u64);
        prop_assert_eq!(written.to_entry(&video(), true).alarms, published.len() as u64);
    }
}

#[test]
fn frames_selected_by_time_raise_alarms_as_soon_as_all_before_are_known() {
    let selection =
        FrameSelection { start: Offset::try_from(1.0).ok(), ..FrameSelection::every(1) };
    let started = Started { selection, ..started(1, None, &[]) };
    let mut totals = VideoTotals::new(started, &rules(&["person > 0"]));
    let progress = |published, frames| {
        Event::Progress(Progress { published, frames: Some(frames), announced: None })
    };
    for event in [frame(31, 1, 0), progress(31, 1), frame(40, 1, 0), progress(41, 3)] {
        totals.apply(&event, NOW);
    }
    assert!(totals.unpublished_alarms(&video()).is_empty(), "a frame below 31 is not known yet");
    totals.apply(&frame(30, 1, 0), NOW);
    assert_eq!(lines(&totals.unpublished_alarms(&video())).len(), 3, "all three below 41 are");
}

#[test]
fn an_alarm_names_its_video_frame_and_rule() {
    let mut totals = VideoTotals::new(started(1, None, &[]), &rules(&["boat > 9", "person > 10"]));
    for event in [frame(0, 0, 0), frame(1, 11, 0), ended(2, 2)] {
        totals.apply(&event, NOW);
    }
    let [alarm] = &totals.unpublished_alarms(&video())[..] else { panic!("one alarm") };
    assert_eq!(alarm.to_string(), "Frame 1: 11 <person> detected");
    assert_eq!(
        (&alarm.video, alarm.name.as_str(), alarm.number, alarm.time_s),
        (&video(), "a.mp4", 1, Some(0.04))
    );
    assert_eq!(
        (alarm.rule.to_string().as_str(), alarm.label.as_str(), alarm.count),
        ("person > 10", "person", 11)
    );
}

#[test]
fn the_rules_of_an_upload_replace_the_default_rules() {
    let alarms = |of_upload: Option<&[&str]>| {
        let mut totals = VideoTotals::new(started(1, of_upload, &[]), &rules(&["person > 1"]));
        totals.apply(&frame(0, 2, 1), NOW);
        totals.apply(&ended(1, 1), NOW);
        lines(&totals.unpublished_alarms(&video()))
    };
    assert_eq!(alarms(None), ["Frame 0: 2 <person> detected"]);
    assert_eq!(alarms(Some(&["boat > 0"])), ["Frame 0: 1 <boat> detected"]);
    assert!(alarms(Some(&[])).is_empty());
}

/// Someone who expects their alarms has to be able to find that out.
#[test]
fn default_rules_that_cannot_hold_in_a_video_are_known() {
    let rules = rules(&["person > 1", "person crosses gate", "boat > 2"]);
    let left_out = |started: &Started| {
        let left_out = moliceiro_analytics::left_out(started, &rules);
        left_out.into_iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let plain = started(1, None, &["person"]);
    assert_eq!(left_out(&plain), ["person crosses gate", "boat > 2"]);
    let lines = vec!["gate: 0,0 1,1".parse().unwrap()];
    let tracking = Tracking { lines, ..Tracking::default() };
    assert_eq!(left_out(&Started { tracking, ..started(1, None, &[]) }), [""; 0]);
    assert_eq!(left_out(&started(1, Some(&[]), &[])), [""; 0]);
}

#[test]
fn classes_that_were_not_requested_neither_count_nor_raise_alarms() {
    let mut totals = VideoTotals::new(
        started(1, None, &["boat"]),
        &rules(&["person > 1", "person < 1", "boat > 0"]),
    );
    totals.apply(&frame(0, 2, 1), NOW);
    totals.apply(&ended(1, 1), NOW);
    assert_eq!(lines(&totals.unpublished_alarms(&video())), ["Frame 0: 1 <boat> detected"]);
    let summary = totals.summary(&video()).unwrap();
    assert_eq!((summary.count("boat"), summary.count("person"), summary.classes.len()), (1, 0, 1));
}

#[test]
fn a_missing_frame_is_skipped_when_too_many_wait_for_it() {
    let mut totals = VideoTotals::new(started(1, None, &[]), &rules(&["person > 0"]));
    totals.apply(&progress(5_003), NOW);
    totals.apply(&frame(0, 1, 0), NOW);
    for index in 2..=5_001 {
        totals.apply(&frame(index, 1, 0), NOW);
    }
    assert_eq!(totals.unpublished_alarms(&video()).len(), 1, "all wait for frame 1");
    let full = to_json(&totals.to_entry(&video(), false)).len();
    assert!(full < 300_000, "{full} bytes");
    totals.apply(&frame(5_002, 1, 0), NOW);
    assert_eq!(totals.unpublished_alarms(&video()).len(), 5_002);
    totals.apply(&frame(1, 1, 0), NOW);
    assert_eq!(totals.unpublished_alarms(&video()).len(), 5_002, "its turn is over");
    totals.apply(&ended(5_003, 5_003), NOW);
    assert_eq!(totals.summary(&video()).unwrap().processed_frames, 5_003, "frame 1 still counts");
}

#[test]
fn frames_in_which_no_rule_holds_take_no_space_in_the_entry() {
    let entry = |n: u64| {
        let mut totals = VideoTotals::new(started(1, None, &[]), &rules(&RULES[..2]));
        totals.apply(&progress(100_000), NOW);
        for index in 1..n {
            totals.apply(&frame(index, 1, 0), NOW);
        }
        to_json(&totals.to_entry(&video(), false)).len()
    };
    assert!(entry(10_000) < entry(10) + 100, "{} and {}", entry(10), entry(10_000));
}

#[test]
fn a_cancelled_video_keeps_its_counts_and_takes_no_more_events() {
    let mut totals = VideoTotals::new(started(1, None, &[]), &rules(&["person > 0"]));
    for event in [frame(0, 1, 0), progress(2), frame(2, 1, 0)] {
        totals.apply(&event, NOW);
    }
    let cancelled = Event::Cancelled(Cancelled { reason: "no longer wanted".into() });
    assert_eq!(totals.apply(&cancelled, NOW), Applied::Changed);
    let summary = totals.summary(&video()).unwrap();
    assert_eq!(
        (summary.state, summary.processed_frames, summary.alarms),
        (VideoState::Cancelled, 1, 1)
    );
    assert_eq!(summary.problem.as_deref(), Some("no longer wanted"));
    assert!(
        summary
            .to_string()
            .starts_with("a.mp4 (cancelled: no longer wanted)\nProcessed frames: 1\n")
    );
    for event in [
        frame(1, 1, 0),
        failed(1),
        progress(9),
        ended(9, 9),
        cancelled.clone(),
        Event::Started(started(1, None, &[])),
    ] {
        assert_eq!(restarted(&totals).apply(&event, NOW + 1), Applied::Duplicate, "{event:?}");
    }
    let mut done = VideoTotals::new(started(1, None, &[]), &[]);
    done.apply(&frame(0, 1, 0), NOW);
    done.apply(&ended(1, 1), NOW);
    assert_eq!(done.apply(&cancelled, NOW), Applied::Duplicate);
    assert_eq!(done.state(), VideoState::Done);
}

#[test]
fn a_queued_video_takes_no_event_but_its_start_or_its_cancellation() {
    let mut totals = VideoTotals::queued(started(1, None, &[]));
    assert_eq!((totals.state(), totals.is_queued()), (VideoState::Queued, true));
    for event in [frame(0, 1, 0), progress(9), ended(9, 9)] {
        assert_eq!(restarted(&totals).apply(&event, NOW), Applied::NotYet);
    }
    assert_eq!(totals.apply(&Event::Queued(started(2, None, &[])), NOW), Applied::Duplicate);
    assert_eq!(
        totals.apply(&Event::Cancelled(Cancelled { reason: "no".into() }), NOW),
        Applied::Changed
    );
    let totals = restarted(&totals);
    assert_eq!((totals.state(), totals.is_queued()), (VideoState::Cancelled, false));
    assert_eq!(totals.summary(&video()).unwrap().processed_frames, 0);
}

/// The entry of a release without alarms.
#[test]
fn an_entry_of_an_older_release_can_be_resumed() {
    let entry = br#"{
        "version":1,"video":"harbour-1a206c1081ex3","state":"counting",
        "started":{
            "name":"harbour","uri":"file:///data/bigbuckbunny.mp4","every":25,
            "uploaded_at":1795409643550},
        "published":132,"announced":null,
        "ended":{"frames":6,"decoded":132,"duration":5280000000,"problem":null},
        "counted":5,"failed":0,"failures":[],"unconfirmed":[],
        "counted_frames":"AQAAAAAAAAAAAAAAOjAAAAEAAAAAAAQAEAAAAAAAGQAyAEsAZAA=",
        "failed_frames":"AAAAAAAAAAA=","corrections":0,"processing_us":803487,
        "classes":{"bird":1},"finished_at":null,"summary_published":false,"summary":null}"#;
    let mut totals = VideoTotals::from_entry(from_json(entry).unwrap()).unwrap();
    assert_eq!(totals.apply(&frame(125, 11, 0), NOW), Applied::Changed);
    assert_eq!(totals.state(), VideoState::Done);
    assert!(totals.unpublished_alarms(&video()).is_empty());
}
