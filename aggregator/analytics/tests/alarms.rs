//! Frames are judged by the alarm rules in their order, whatever order their results come in, and
//! each once.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use moliceiro_analytics::{Applied, VideoCount};
use moliceiro_messages::VideoId;
use moliceiro_messages::{
    Alarm, AlarmRule, Cancelled, Detection, Ended, Event, Failed, Fps, FrameResult, FrameSelection,
    Offset, Progress, Size, Started, VideoEntry, VideoState, from_json, to_json,
};
use proptest::prelude::*;

const NOW: u64 = 1_700_000_010_000;

fn video() -> VideoId {
    VideoId::for_name("a.mp4", "1")
}

fn rules(texts: &[&str]) -> Vec<AlarmRule> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn selecting(selection: FrameSelection) -> Started {
    Started { selection, ..started(1, None, &[]) }
}

fn started(every: u64, alarms: Option<&[&str]>, labels: &[&str]) -> Started {
    let (alarms, labels) =
        (alarms.map(rules), labels.iter().map(|label| (*label).to_owned()).collect());
    let (name, uri, uploaded_at) = ("a.mp4".into(), "file:///a.mp4".into(), NOW - 10_000);
    let selection = FrameSelection::every(every);
    Started { name, uri, selection, uploaded_at, alarms, labels }
}

