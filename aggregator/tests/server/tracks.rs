//! Tracks, lines, zones and alarms are those of all results in frame order, whatever the order of
//! arrival and whichever aggregator is killed.

use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use moliceiro_aggregator::AggregatorSettings;
use moliceiro_analytics::{Finding, Fold};
use moliceiro_nats::detections::detections;
use moliceiro_nats::messages::{
    Alarm, AnalyticsSummary, Cancelled, Carried, CarriedRun, Ended, Event, Failed, FrameResult,
    Limits, LiveStatus, LiveWindow, Object, Objects, Score, Size, Skipped, Started, Summary,
    TrackRecord, TrackerKind, Tracking, VideoTrack, from_json,
};
use moliceiro_nats::{VideoId, subjects};
use moliceiro_replay::{Question, analyse, fold_frame, rules_of};
use moliceiro_testing::events::{progress, started, video};
use moliceiro_testing::{HANG_GUARD, until};

use crate::site::{Aggregator, Site};

const FRAMES: u64 = 90;
const SIZE: Size = Size { width: 640, height: 360 };

/// Moves items by less than `reach` places.
fn shuffle<T>(random: &mut Rng, items: &mut [T], reach: usize) {
    for i in 0..items.len() {
        let other = (i + random.usize(..reach)).min(items.len() - 1);
        items.swap(i, other);
    }
}

fn asked() -> Started {
    let Event::Started(started) = started() else { unreachable!() };
    let place = |text: &str| vec![text.parse().unwrap()];
    let zones = vec!["quay: 0.3,0 0.7,0 0.7,1 0.3,1".parse().unwrap()];
    let tracking = Tracking { tracker: None, lines: place("gate: 0.5,0 0.5,1"), zones };
    let alarms =
        ["person crosses gate", "2 persons in quay", "person > 2", "person in quay for 1s"];
    let alarms = Some(alarms.map(|rule| rule.parse().unwrap()).to_vec());
    Started { tracking, alarms, ..started }
}

/// Persons that walk across the picture in both directions; some are not found in some frames, and
/// some frames fail.
fn film(random: &mut Rng, first: u64) -> Vec<Event> {
    let frame = |index: u64| {
        if random.u32(..20) == 0 {
            let reason = "no pixels".to_owned();
            return Event::Failed(Failed { index, reason, detector: None, deliveries: 5 });
        }
        let mut objects = Objects::new(limits());
        for person in 0..4_u16 {
            let time = (first + index) as f32 / 25.0;
            let way = time * 90.0 + f32::from(person) * 60.0;
            let left = if person % 2 == 0 { way } else { 600.0 - way };
            let top = 20.0 + f32::from(person) * 80.0;
            if random.u32(..5) > 0 && (0.0..600.0).contains(&left) {
                let shake = random.f32() * 5.0;
                let bounds = [left + shake, top, left + 40.0 + shake, top + 70.0];
                let score = if random.u32(..4) == 0 { 0.3 } else { 0.8 };
                objects.push(SIZE, Object { class: 0, label: "person", score, bounds });
            }
        }
        result(index, objects)
    };
    (0..FRAMES).map(frame).collect()
}

/// A frame's result. There are 25 frames per second.
fn result(index: u64, objects: Objects) -> Event {
    Event::Frame(FrameResult {
        index,
        pts: Some(index * 40_000_000),
        decoded_at: None,
        objects,
        size: Some(SIZE),
        processing_us: 1000,
        detector: "test".into(),
        model: None,
    })
}

fn limits() -> Limits {
    Limits { floor: Score::nearest(0.1), threshold: Score::nearest(0.4) }
}

fn ended() -> Event {
    let duration = Some(FRAMES * 40_000_000);
    let (problem, notices) = (None, vec![]);
    let (frames, decoded, skipped) = (FRAMES, FRAMES, Some(Skipped::default()));
    Event::Ended(Ended { frames, decoded, duration, problem, notices, skipped })
}

#[derive(Debug, Default, PartialEq)]
struct Found {
    tracks: Vec<TrackRecord>,
    alarms: Vec<(u64, u64, String)>,
    analytics: AnalyticsSummary,
}

