//! Any order, any repetition, any split into batches and any crash between them lead to the same
//! totals.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
use std::collections::BTreeMap;

use moliceiro_analytics::{Applied, VideoCount};
use moliceiro_messages::VideoId;
use moliceiro_messages::{
    Abandoned, Detection, Ended, Event, Failed, Fps, FrameResult, FrameSelection, LiveStatus,
    Progress, Started, Summary, VideoEntry, VideoState, from_json, to_json,
};
use proptest::prelude::*;

const NOW: u64 = 1_700_000_010_000;

fn started(every: u64) -> Started {
    Started {
        name: "a.mp4".into(),
        uri: "file:///a.mp4".into(),
        selection: FrameSelection::every(every),
        uploaded_at: NOW - 10_000,
        alarms: None,
        labels: vec![],
    }
}

fn frame(index: u64, labels: &[&str]) -> Event {
    let detection = |label: &&str| Detection {
        label: (*label).into(),
        score: 0.5,
        bounds: [0.0, 0.0, 1.0, 1.0],
    };
    let detections = labels.iter().map(detection).collect();
    Event::Frame(FrameResult {
        index,
        pts: None,
        decoded_at: None,
        detections,
        size: None,
        processing_us: 1000 + index,
        detector: "d".into(),
        model: Some(if index % 5 == 4 { "nanodet-int8" } else { "nanodet" }.into()),
    })
}

fn failed(index: u64) -> Event {
    Event::Failed(Failed {
        index,
        reason: format!("reason {index}"),
        detector: None,
        deliveries: 5,
    })
}

fn ended(frames: u64, decoded: u64) -> Event {
    Event::Ended(Ended { frames, decoded, duration: Some(1_000_000_000), problem: None })
}

fn video() -> VideoId {
    VideoId::for_name("a.mp4", "1")
}

/// A restart: nothing survives but the entry in the bucket.
fn restarted(count: &VideoCount) -> VideoCount {
    let entry: VideoEntry = from_json(&to_json(&count.to_entry(&video(), false))).unwrap();
    VideoCount::from_entry(entry).unwrap()
}

fn summary(count: &VideoCount) -> Summary {
    count.summary(&video()).expect("a final state has a summary")
}

/// What a video of `n` frames gives, where every seventh frame fails, and some fail and are looked
/// at too.
fn at_two_fps() -> Started {
    let fps = Fps::try_from(2.0).ok();
    Started { selection: FrameSelection { fps, ..FrameSelection::every(1) }, ..started(1) }
}

fn life(n: u64, every: u64) -> Vec<Event> {
    const LABELS: [&[&str]; 4] = [&[], &["person"], &["car", "car"], &["person", "boat", "dog"]];
    let index = |i: u64| i * every;
    let mut events: Vec<_> =
        (0..n)
            .map(|i| {
                if i % 7 == 3 {
                    failed(index(i))
                } else {
                    frame(index(i), LABELS[(i % 4) as usize])
                }
            })
            .collect();
    events.extend((0..n).filter(|i| i % 11 == 5 && i % 7 != 3).map(|i| failed(index(i))));
    let decoded = n * every;
    events.extend((0..decoded).step_by(10).map(|published| {
        Event::Progress(Progress {
            published,
            frames: Some(published.div_ceil(every)),
            announced: Some(decoded + 3),
        })
    }));
    events.push(ended(n, decoded));
    events
}