/// A frame with so many persons on its left and boats on its right.
fn frame(index: u64, persons: u32, boats: u32) -> Event {
    let found = |label: &str, left: f32| Detection {
        label: label.into(),
        score: 0.5,
        bounds: [left, 40.0, left + 10.0, 60.0],
    };
    let persons = (0..persons).map(|_| found("person", 10.0));
    let detections = persons.chain((0..boats).map(|_| found("boat", 80.0))).collect();
    let size = Some(Size { width: 100, height: 100 });
    Event::Frame(FrameResult {
        index,
        pts: Some(index * 40_000_000),
        decoded_at: None,
        detections,
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
    Event::Ended(Ended { frames, decoded, duration: None, problem: None })
}

fn progress(published: u64) -> Event {
    Event::Progress(Progress { published, frames: None, announced: None })
}

/// A restart: nothing survives but the entry in the bucket.
fn restarted(count: &VideoCount) -> VideoCount {
    let entry: VideoEntry = from_json(&to_json(&count.to_entry(&video(), false))).unwrap();
    VideoCount::from_entry(entry).unwrap()
}

/// What readers of the video's alarms get: the next number is appended, one that is there already
/// is not.
fn publish(published: &mut Vec<Alarm>, count: &VideoCount) {
    for alarm in count.unsent_alarms(&video()) {
        assert!(
            alarm.number <= published.len() as u64 + 1,
            "alarm {} after {}",
            alarm.number,
            published.len()
        );
        match published.get(alarm.number as usize - 1) {
            Some(there) => assert_eq!(*there, alarm),
            None => published.push(alarm),
        }
    }
}

fn lines(alarms: &[Alarm]) -> Vec<String> {
    alarms.iter().map(ToString::to_string).collect()
}

/// What is in the frames of a video; `None` for one that fails.
type Seen = Option<(u32, u32)>;

/// The same rules, said again and simply: frame by frame, in order.
fn expected(frames: &[Seen], index_of: impl Fn(u64) -> u64) -> Vec<String> {
    let (mut lines, mut boats_in_a_row) = (Vec::new(), 0);
    for (n, seen) in frames.iter().enumerate() {
        let index = index_of(n as u64);
        let Some((persons, boats)) = seen else {
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
        frames in proptest::collection::vec(proptest::option::weighted(0.9, (0_u32..6, 0_u32..3)), 0..60),
        every in 1_u64..4,
        by_time in any::<bool>(),
        repetitions in proptest::collection::vec(any::<prop::sample::Index>(), 0..60),
        keys in proptest::collection::vec(any::<u32>(), 200),
        batch in 1_usize..20,
        dies_before_it_says_so in any::<bool>(),
    ) {
        let n = frames.len() as u64;
        // Chosen by time, frames lie at distances that their indexes do not tell.
        let index = |i: u64| if by_time { 5 + 3 * i + i % 3 } else { i * every };
        let decoded = if by_time { index(n) } else { n * every };
        let begun = || if by_time { selecting(FrameSelection { fps: Fps::try_from(7.0).ok(), ..FrameSelection::every(1) }) } else { started(every, None, &[]) };
        let mut events: Vec<_> = (0..).zip(&frames).map(|(i, seen)| match seen {
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

        let mut written = VideoCount::new(begun(), &rules(&RULES));
        let mut published = Vec::new();
        for batch in order.chunks(batch) {
            let mut count = restarted(&written);
            // Written, but not acknowledged: it comes once more.
            for i in batch.iter().chain(batch) {
                count.apply(&events[*i], NOW);
            }
            publish(&mut published, &count);
            if !dies_before_it_says_so {
                count.alarms_sent(count.unsent_alarms(&video()).len());
            }
            written = count;
        }
        prop_assert_eq!(lines(&published), expected(&frames, index));
        prop_assert_eq!(written.summary(&video()).unwrap().alarms, published.len() as u64);
        prop_assert_eq!(written.to_entry(&video(), true).alarms, published.len() as u64);
    }
}

#[test]
fn frames_chosen_by_time_raise_alarms_as_soon_as_all_before_are_known() {
    let begun =
        selecting(FrameSelection { start: Offset::try_from(1.0).ok(), ..FrameSelection::every(1) });
    let mut count = VideoCount::new(begun, &rules(&["person > 0"]));
    let said = |published, frames| {
        Event::Progress(Progress { published, frames: Some(frames), announced: None })
    };
    for event in [frame(31, 1, 0), said(31, 1), frame(40, 1, 0), said(41, 3)] {
        count.apply(&event, NOW);
    }
    assert!(count.unsent_alarms(&video()).is_empty(), "a frame below 31 is not known yet");
    count.apply(&frame(30, 1, 0), NOW);
    assert_eq!(lines(&count.unsent_alarms(&video())).len(), 3, "all three below 41 are");
}

#[test]
fn an_alarm_says_which_video_frame_and_rule_it_is_of() {
    let mut count = VideoCount::new(started(1, None, &[]), &rules(&["boat > 9", "person > 10"]));
    for event in [frame(0, 0, 0), frame(1, 11, 0), ended(2, 2)] {
        count.apply(&event, NOW);
    }
    let [alarm] = &count.unsent_alarms(&video())[..] else { panic!("one alarm") };
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
fn the_rules_of_an_upload_take_the_place_of_the_default_ones() {
    let alarms = |of_upload: Option<&[&str]>| {
        let mut count = VideoCount::new(started(1, of_upload, &[]), &rules(&["person > 1"]));
        count.apply(&frame(0, 2, 1), NOW);
        count.apply(&ended(1, 1), NOW);
        lines(&count.unsent_alarms(&video()))
    };
    assert_eq!(alarms(None), ["Frame 0: 2 <person> detected"]);
    assert_eq!(alarms(Some(&["boat > 0"])), ["Frame 0: 1 <boat> detected"]);
    assert!(alarms(Some(&[])).is_empty());
}

#[test]
fn classes_that_are_not_asked_for_neither_count_nor_raise_alarms() {
    let mut count = VideoCount::new(
        started(1, None, &["boat"]),
        &rules(&["person > 1", "person < 1", "boat > 0"]),
    );
    count.apply(&frame(0, 2, 1), NOW);
    count.apply(&ended(1, 1), NOW);
    assert_eq!(lines(&count.unsent_alarms(&video())), ["Frame 0: 1 <boat> detected"]);
    let summary = count.summary(&video()).unwrap();
    assert_eq!((summary.count("boat"), summary.count("person"), summary.classes.len()), (1, 0, 1));
}

#[test]
fn a_frame_that_stays_away_is_passed_over_when_too_many_wait_for_it() {
    let mut count = VideoCount::new(started(1, None, &[]), &rules(&["person > 0"]));
    count.apply(&progress(5_003), NOW);
    count.apply(&frame(0, 1, 0), NOW);
    for index in 2..=5_001 {
        count.apply(&frame(index, 1, 0), NOW);
    }
    assert_eq!(count.unsent_alarms(&video()).len(), 1, "all wait for frame 1");
    let full = to_json(&count.to_entry(&video(), false)).len();
    assert!(full < 300_000, "{full} bytes");
    count.apply(&frame(5_002, 1, 0), NOW);
    assert_eq!(count.unsent_alarms(&video()).len(), 5_002);
    count.apply(&frame(1, 1, 0), NOW);
    assert_eq!(count.unsent_alarms(&video()).len(), 5_002, "its turn is over");
    count.apply(&ended(5_003, 5_003), NOW);
    assert_eq!(count.summary(&video()).unwrap().processed_frames, 5_003, "it counts all the same");
}

#[test]
fn frames_in_which_no_rule_holds_take_no_room_in_the_entry() {
    let entry = |n: u64| {
        let mut count = VideoCount::new(started(1, None, &[]), &rules(&RULES[..2]));
        count.apply(&progress(100_000), NOW);
        for index in 1..n {
            count.apply(&frame(index, 1, 0), NOW);
        }
        to_json(&count.to_entry(&video(), false)).len()
    };
    assert!(entry(10_000) < entry(10) + 100, "{} and {}", entry(10), entry(10_000));
}

#[test]
fn a_cancelled_video_keeps_what_was_counted_and_takes_no_more() {
    let mut count = VideoCount::new(started(1, None, &[]), &rules(&["person > 0"]));
    for event in [frame(0, 1, 0), progress(2), frame(2, 1, 0)] {
        count.apply(&event, NOW);
    }
    let cancelled = Event::Cancelled(Cancelled { reason: "no longer wanted".into() });
    assert_eq!(count.apply(&cancelled, NOW), Applied::Changed);
    let summary = count.summary(&video()).unwrap();
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
        assert_eq!(restarted(&count).apply(&event, NOW + 1), Applied::Duplicate, "{event:?}");
    }
    let mut done = VideoCount::new(started(1, None, &[]), &[]);
    done.apply(&frame(0, 1, 0), NOW);
    done.apply(&ended(1, 1), NOW);
    assert_eq!(done.apply(&cancelled, NOW), Applied::Duplicate);
    assert_eq!(done.state(), VideoState::Done);
}

#[test]
fn a_queued_video_takes_nothing_but_its_start_or_its_end() {
    let mut count = VideoCount::queued(started(1, None, &[]));
    assert_eq!((count.state(), count.is_queued()), (VideoState::Queued, true));
    for event in [frame(0, 1, 0), progress(9), ended(9, 9)] {
        assert_eq!(restarted(&count).apply(&event, NOW), Applied::NotYet);
    }
    assert_eq!(count.apply(&Event::Queued(started(2, None, &[])), NOW), Applied::Duplicate);
    assert_eq!(
        count.apply(&Event::Cancelled(Cancelled { reason: "no".into() }), NOW),
        Applied::Changed
    );
    let count = restarted(&count);
    assert_eq!((count.state(), count.is_queued()), (VideoState::Cancelled, false));
    assert_eq!(count.summary(&video()).unwrap().processed_frames, 0);
}

/// As a release without alarms wrote it.
#[test]
fn an_entry_from_before_is_counted_on() {
    let entry = br#"{"version":1,"video":"harbour-1a206c1081ex3","state":"counting","started":{"name":"harbour","uri":"file:///data/bigbuckbunny.mp4","every":25,"uploaded_at":1795409643550},"published":132,"announced":null,"ended":{"frames":6,"decoded":132,"duration":5280000000,"problem":null},"counted":5,"failed":0,"failures":[],"unconfirmed":[],"counted_frames":"AQAAAAAAAAAAAAAAOjAAAAEAAAAAAAQAEAAAAAAAGQAyAEsAZAA=","failed_frames":"AAAAAAAAAAA=","corrections":0,"processing_us":803487,"classes":{"bird":1},"finished_at":null,"summary_published":false,"summary":null}"#;
    let mut count = VideoCount::from_entry(from_json(entry).unwrap()).unwrap();
    assert_eq!(count.apply(&frame(125, 11, 0), NOW), Applied::Changed);
    assert_eq!(count.state(), VideoState::Done);
    assert!(count.unsent_alarms(&video()).is_empty());
}