/// What follows from all results in frame order, in one process.
struct Oracle {
    /// Of each film.
    found: Vec<Found>,
    /// Of a live source: what all its windows come to.
    source: AnalyticsSummary,
}

/// `is_continued`: what is in the picture at the end of a window may be in the next one.
fn oracle(started: &Started, films: &[Vec<Event>], is_continued: bool) -> Oracle {
    let rules = rules_of(started, &[]);
    let mut fold = Fold::new(&rules);
    let mut all = Vec::new();
    for (n, film) in films.iter().enumerate() {
        if n > 0 {
            fold = Fold::continue_from(fold, &rules);
        }
        let mut found = Found::default();
        for event in film {
            match event {
                Event::Frame(frame) => {
                    fold_frame(&mut fold, frame, None, &mut |finding| found.keep(finding));
                }
                Event::Failed(failed) => fold.failed(failed.index, None),
                _ => unreachable!(),
            }
        }
        let is_window = started.window.is_some();
        found.analytics = fold.summary();
        if n + 1 == films.len() || !is_continued {
            fold.end(&mut |finding| found.keep(finding));
        }
        if !is_window {
            found.analytics = fold.summary();
        }
        all.push(found);
    }
    Oracle { found: all, source: fold.source_summary() }
}

impl Found {
    fn keep(&mut self, finding: Finding) {
        match finding {
            Finding::Track(track) => self.tracks.push(track),
            Finding::Alarm(alarm) => {
                self.alarms.push((alarm.number, alarm.frame, alarm.rule.to_string()));
            }
            _ => {}
        }
    }
}

async fn published(site: &Site, video: &VideoId, summary: &Summary) -> Found {
    let mut found = Found::default();
    let subject = subjects::tracks(video);
    let mut next = 1;
    while let Ok(message) =
        site.streams.tracks.get_first_raw_message_by_subject(&subject, next).await
    {
        next = message.sequence + 1;
        let track: VideoTrack = from_json(&message.payload).unwrap();
        assert_eq!(track.video, *video);
        found.tracks.push(track.track);
    }
    let subject = subjects::alarms(video);
    let mut next = 1;
    while let Ok(message) =
        site.streams.summaries.get_first_raw_message_by_subject(&subject, next).await
    {
        next = message.sequence + 1;
        let alarm: Alarm = from_json(&message.payload).unwrap();
        found.alarms.push((alarm.number, alarm.frame, alarm.rule.to_string()));
    }
    found.analytics = summary.tracked.analytics().unwrap();
    found
}

/// Stores the results of a film out of order, in several parts, with progress between them.
async fn store(site: &Site, video: &VideoId, film: &[Event], random: &mut Rng) {
    let mut events: Vec<_> = film.to_vec();
    shuffle(random, &mut events, 12);
    let part = random.usize(5..35);
    for (n, events) in events.chunks(part).enumerate() {
        stream::iter(events.iter().cloned())
            .for_each_concurrent(8, |event| site.store(video, event))
            .await;
        site.store(video, progress(FRAMES.min(((n + 1) * part) as u64))).await;
        tokio::time::sleep(Duration::from_millis(random.u64(..120))).await;
    }
    site.store(video, ended()).await;
}

/// A film of which about three of four frames equal the one before: as it would be without skipping
/// them, and the events that are stored instead.
fn still(film: &[Event], random: &mut Rng) -> (Vec<Event>, Vec<Event>) {
    let (mut whole, mut stored, mut runs) = (vec![], vec![], Vec::<CarriedRun>::new());
    let (mut source, mut from) = (0, 0);
    let report = |from, published, runs| {
        Event::Carried(Carried { from, published, frames: published, announced: None, runs })
    };
    for (index, event) in (0..).zip(film) {
        if index == 0 || random.u32(..4) == 0 {
            source = index;
            stored.push(event.clone());
            whole.push(event.clone());
            if random.u32(..3) == 0 && index > 0 {
                stored.push(report(from, index, std::mem::take(&mut runs)));
                from = index;
            }
            continue;
        }
        let pts = Some(index * 40_000_000);
        match runs.last_mut().filter(|run| run.source == source) {
            Some(run) => run.frames.push((index, pts)),
            None => runs.push(CarriedRun { source, frames: vec![(index, pts)] }),
        }
        whole.push(match &film[usize::try_from(source).unwrap()] {
            Event::Frame(frame) => Event::Frame(frame.carried_by(index, pts)),
            Event::Failed(failed) => Event::Failed(Failed { index, ..failed.clone() }),
            other => unreachable!("{other:?}"),
        });
    }
    stored.push(report(from, FRAMES, runs));
    (whole, stored)
}