fn apply_all(count: &mut VideoCount, batch: &[usize], events: &[Event]) {
    for i in batch {
        count.apply(&events[*i], NOW);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn order_repetition_batches_and_crashes_change_nothing(
        n in 0_u64..60,
        every in 1_u64..4,
        repetitions in proptest::collection::vec(any::<prop::sample::Index>(), 0..80),
        keys in proptest::collection::vec(any::<u32>(), 300),
        crash_every in 1_usize..20,
    ) {
        let events = life(n, every);
        let mut expected = VideoCount::new(started(every), &[]);
        for event in &events {
            expected.apply(event, NOW);
        }
        let mut shuffled = events.clone();
        shuffled.extend(repetitions.iter().map(|i| i.get(&events).clone()));
        let mut order: Vec<_> = (0..shuffled.len()).collect();
        order.sort_by_key(|i| keys[*i % keys.len()].wrapping_mul(*i as u32 + 1));

        let mut written = VideoCount::new(started(every), &[]);
        for batch in order.chunks(crash_every) {
            // The first try of each batch dies before it is written, so the batch comes again.
            let mut lost = restarted(&written);
            apply_all(&mut lost, batch, &shuffled);
            let mut count = restarted(&written);
            apply_all(&mut count, batch, &shuffled);
            // Written, but not acknowledged: it comes once more.
            apply_all(&mut count, batch, &shuffled);
            written = count;
        }
        // How often a summary was corrected tells of the order, and nothing else does.
        let timeless = |count: &VideoCount| Summary { corrections: 0, ..summary(count) };
        prop_assert_eq!(timeless(&written), timeless(&expected));
        prop_assert_eq!(written.state(), if n == 0 { VideoState::Failed } else { VideoState::Done });
    }

    #[test]
    fn what_is_about_no_frame_of_the_video_changes_nothing(n in 1_u64..40, every in 1_u64..4, strange in any::<u64>(), late in any::<bool>()) {
        let no_such_frame = strange >= n * every || !strange.is_multiple_of(every);
        prop_assume!(no_such_frame);
        let mut expected = VideoCount::new(started(every), &[]);
        let mut count = expected.clone();
        if !late {
            count.apply(&frame(strange, &["person"; 5]), NOW);
        }
        for event in life(n, every) {
            expected.apply(&event, NOW);
            count.apply(&event, NOW);
        }
        if late {
            prop_assert_eq!(count.apply(&frame(strange, &["person"; 5]), NOW), Applied::NoSuchFrame);
        }
        prop_assert_eq!(summary(&count), summary(&expected));
    }
}

#[test]
fn a_video_that_decodes_to_less_than_before_keeps_every_frame_that_was_confirmed() {
    let mut count = VideoCount::new(started(2), &[]);
    count.apply(&Event::Progress(Progress { published: 7, frames: None, announced: None }), NOW);
    count.apply(&frame(0, &["person"]), NOW);
    count.apply(&ended(1, 2), NOW);
    assert_eq!(count.state(), VideoState::Counting);
    for index in [2, 4, 6] {
        assert_eq!(count.apply(&frame(index, &["person"]), NOW), Applied::Changed);
    }
    assert_eq!((count.state(), summary(&count).processed_frames), (VideoState::Incomplete, 4));
}

#[test]
fn a_summary_is_there_only_when_every_frame_is_counted_or_failed() {
    let mut count = VideoCount::new(started(1), &[]);
    assert_eq!(count.apply(&frame(0, &["person", "car"]), NOW), Applied::Changed);
    assert_eq!(count.state(), VideoState::Decoding);
    assert_eq!(count.apply(&ended(3, 3), NOW), Applied::Changed);
    assert_eq!(count.state(), VideoState::Counting);
    count.apply(&failed(2), NOW);
    assert_eq!(count.summary(&video()), None);
    count.apply(&frame(1, &["car"]), NOW);
    let summary = summary(&count);
    assert_eq!(summary.state, VideoState::Done);
    assert_eq!((summary.processed_frames, summary.failed_frames), (2, 1));
    assert_eq!(summary.failed[0].reason, "reason 2");
    assert_eq!(summary.classes, BTreeMap::from([("car".into(), 2), ("person".into(), 1)]));
    assert_eq!(summary.top, ["car", "person"]);
    assert!((summary.average_processing_ms - 1.0005).abs() < 1e-9);
    assert!((summary.frames_per_second - 0.2).abs() < 1e-9);
}

#[test]
fn a_frame_that_failed_and_was_looked_at_counts_as_looked_at() {
    let mut count = VideoCount::new(started(1), &[]);
    assert_eq!(count.apply(&frame(0, &["person"]), NOW), Applied::Changed);
    assert_eq!(count.apply(&failed(0), NOW), Applied::Duplicate);
    assert_eq!(count.apply(&failed(1), NOW), Applied::Changed);
    assert_eq!(count.apply(&failed(1), NOW), Applied::Duplicate);
    assert_eq!(count.apply(&failed(2), NOW), Applied::Changed);
    assert_eq!(count.apply(&frame(2, &["car"]), NOW), Applied::Changed);
    assert_eq!(count.apply(&ended(3, 3), NOW), Applied::Changed);
    let first = summary(&count);
    assert_eq!((first.processed_frames, first.failed_frames, first.corrections), (2, 1, 0));

    assert_eq!(restarted(&count).apply(&failed(1), NOW), Applied::Duplicate);
    assert_eq!(count.apply(&frame(1, &["person"]), NOW), Applied::Changed);
    let corrected = summary(&restarted(&count));
    assert_eq!(
        (corrected.processed_frames, corrected.failed_frames, corrected.corrections),
        (3, 0, 1)
    );
    assert_eq!((corrected.count("person"), corrected.failed.len()), (2, 0));
    assert_eq!(corrected.wall_time_s, first.wall_time_s, "the video was done when it was done");
    assert!(corrected.to_string().starts_with("a.mp4 (corrected)\n"));
}

#[test]
fn a_summary_names_every_model_that_looked_at_a_counted_frame() {
    let models = |events: &[Event]| {
        let mut count = VideoCount::new(started(1), &[]);
        for event in events {
            count.apply(event, NOW);
            count = restarted(&count);
        }
        summary(&count).models
    };
    let (float, int8) = ("nanodet".to_owned(), "nanodet-int8".to_owned());
    assert_eq!(models(&[frame(1, &[]), frame(0, &[]), ended(2, 2)]), [float.clone()].into());
    assert_eq!(
        models(&[frame(4, &[]), frame(0, &[]), failed(1), failed(2), failed(3), ended(5, 5)]),
        [float.clone(), int8].into()
    );
    assert_eq!(
        models(&[frame(4, &[]), frame(0, &[]), ended(1, 1)]),
        [float].into(),
        "frame 4 is not of the video"
    );
}

#[test]
fn a_video_that_is_given_up_is_incomplete_with_what_was_confirmed() {
    let mut count = VideoCount::new(started(2), &[]);
    for index in [0, 2, 4, 6] {
        count.apply(&frame(index, &["person"]), NOW);
    }
    count.apply(&Event::Progress(Progress { published: 5, frames: None, announced: None }), NOW);
    count.apply(&Event::Abandoned(Abandoned { reason: "no ingest".into() }), NOW);
    let summary = summary(&count);
    assert_eq!((summary.state, summary.processed_frames), (VideoState::Incomplete, 3));
    assert_eq!(summary.problem.as_deref(), Some("no ingest"));
}

#[test]
fn a_video_of_chosen_times_that_is_given_up_has_the_frames_that_were_said() {
    let mut count = VideoCount::new(at_two_fps(), &[]);
    for index in [3, 16, 28] {
        count.apply(&frame(index, &["person"]), NOW);
    }
    count
        .apply(&Event::Progress(Progress { published: 17, frames: Some(2), announced: None }), NOW);
    let mut count = restarted(&count);
    count.apply(&Event::Abandoned(Abandoned { reason: "no ingest".into() }), NOW);
    let summary = summary(&count);
    assert_eq!(
        (summary.state, summary.processed_frames, summary.count("person")),
        (VideoState::Incomplete, 2, 2)
    );
}

#[test]
fn a_video_of_chosen_times_that_decodes_to_less_than_before_keeps_every_frame_that_was_confirmed() {
    let mut count = VideoCount::new(at_two_fps(), &[]);
    count
        .apply(&Event::Progress(Progress { published: 17, frames: Some(2), announced: None }), NOW);
    count.apply(&ended(1, 9), NOW);
    count.apply(&frame(3, &["person"]), NOW);
    assert_eq!(count.state(), VideoState::Counting);
    count.apply(&frame(16, &["person"]), NOW);
    assert_eq!((count.state(), summary(&count).processed_frames), (VideoState::Incomplete, 2));
}

#[test]
fn a_live_source_shows_the_latest_of_what_was_said_and_ends_without_frames_of_its_own() {
    let said = |at, frames| Event::Live(LiveStatus { at, frames, ..LiveStatus::default() });
    let mut count = VideoCount::new(started(1), &[]);
    assert_eq!(count.apply(&said(2, 40), NOW), Applied::Changed);
    assert_eq!(count.apply(&said(1, 20), NOW), Applied::Duplicate);
    let mut count = restarted(&count);
    assert_eq!(
        (count.state(), count.to_entry(&VideoId::for_name("a", "1"), false).published),
        (VideoState::Decoding, 40)
    );
    count.apply(&ended(0, 40), NOW);
    let summary = summary(&count);
    assert_eq!(
        (summary.state, summary.processed_frames, summary.live.unwrap().frames),
        (VideoState::Done, 0, 40)
    );
}

#[test]
fn unconfirmed_results_are_bounded() {
    let mut count = VideoCount::new(started(1), &[]);
    let last = (0..20_000).map(|index| count.apply(&frame(index, &[]), NOW)).last();
    assert_eq!(last, Some(Applied::NotYet));
    count.apply(
        &Event::Progress(Progress { published: 15_000, frames: None, announced: None }),
        NOW,
    );
    assert_eq!(count.apply(&frame(19_999, &[]), NOW), Applied::Changed);
}
