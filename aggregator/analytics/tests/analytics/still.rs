//! Frames that carry the objects of another one count as if they had been analysed.

use moliceiro_analytics::{Applied, VideoTotals};
use moliceiro_messages::{
    Cancelled, Carried, CarriedRun, Detection, Ended, Event, Failed, Fps, FrameResult,
    FrameSelection, Progress, Skipped, Started, Summary, Tracking, VideoState,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{NOW, restarted, video};

fn started(skip_still: bool) -> Started {
    Started {
        name: "quay.mp4".into(),
        uri: "file:///quay.mp4".into(),
        selection: FrameSelection { skip_still, ..FrameSelection::every(1) },
        uploaded_at: NOW - 10_000,
        alarms: Some(vec!["person >= 2 for 3 frames".parse().unwrap()]),
        tracking: Tracking::default(),
        window: None,
        labels: vec![],
        fingerprint: None,
        model: None,
    }
}

fn frame(index: u64, persons: u64, processing_us: u64) -> Event {
    let person = |_| Detection { label: "person".into(), score: 0.5, bounds: [0.0, 0.0, 1.0, 1.0] };
    Event::Frame(FrameResult {
        index,
        pts: Some(index * 40),
        decoded_at: None,
        objects: (0..persons).map(person).collect::<Vec<_>>().try_into().unwrap(),
        size: None,
        processing_us,
        detector: "d".into(),
        model: None,
    })
}

fn failed(index: u64) -> Event {
    Event::Failed(Failed { index, reason: "no pixels".into(), detector: None, deliveries: 5 })
}

fn ended(frames: u64) -> Event {
    Event::Ended(Ended {
        frames,
        decoded: frames,
        duration: None,
        problem: None,
        notices: vec![],
        skipped: Some(Skipped::default()),
    })
}

fn report(from: u64, published: u64, runs: Vec<CarriedRun>) -> Event {
    Event::Carried(Carried { from, published, frames: published, announced: Some(99), runs })
}

fn run(source: u64, frames: std::ops::Range<u64>) -> CarriedRun {
    CarriedRun { source, frames: frames.map(|index| (index, Some(index * 40))).collect() }
}

/// The events of a video with and without skipping: its frames are in runs of these lengths.
/// Reports are between some of the runs.
fn lives(lengths: &[u64]) -> (Vec<Event>, Vec<Event>) {
    let (mut skipped, mut whole) = (vec![], vec![]);
    let (mut next, mut from, mut runs) = (0, 0, vec![]);
    for (n, length) in (0..).zip(lengths) {
        let (source, end) = (next, next + length);
        next = end;
        let fails = n % 5 == 3;
        let result = |index, us| if fails { failed(index) } else { frame(index, n % 4, us) };
        skipped.push(result(source, 1000));
        whole.push(result(source, 1000));
        whole.extend((source + 1..end).map(|index| result(index, 0)));
        runs.push(run(source, source + 1..end));
        if n % 3 == 2 {
            skipped.push(report(from, end, std::mem::take(&mut runs)));
            from = end;
        }
    }
    skipped.push(report(from, next, runs));
    let progress = Progress { published: next, frames: Some(next), announced: None };
    whole.push(Event::Progress(progress));
    for life in [&mut skipped, &mut whole] {
        life.push(ended(next));
    }
    (skipped, whole)
}

fn summary(totals: &VideoTotals) -> Summary {
    totals.summary(&video()).expect("a final state has a summary")
}

/// What does not differ: only the number of analysed frames does, and the reasons of failures.
fn counts(totals: &VideoTotals) -> impl PartialEq + std::fmt::Debug {
    let Summary { state, total_frames, failed_frames, classes, most_at_once, alarms, .. } =
        summary(totals);
    let unpublished = totals.unpublished_alarms(&video());
    (state, total_frames, failed_frames, classes, most_at_once, alarms, unpublished)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_order_repetition_batches_and_crashes_give_the_counts_of_all_frames(
        lengths in vec(1_u64..9, 1..25),
        keys in vec(any::<u32>(), 100),
        crash_every in 1_usize..12,
    ) {
        let (skipped, whole) = lives(&lengths);
        let mut expected = VideoTotals::new(started(false), &[]);
        for event in &whole {
            expected.apply(event, NOW);
        }
        let mut order: Vec<_> = (0..skipped.len() * 2).collect();
        order.sort_by_key(|i| keys[*i % keys.len()].wrapping_mul(*i as u32 + 1));
        let mut waiting: Vec<_> = order.iter().map(|i| &skipped[i % skipped.len()]).collect();
        let mut written = VideoTotals::new(started(true), &[]);
        while !waiting.is_empty() {
            let before = waiting.len();
            let mut later = vec![];
            for batch in waiting.chunks(crash_every) {
                let mut totals = restarted(&written);
                for event in batch {
                    if totals.apply(event, NOW) == Applied::NotYet {
                        later.push(*event);
                    }
                }
                // Written, but not acknowledged: it is redelivered.
                for event in batch {
                    totals.apply(event, NOW);
                }
                written = totals;
            }
            prop_assert!(later.len() < before, "nothing of {later:?} can ever be applied");
            waiting = later;
        }
        prop_assert_eq!(counts(&written), counts(&expected));
        let Summary { processed_frames, skipped, failed_frames, total_frames, .. } =
            summary(&written);
        prop_assert_eq!(Some(processed_frames + skipped.total() + failed_frames), total_frames);
        let analysed = (0..lengths.len()).filter(|n| n % 5 != 3).count() as u64;
        prop_assert_eq!(processed_frames, analysed);
    }
}

#[test]
fn frames_that_equal_a_failed_one_fail_with_it_until_it_is_analysed_after_all() {
    let mut totals = VideoTotals::new(started(true), &[]);
    totals.apply(&failed(0), NOW);
    totals.apply(&report(0, 4, vec![run(0, 1..4)]), NOW);
    totals.apply(&ended(4), NOW);
    let before = summary(&totals);
    assert_eq!((before.processed_frames, before.failed_frames), (0, 4));
    assert_eq!(before.failed[2].reason, "as frame 0, which it equals: no pixels");
    let mut totals = restarted(&totals);
    assert_eq!(totals.apply(&frame(0, 1, 5), NOW), Applied::Changed);
    let after = summary(&totals);
    assert_eq!((after.processed_frames, after.failed_frames, after.skipped.still), (1, 0, 3));
    assert_eq!((after.count("person"), after.corrections), (4, 4));
    assert!(after.failed.is_empty());
    assert!((after.average_processing_ms - 0.005).abs() < 1e-9);
}

#[test]
fn a_report_waits_for_the_one_before_it_and_the_end_for_all() {
    let mut totals = VideoTotals::new(started(true), &[]);
    totals.apply(&frame(0, 1, 1), NOW);
    totals.apply(&frame(4, 2, 1), NOW);
    assert_eq!(totals.apply(&ended(9), NOW), Applied::NotYet);
    let (first, second) = (report(0, 4, vec![run(0, 1..4)]), report(4, 9, vec![run(4, 5..9)]));
    assert_eq!(totals.apply(&second, NOW), Applied::NotYet);
    assert_eq!(totals.apply(&first, NOW), Applied::Changed);
    assert_eq!(totals.apply(&first, NOW), Applied::Duplicate);
    assert_eq!(totals.apply(&second, NOW), Applied::Changed);
    assert_eq!(totals.apply(&ended(9), NOW), Applied::Changed);
    assert_eq!((totals.state(), summary(&totals).count("person")), (VideoState::Done, 4 + 10));
    // A result of a frame that carries another's is one too many.
    assert_eq!(totals.apply(&frame(7, 9, 1), NOW), Applied::Duplicate);
}

#[test]
fn a_lost_report_costs_only_the_frames_in_it() {
    let mut totals = VideoTotals::new(started(true), &[]);
    totals.apply(&frame(0, 1, 1), NOW);
    totals.apply(&frame(4, 2, 1), NOW);
    let second = report(4, 9, vec![run(4, 5..9)]);
    assert_eq!(totals.apply(&second, NOW), Applied::NotYet);
    assert_eq!(totals.apply_despite_gap(&second, NOW), Applied::Changed);
    assert_eq!(totals.apply(&ended(9), NOW), Applied::Changed);
    assert_eq!(totals.state(), VideoState::Counting);
    // They can be decoded again, and then have results of their own.
    for index in 1..4 {
        totals.apply(&frame(index, 1, 1), NOW);
    }
    assert_eq!((totals.state(), summary(&totals).count("person")), (VideoState::Done, 4 + 10));
    let mut without_end = VideoTotals::new(started(true), &[]);
    assert_eq!(without_end.apply_despite_gap(&ended(0), NOW), Applied::Changed);
}

#[test]
fn a_report_that_overlaps_an_earlier_one_adds_only_what_is_new() {
    // An ingest that takes over reports in other steps.
    let mut totals = VideoTotals::new(started(true), &[]);
    totals.apply(&report(0, 4, vec![run(0, 1..4)]), NOW);
    totals.apply(&report(0, 9, vec![run(0, 1..4), run(4, 5..9)]), NOW);
    totals.apply(&ended(9), NOW);
    totals.apply(&frame(4, 2, 1), NOW);
    totals.apply(&frame(0, 1, 1), NOW);
    assert_eq!((totals.state(), summary(&totals).count("person")), (VideoState::Done, 4 + 10));
}

#[test]
fn every_summary_accounts_for_all_frames() {
    let by = |selection: FrameSelection, frames: u64, skipped: Option<Skipped>| {
        let mut totals = VideoTotals::new(Started { selection, ..started(false) }, &[]);
        for index in (0..frames).map(|n| n * selection.every) {
            totals.apply(&frame(index, 0, 1), NOW);
        }
        let Event::Ended(ended) = ended(frames) else { unreachable!() };
        totals.apply(&Event::Ended(Ended { decoded: 10, skipped, ..ended }), NOW);
        let Summary { total_frames, processed_frames, skipped, .. } = summary(&totals);
        assert_eq!(total_frames, Some(processed_frames + skipped.total()));
        skipped
    };
    let none = Skipped::default();
    let fps = FrameSelection { fps: Fps::try_from(1.0).ok(), ..FrameSelection::every(1) };
    assert_eq!(by(FrameSelection::every(1), 10, Some(none)), none);
    let key = Skipped { not_key: 490, ..none };
    assert_eq!(by(FrameSelection::every(1), 10, Some(key)), key);
    // An ingest of an earlier release gives no reasons.
    assert_eq!(by(FrameSelection::every(2), 5, None), Skipped { every: 5, ..none });
    assert_eq!(by(fps, 3, None), Skipped { fps: 7, ..none });
    let both = FrameSelection { start: "2".parse().ok(), ..fps };
    assert_eq!(by(both, 3, None), Skipped { unselected: 7, ..none });
}

#[test]
fn the_rest_of_a_cancelled_video_is_accounted_for() {
    let mut totals = VideoTotals::new(started(true), &[]);
    totals.apply(&frame(0, 1, 1), NOW);
    totals.apply(&report(0, 10, vec![run(0, 1..6), run(6, 7..10)]), NOW);
    totals.apply(&Event::Cancelled(Cancelled { reason: "enough".into() }), NOW);
    let Summary { total_frames, processed_frames, skipped, .. } = summary(&totals);
    assert_eq!((total_frames, processed_frames), (Some(10), 1));
    assert_eq!(skipped, Skipped { still: 5, cancelled: 4, ..Skipped::default() });
}