/// Stores these events out of order, in several parts, and the end perhaps before the last of them.
async fn store_still(site: &Site, video: &VideoId, mut events: Vec<Event>, random: &mut Rng) {
    shuffle(random, &mut events, 12);
    events.push(ended());
    shuffle(random, &mut events, 3);
    for events in events.chunks(random.usize(5..35)) {
        stream::iter(events.iter().cloned())
            .for_each_concurrent(8, |event| site.store(video, event))
            .await;
        tokio::time::sleep(Duration::from_millis(random.u64(..120))).await;
    }
}

/// `MOLICEIRO_TRACK_RUNS=200` makes more of it.
#[tokio::test(flavor = "multi_thread")]
async fn any_order_any_batches_and_any_kill_give_the_tracks_of_all_results_in_frame_order() {
    let runs = std::env::var("MOLICEIRO_TRACK_RUNS").ok().and_then(|runs| runs.parse().ok());
    let site = Site::start().await;
    let done = tokio_util::sync::CancellationToken::new();
    let killing = async {
        let mut random = Rng::with_seed(99);
        let mut aggregators = vec![site.aggregator()];
        while !done.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(random.u64(200..1200))).await;
            if random.bool() {
                aggregators.push(site.aggregator());
            }
            if aggregators.len() > random.usize(1..3) {
                aggregators.remove(0).kill().await;
            }
        }
        aggregators
    };
    let counting = async {
        for round in 0..runs.unwrap_or(8_u64).div_ceil(4) {
            let films = (0..4).map(|n| round * 4 + n).map(|run| {
                let site = &site;
                async move {
                    let mut random = Rng::with_seed(run);
                    let video = video(&format!("film-{run}"));
                    let (mut started, mut film) = (asked(), film(&mut random, 0));
                    // Of every second film, still frames are skipped.
                    started.selection.skip_still = run % 2 == 1;
                    site.store(&video, Event::Started(started.clone())).await;
                    if started.selection.skip_still {
                        let (whole, stored) = still(&film, &mut random);
                        film = whole;
                        store_still(site, &video, stored, &mut random).await;
                    } else {
                        store(site, &video, &film, &mut random).await;
                    }
                    let summary = site.summary(&video).await;
                    let analysed = film.iter().filter_map(|event| match event {
                        Event::Frame(frame) => Some(frame.index),
                        _ => None,
                    });
                    let analysed: Vec<_> = analysed.collect();
                    let expected = oracle(&started, &[film], true).found.remove(0);
                    assert!(!expected.tracks.is_empty());
                    let found = published(site, &video, &summary).await;
                    assert_eq!(found.alarms, expected.alarms, "run {run}");
                    assert_eq!(found.analytics, expected.analytics, "run {run}");
                    assert_eq!(found.tracks, expected.tracks, "run {run}");
                    assert_eq!(summary.alarms, expected.alarms.len() as u64);
                    let Summary { processed_frames, failed_frames, skipped, .. } = summary;
                    assert_eq!(processed_frames + failed_frames + skipped.still, FRAMES);
                    assert_eq!(skipped.still > 0, started.selection.skip_still);
                    let rows = detections(&site.streams, &video).map(|frame| frame.unwrap().index);
                    let rows: Vec<_> = rows.collect().await;
                    assert_eq!(rows, analysed, "run {run}");
                    let analysis =
                        analyse(&site.streams, &video, &Question::default()).await.unwrap();
                    assert!(analysis.complete && analysis.gap().is_none(), "{analysis:?}");
                    assert_eq!(analysis.analytics, expected.analytics);
                    assert_eq!(analysis.track_records, expected.tracks);
                }
            });
            join_all(films).await;
        }
        done.cancel();
    };
    let (aggregators, ()) = tokio::join!(killing, counting);
    join_all(aggregators.into_iter().map(crate::site::Aggregator::stop)).await;
    let state = site.streams.folds.stream.get_info().await.unwrap();
    let kept = site.streams.folds.entry("film-0").await.unwrap();
    assert!(kept.is_none_or(|kept| kept.value.is_empty()), "{state:?}");
}

