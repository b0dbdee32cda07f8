//! Any order, any repetition, any split into batches and any crash between them lead to the same
//! totals.

use std::collections::BTreeMap;

use moliceiro_analytics::{Applied, VideoTotals};
use moliceiro_messages::{
    Abandoned, Detection, Ended, Event, Failed, Fps, FrameRange, FrameResult, FrameSelection,
    LiveStatus, Lost, Progress, Repair, Started, Summary, Tracking, VideoState,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{NOW, restarted, video};

fn started(every: u64) -> Started {
    Started {
        name: "a.mp4".into(),
        uri: "file:///a.mp4".into(),
        selection: FrameSelection::every(every),
        uploaded_at: NOW - 10_000,
        alarms: None,
        tracking: Tracking::default(),
        window: None,
        labels: vec![],
        fingerprint: None,
        model: None,
    }
}

fn at_two_fps() -> Started {
    let fps = Fps::try_from(2.0).ok();
    Started { selection: FrameSelection { fps, ..FrameSelection::every(1) }, ..started(1) }
}

fn frame(index: u64, labels: &[&str]) -> Event {
    let detection = |label: &&str| Detection {
        label: (*label).into(),
        score: 0.5,
        bounds: [0.0, 0.0, 1.0, 1.0],
    };
    let detections: Vec<_> = labels.iter().map(detection).collect();
    Event::Frame(FrameResult {
        index,
        pts: None,
        decoded_at: None,
        objects: detections.try_into().unwrap(),
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
    Event::Ended(Ended {
        frames,
        decoded,
        duration: Some(1_000_000_000),
        problem: None,
        notices: vec![],
        skipped: None,
    })
}

fn summary(totals: &VideoTotals) -> Summary {
    totals.summary(&video()).expect("a final state has a summary")
}

/// The events of a video of `n` frames, where every seventh frame fails, and some both fail and
/// are analysed.
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

fn apply_all(totals: &mut VideoTotals, batch: &[usize], events: &[Event]) {
    for i in batch {
        totals.apply(&events[*i], NOW);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn order_repetition_batches_and_crashes_change_nothing(
        n in 0_u64..60,
        every in 1_u64..4,
        repetitions in vec(any::<prop::sample::Index>(), 0..80),
        keys in vec(any::<u32>(), 300),
        crash_every in 1_usize..20,
    ) {
        let events = life(n, every);
        let mut expected = VideoTotals::new(started(every), &[]);
        for event in &events {
            expected.apply(event, NOW);
        }
        let mut shuffled = events.clone();
        shuffled.extend(repetitions.iter().map(|i| i.get(&events).clone()));
        let mut order: Vec<_> = (0..shuffled.len()).collect();
        order.sort_by_key(|i| keys[*i % keys.len()].wrapping_mul(*i as u32 + 1));

        let mut written = VideoTotals::new(started(every), &[]);
        for batch in order.chunks(crash_every) {
            // The first attempt dies before the batch is written, so the batch is redelivered.
            let mut lost = restarted(&written);
            apply_all(&mut lost, batch, &shuffled);
            let mut totals = restarted(&written);
            apply_all(&mut totals, batch, &shuffled);
            // Written, but not acknowledged: it is redelivered.
            apply_all(&mut totals, batch, &shuffled);
            written = totals;
        }
        // The number of corrections depends on the order; nothing else does.
        let timeless = |totals: &VideoTotals| Summary { corrections: 0, ..summary(totals) };
        prop_assert_eq!(timeless(&written), timeless(&expected));
        let state = if n == 0 { VideoState::Failed } else { VideoState::Done };
        prop_assert_eq!(written.state(), state);
    }

    #[test]
    fn results_of_frames_that_the_video_does_not_have_change_nothing(
        n in 1_u64..40,
        every in 1_u64..4,
        strange in any::<u64>(),
        late in any::<bool>(),
    ) {
        let no_such_frame = strange >= n * every || !strange.is_multiple_of(every);
        prop_assume!(no_such_frame);
        let mut expected = VideoTotals::new(started(every), &[]);
        let mut totals = expected.clone();
        if !late {
            totals.apply(&frame(strange, &["person"; 5]), NOW);
        }
        for event in life(n, every) {
            expected.apply(&event, NOW);
            totals.apply(&event, NOW);
        }
        if late {
            let applied = totals.apply(&frame(strange, &["person"; 5]), NOW);
            prop_assert_eq!(applied, Applied::NoSuchFrame);
        }
        prop_assert_eq!(summary(&totals), summary(&expected));
    }
}

#[test]
fn a_video_that_decodes_to_less_than_before_keeps_every_confirmed_frame() {
    let mut totals = VideoTotals::new(started(2), &[]);
    totals.apply(&Event::Progress(Progress { published: 7, frames: None, announced: None }), NOW);
    totals.apply(&frame(0, &["person"]), NOW);
    totals.apply(&ended(1, 2), NOW);
    assert_eq!(totals.state(), VideoState::Counting);
    for index in [2, 4, 6] {
        assert_eq!(totals.apply(&frame(index, &["person"]), NOW), Applied::Changed);
    }
    assert_eq!((totals.state(), summary(&totals).processed_frames), (VideoState::Incomplete, 4));
}

#[test]
fn a_video_has_a_summary_only_when_every_frame_is_counted_or_failed() {
    let mut totals = VideoTotals::new(started(1), &[]);
    assert_eq!(totals.apply(&frame(0, &["person", "car"]), NOW), Applied::Changed);
    assert_eq!(totals.state(), VideoState::Decoding);
    assert_eq!(totals.apply(&ended(3, 3), NOW), Applied::Changed);
    assert_eq!(totals.state(), VideoState::Counting);
    totals.apply(&failed(2), NOW);
    assert_eq!(totals.summary(&video()), None);
    totals.apply(&frame(1, &["car", "car"]), NOW);
    let summary = summary(&totals);
    assert_eq!(summary.state, VideoState::Done);
    assert_eq!((summary.processed_frames, summary.failed_frames), (2, 1));
    assert_eq!(summary.failed[0].reason, "reason 2");
    assert_eq!(summary.classes, BTreeMap::from([("car".into(), 3), ("person".into(), 1)]));
    assert_eq!(summary.most_at_once, BTreeMap::from([("car".into(), 2), ("person".into(), 1)]));
    assert_eq!(summary.top, ["car", "person"]);
    assert!((summary.average_processing_ms - 1.0005).abs() < 1e-9);
    assert!((summary.frames_per_second - 0.2).abs() < 1e-9);
}

#[test]
fn a_frame_that_failed_and_was_analysed_counts_as_analysed() {
    let mut totals = VideoTotals::new(started(1), &[]);
    assert_eq!(totals.apply(&frame(0, &["person"]), NOW), Applied::Changed);
    assert_eq!(totals.apply(&failed(0), NOW), Applied::Duplicate);
    assert_eq!(totals.apply(&failed(1), NOW), Applied::Changed);
    assert_eq!(totals.apply(&failed(1), NOW), Applied::Duplicate);
    assert_eq!(totals.apply(&failed(2), NOW), Applied::Changed);
    assert_eq!(totals.apply(&frame(2, &["car"]), NOW), Applied::Changed);
    assert_eq!(totals.apply(&ended(3, 3), NOW), Applied::Changed);
    let first = summary(&totals);
    assert_eq!((first.processed_frames, first.failed_frames, first.corrections), (2, 1, 0));

    assert_eq!(restarted(&totals).apply(&failed(1), NOW), Applied::Duplicate);
    assert_eq!(totals.apply(&frame(1, &["person"]), NOW), Applied::Changed);
    let corrected = summary(&restarted(&totals));
    assert_eq!(
        (corrected.processed_frames, corrected.failed_frames, corrected.corrections),
        (3, 0, 1)
    );
    assert_eq!((corrected.count("person"), corrected.failed.len()), (2, 0));
    assert_eq!(
        corrected.wall_time_s, first.wall_time_s,
        "a correction does not change when the video was done"
    );
    assert!(corrected.to_string().starts_with("a.mp4 (corrected)\n"));
}

#[test]
fn a_summary_names_every_model_that_analysed_a_counted_frame() {
    let models = |events: &[Event]| {
        let mut totals = VideoTotals::new(started(1), &[]);
        for event in events {
            totals.apply(event, NOW);
            totals = restarted(&totals);
        }
        summary(&totals).models
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
        "the video does not have frame 4"
    );
}

fn lost() -> Event {
    Event::Lost(Lost { reason: "no file".into() })
}

#[test]
fn what_is_missing_is_named_and_fails_by_name_once_it_is_lost() {
    let mut totals = VideoTotals::new(started(2), &[]);
    assert!(totals.missing().is_empty(), "nobody knows how many there are");
    for index in [0, 2, 6, 14] {
        totals.apply(&frame(index, &["person"]), NOW);
    }
    totals.apply(&ended(8, 16), NOW);
    assert_eq!((totals.missing_frames(), totals.state()), (4, VideoState::Counting));
    assert_eq!(totals.missing(), [FrameRange(3, 5), FrameRange(7, 13)]);
    assert_eq!(totals.apply(&frame(8, &["person"]), NOW), Applied::Changed);
    let mut totals = restarted(&totals);
    assert_eq!(totals.apply(&lost(), NOW), Applied::Changed);
    let after = summary(&totals);
    assert_eq!((after.state, after.processed_frames), (VideoState::Done, 5));
    let failed: Vec<_> = after.failed.iter().map(|frame| frame.index).collect();
    assert_eq!(failed, [4, 10, 12]);
    assert_eq!(after.notices, ["3 frames were lost and not decoded again: no file"]);
    assert_eq!(totals.apply(&lost(), NOW), Applied::Duplicate);
    // A detector had it after all.
    totals.apply(&frame(4, &["person"]), NOW);
    let corrected = summary(&totals);
    assert_eq!((corrected.processed_frames, corrected.failed_frames), (6, 2));
    assert_eq!(corrected.count("person"), 6);
}

#[test]
fn frames_selected_by_time_fail_about_where_they_were() {
    let mut totals = VideoTotals::new(at_two_fps(), &[]);
    for index in [0, 12, 36, 48] {
        totals.apply(&frame(index, &[]), NOW);
    }
    totals.apply(&ended(5, 50), NOW);
    assert_eq!(totals.missing_frames(), 1);
    assert!(totals.missing().contains(&FrameRange(13, 35)));
    totals.apply(&lost(), NOW);
    let failed = summary(&totals).failed;
    assert_eq!((failed.len(), failed[0].index), (1, 24));
    assert!(failed[0].reason.contains("estimated"));
}

#[test]
fn a_video_whose_end_is_wrong_or_lost_ends_all_the_same() {
    let mut totals = VideoTotals::new(started(1), &[]);
    totals.apply(&frame(0, &[]), NOW);
    totals.apply(&ended(u64::MAX, 2), NOW);
    totals.apply(&lost(), NOW);
    let ends = summary(&totals);
    assert_eq!((ends.state, ends.processed_frames), (VideoState::Incomplete, 1));

    let mut totals = VideoTotals::new(started(1), &[]);
    totals.apply(&frame(1, &[]), NOW);
    totals.apply(&Event::Progress(Progress { published: 2, frames: None, announced: None }), NOW);
    totals.apply(&lost(), NOW);
    let ends = summary(&totals);
    assert_eq!((ends.state, ends.processed_frames), (VideoState::Incomplete, 1));
    assert_eq!((ends.failed_frames, ends.failed[0].index), (1, 0));
}

#[test]
fn a_video_without_almost_any_frame_names_a_bounded_number_of_ranges() {
    let mut totals = VideoTotals::new(started(1), &[]);
    totals.apply(
        &Event::Progress(Progress { published: 40_000, frames: None, announced: None }),
        NOW,
    );
    for index in (0..40_000).step_by(2) {
        totals.apply(&frame(index, &[]), NOW);
    }
    totals.apply(&ended(40_000, 40_000), NOW);
    let missing = totals.missing();
    assert_eq!(missing.len(), Repair::MOST_RANGES);
    assert_eq!((missing[0], missing.last().unwrap().1), (FrameRange(1, 1), 39_999));
}

#[test]
fn an_abandoned_video_is_incomplete_with_what_was_confirmed() {
    let mut totals = VideoTotals::new(started(2), &[]);
    for index in [0, 2, 4, 6] {
        totals.apply(&frame(index, &["person"]), NOW);
    }
    totals.apply(&Event::Progress(Progress { published: 5, frames: None, announced: None }), NOW);
    totals.apply(&Event::Abandoned(Abandoned { reason: "no ingest".into() }), NOW);
    let summary = summary(&totals);
    assert_eq!((summary.state, summary.processed_frames), (VideoState::Incomplete, 3));
    assert_eq!(summary.problem.as_deref(), Some("no ingest"));
}

#[test]
fn an_abandoned_video_with_frames_selected_by_time_has_the_frames_that_were_confirmed() {
    let mut totals = VideoTotals::new(at_two_fps(), &[]);
    for index in [3, 16, 28] {
        totals.apply(&frame(index, &["person"]), NOW);
    }
    totals
        .apply(&Event::Progress(Progress { published: 17, frames: Some(2), announced: None }), NOW);
    let mut totals = restarted(&totals);
    totals.apply(&Event::Abandoned(Abandoned { reason: "no ingest".into() }), NOW);
    let summary = summary(&totals);
    assert_eq!(
        (summary.state, summary.processed_frames, summary.count("person")),
        (VideoState::Incomplete, 2, 2)
    );
}

#[test]
fn a_video_with_frames_selected_by_time_that_decodes_to_less_keeps_every_confirmed_frame() {
    let mut totals = VideoTotals::new(at_two_fps(), &[]);
    totals
        .apply(&Event::Progress(Progress { published: 17, frames: Some(2), announced: None }), NOW);
    totals.apply(&ended(1, 9), NOW);
    totals.apply(&frame(3, &["person"]), NOW);
    assert_eq!(totals.state(), VideoState::Counting);
    totals.apply(&frame(16, &["person"]), NOW);
    assert_eq!((totals.state(), summary(&totals).processed_frames), (VideoState::Incomplete, 2));
}

#[test]
fn a_live_source_ends_after_the_report_of_its_last_window_or_without_it_if_that_is_lost() {
    let status = |at, frames| Event::Live(LiveStatus { at, frames, ..LiveStatus::default() });
    let mut totals = VideoTotals::new(started(1), &[]);
    totals.apply(&status(1, 20), NOW);
    assert_eq!(totals.apply(&ended(0, 40), NOW), Applied::NotYet);
    let mut without = restarted(&totals);
    assert_eq!(without.apply_despite_gap(&ended(0, 40), NOW), Applied::Changed);
    assert_eq!(without.state(), VideoState::Done);
    totals.apply(&status(2, 40), NOW);
    assert_eq!(totals.apply(&ended(0, 40), NOW), Applied::Changed);
    assert_eq!((totals.state(), summary(&totals).live.unwrap().frames), (VideoState::Done, 40));
}

#[test]
fn a_live_source_shows_its_latest_status_and_ends_without_frames_of_its_own() {
    let status = |at, frames| Event::Live(LiveStatus { at, frames, ..LiveStatus::default() });
    let mut totals = VideoTotals::new(started(1), &[]);
    assert_eq!(totals.apply(&status(2, 40), NOW), Applied::Changed);
    assert_eq!(totals.apply(&status(1, 20), NOW), Applied::Duplicate);
    let mut totals = restarted(&totals);
    assert_eq!(
        (totals.state(), totals.to_entry(&video(), false).published),
        (VideoState::Decoding, 40)
    );
    totals.apply(&ended(0, 40), NOW);
    let summary = summary(&totals);
    assert_eq!(
        (summary.state, summary.processed_frames, summary.live.unwrap().frames),
        (VideoState::Done, 0, 40)
    );
}

#[test]
fn unconfirmed_results_are_bounded() {
    let mut totals = VideoTotals::new(started(1), &[]);
    let last = (0..20_000).map(|index| totals.apply(&frame(index, &[]), NOW)).last();
    assert_eq!(last, Some(Applied::NotYet));
    totals.apply(
        &Event::Progress(Progress { published: 15_000, frames: None, announced: None }),
        NOW,
    );
    assert_eq!(totals.apply(&frame(19_999, &[]), NOW), Applied::Changed);
}