/// A live source, and its windows, each of one film.
struct Camera {
    source: VideoId,
    windows: Vec<VideoId>,
    starts: Vec<Started>,
}

impl Camera {
    /// There are so many milliseconds between the end of a window and the next one.
    fn new(windows: u64, gap: u64) -> Self {
        let source = video("camera");
        let begins = |n: u64| n * (FRAMES * 40 + gap);
        let ids: Vec<_> = (0..windows).map(|n| source.window(begins(n)).unwrap()).collect();
        let started = |n: u64| Started {
            uploaded_at: begins(n),
            window: Some(LiveWindow {
                source: source.clone(),
                follows: n
                    .checked_sub(1)
                    .map(|before| ids[usize::try_from(before).unwrap()].clone()),
            }),
            ..asked()
        };
        let starts = (0..windows).map(started).collect();
        Self { source, windows: ids, starts }
    }

    async fn start(&self, site: &Site) {
        let last = self.windows.last().cloned();
        let status = LiveStatus { at: 1, last, ..LiveStatus::default() };
        site.store(&self.source, Event::Started(asked())).await;
        // A window is opened later, when the source is known.
        site.entry_where(&self.source, |_| true).await;
        site.store(&self.source, Event::Live(status)).await;
        for (window, started) in self.windows.iter().zip(&self.starts) {
            site.store(window, Event::Started(started.clone())).await;
        }
    }

    /// Windows stand still while others are stored: they are not given up.
    fn aggregator(site: &Site) -> Aggregator {
        let settings =
            AggregatorSettings { repair_after: HANG_GUARD, ..AggregatorSettings::default() };
        site.aggregator_with(settings)
    }

    async fn end(&self, site: &Site) -> Summary {
        let end = Ended {
            frames: 0,
            decoded: 0,
            duration: None,
            problem: None,
            notices: vec![],
            skipped: None,
        };
        site.store(&self.source, Event::Ended(end)).await;
        site.summary(&self.source).await
    }
}

/// The windows are counted side by side, and the first one is finished last. The tracks that are
/// open when the source ends are published like those before.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_that_stands_across_the_edge_of_two_windows_is_one_person() {
    let (site, camera, mut random) = (Site::start().await, Camera::new(2, 0), Rng::with_seed(5));
    let films: Vec<_> = [0, FRAMES].map(|first| film(&mut random, first)).into();
    let aggregator = Camera::aggregator(&site);
    camera.start(&site).await;
    for n in [1, 0] {
        store(&site, &camera.windows[n], &films[n], &mut random).await;
    }
    let of_source = camera.end(&site).await;
    let Oracle { found, source } = oracle(&camera.starts[1], &films, true);
    assert_eq!(of_source.tracked.analytics().unwrap(), source);
    let mut tracks = 0;
    for (window, expected) in camera.windows.iter().zip(&found) {
        let summary = site.summary(window).await;
        assert_eq!(published(&site, window, &summary).await, *expected);
        tracks += expected.tracks.len() as u64;
    }
    assert_eq!(source.tracks.values().sum::<u64>(), tracks, "each is published once");
    aggregator.stop().await;
}

/// A source that is cancelled does not wait for its last window.
#[tokio::test(flavor = "multi_thread")]
async fn the_tracks_of_the_last_window_of_a_cancelled_source_are_all_published() {
    let (site, camera, mut random) = (Site::start().await, Camera::new(1, 0), Rng::with_seed(6));
    let film = film(&mut random, 0);
    let aggregator = Camera::aggregator(&site);
    camera.start(&site).await;
    let cancelled = Cancelled { reason: "enough".into() };
    site.store(&camera.source, Event::Cancelled(cancelled)).await;
    site.summary(&camera.source).await;
    let window = &camera.windows[0];
    store(&site, window, &film, &mut random).await;
    let summary = site.summary(window).await;
    let expected = oracle(&camera.starts[0], &[film], true).found.remove(0);
    until("all tracks", async || {
        let found = published(&site, window, &summary).await;
        (found.tracks.len() == expected.tracks.len()).then(|| assert_eq!(found, expected))
    })
    .await;
    aggregator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_totals_of_a_source_grow_when_its_next_window_is_opened() {
    let (site, camera, mut random) = (Site::start().await, Camera::new(1, 0), Rng::with_seed(9));
    let aggregator = Camera::aggregator(&site);
    camera.start(&site).await;
    let window = &camera.windows[0];
    store(&site, window, &film(&mut random, 0), &mut random).await;
    let expected = site.summary(window).await.tracked.analytics().unwrap();
    let last = camera.source.window(FRAMES * 40);
    let status = LiveStatus { at: 2, last, windows: 1, ..LiveStatus::default() };
    site.store(&camera.source, Event::Live(status)).await;
    site.entry_where(&camera.source, |entry| entry.analytics.as_ref() == Some(&expected)).await;
    aggregator.stop().await;
}

/// Its totals are what is known by then, although nothing of its last window is.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_cancelled_has_the_totals_of_the_windows_before_the_last_one() {
    let (site, camera, mut random) = (Site::start().await, Camera::new(2, 0), Rng::with_seed(9));
    let aggregator = Camera::aggregator(&site);
    camera.start(&site).await;
    let window = &camera.windows[0];
    store(&site, window, &film(&mut random, 0), &mut random).await;
    let expected = site.summary(window).await.tracked.analytics().unwrap();
    site.entry_where(&camera.windows[1], |_| true).await;
    let cancelled = Cancelled { reason: "enough".into() };
    site.store(&camera.source, Event::Cancelled(cancelled)).await;
    let of_source = site.summary(&camera.source).await;
    assert!(expected.tracks["person"] > 1, "{expected:?}");
    assert_eq!(of_source.tracked.analytics().unwrap(), expected);
    aggregator.stop().await;
}

/// Nobody knows who is the same one after a gap: the tracks before it are over.
#[tokio::test(flavor = "multi_thread")]
async fn the_tracks_before_a_gap_between_two_windows_are_published_with_their_window() {
    let (site, camera) = (Site::start().await, Camera::new(2, 60_000));
    let mut random = Rng::with_seed(7);
    let films: Vec<_> = [0, FRAMES].map(|first| film(&mut random, first)).into();
    let aggregator = Camera::aggregator(&site);
    camera.start(&site).await;
    for n in [0, 1] {
        store(&site, &camera.windows[n], &films[n], &mut random).await;
    }
    let of_source = camera.end(&site).await;
    let Oracle { found, source } = oracle(&camera.starts[1], &films, false);
    assert_eq!(of_source.tracked.analytics().unwrap(), source);
    for (window, expected) in camera.windows.iter().zip(&found) {
        let summary = site.summary(window).await;
        assert_eq!(published(&site, window, &summary).await, *expected);
    }
    aggregator.stop().await;
}

/// A frame of a window that had failed is analysed after the window's summary.
#[tokio::test(flavor = "multi_thread")]
async fn a_corrected_window_continues_the_one_before_and_is_continued() {
    let (site, camera, mut random) = (Site::start().await, Camera::new(3, 0), Rng::with_seed(8));
    let mut films: Vec<_> = [0, FRAMES, 2 * FRAMES].map(|first| film(&mut random, first)).into();
    let aggregator = Camera::aggregator(&site);
    camera.start(&site).await;
    let analysed = |event: &Event| matches!(event, Event::Frame(_));
    let half = films[1].len() / 2;
    let late = half + films[1][half..].iter().position(analysed).unwrap();
    let reason = "no pixels".to_owned();
    let failed = Failed { index: late as u64, reason, detector: None, deliveries: 5 };
    let result = std::mem::replace(&mut films[1][late], Event::Failed(failed));
    for n in [0, 1] {
        store(&site, &camera.windows[n], &films[n], &mut random).await;
    }
    let first = site.summary(&camera.windows[1]).await;
    let expected = &oracle(&camera.starts[1], &films[..2], true).found[1];
    assert_eq!(first.tracked.analytics().unwrap(), expected.analytics);

    films[1][late] = result.clone();
    site.store(&camera.windows[1], result).await;
    site.entry_where(&camera.windows[1], |entry| entry.corrections == 1 && entry.summary_published)
        .await;
    store(&site, &camera.windows[2], &films[2], &mut random).await;
    let of_source = camera.end(&site).await;
    let Oracle { found, source } = oracle(&camera.starts[1], &films, true);
    for n in [1, 2] {
        let summary = site.summary(&camera.windows[n]).await;
        assert_eq!(summary.tracked.analytics().unwrap(), found[n].analytics, "window {n}");
    }
    assert_eq!(of_source.tracked.analytics().unwrap(), source);
    aggregator.stop().await;
}

/// Results that are not stored any more are named, and never counted as if they were there.
#[tokio::test(flavor = "multi_thread")]
async fn an_analysis_of_a_part_of_the_results_says_what_is_missing() {
    let site = Site::start().await;
    let (video, mut random) = (video("cut"), Rng::with_seed(3));
    let film = film(&mut random, 0);
    let aggregator = site.aggregator();
    site.store(&video, Event::Started(asked())).await;
    for event in &film {
        site.store(&video, event.clone()).await;
    }
    site.store(&video, ended()).await;
    site.summary(&video).await;
    aggregator.stop().await;
    // The first message is `started`; then come the frames.
    for sequence in 4..=13 {
        site.streams.results.delete_message(sequence).await.unwrap();
    }
    let analysis = analyse(&site.streams, &video, &Question::default()).await.unwrap();
    let failed = |event: &&Event| matches!(event, Event::Failed(_));
    let lost = 10 - film[2..12].iter().filter(failed).count() as u64;
    assert_eq!((analysis.complete, analysis.missing_frames), (false, lost));
    assert!(analysis.gap().unwrap().contains("not stored any more"), "{:?}", analysis.gap());
}

/// Prints figures for docs/performance.md: `cargo test --release -p moliceiro-aggregator -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn analysing_a_hundred_thousand_stored_frames() {
    const MANY: u64 = 100_000;
    for tracker in [TrackerKind::None, TrackerKind::Bytetrack].repeat(5) {
        let site = Site::start().await;
        let video = video("long");
        let tracking = Tracking { tracker: Some(tracker), ..Tracking::default() };
        let started = Started { tracking, alarms: Some(vec![]), ..asked() };
        site.store(&video, Event::Started(started)).await;
        site.store(&video, progress(MANY)).await;
        stream::iter(0..MANY)
            .for_each_concurrent(64, |index| {
                let mut objects = Objects::new(limits());
                for person in 0..5_u16 {
                    let left = (index as f32 * 0.5 + f32::from(person) * 100.0) % 560.0;
                    let top = f32::from(person) * 60.0;
                    let bounds = [left, top, left + 40.0, top + 50.0];
                    let object = Object { class: 0, label: "person", score: 0.8, bounds };
                    objects.push(SIZE, object);
                }
                site.store(&video, result(index, objects))
            })
            .await;
        let end = Ended {
            frames: MANY,
            decoded: MANY,
            duration: None,
            problem: None,
            notices: vec![],
            skipped: None,
        };
        site.store(&video, Event::Ended(end)).await;
        let begun = std::time::Instant::now();
        let aggregator = site.aggregator();
        site.entry_where(&video, |entry| entry.summary_published).await;
        println!("{tracker}: {MANY} results counted in {:?}", begun.elapsed());
        aggregator.stop().await;
        let asked = Tracking { tracker: Some(TrackerKind::Bytetrack), ..Tracking::default() };
        let Tracking { tracker, lines, zones } = asked;
        let (lines, zones) = (Some(lines), Some(zones));
        let question = Question { tracker, lines, zones, ..Question::default() };
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let begun = std::time::Instant::now();
        let analysis = analyse(&site.streams, &video, &question).await.unwrap();
        let took = begun.elapsed();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        println!("analysed in {took:?}, {peak}: {:?}", analysis.analytics.tracks);
    }
}
