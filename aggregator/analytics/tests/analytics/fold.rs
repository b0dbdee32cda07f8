//! The fold is a function of the frames in order, and of nothing else.

use moliceiro_analytics::{
    Finding, Fold, FrameObservations, InvalidCheckpoint, Observation, Rules,
};
use moliceiro_messages::{
    AnalyticsSummary, Crossing, Direction, Size, TrackRecord, TrackerKind, Visit,
};

use crate::films::Random;

const SIZE: Size = Size { width: 200, height: 100 };
const FRAME: u64 = 40_000_000;

/// A frame: pts, and objects by class, score and box.
#[derive(Clone)]
pub struct Shot {
    index: u64,
    pts: Option<u64>,
    objects: Option<Vec<(&'static str, f32, [f32; 4])>>,
}

/// A box around a point, in pixels.
fn around(x: f32, y: f32) -> [f32; 4] {
    [x - 5.0, y - 20.0, x + 5.0, y]
}

fn shot(index: u64, objects: &[(&'static str, f32, f32)]) -> Shot {
    let objects = objects.iter().map(|&(label, x, y)| (label, 0.9, around(x, y))).collect();
    Shot { index, pts: Some(index.saturating_mul(FRAME)), objects: Some(objects) }
}

pub fn add(fold: &mut Fold, shot: &Shot, found: &mut Vec<Finding>) {
    let Some(objects) = &shot.objects else { return fold.failed(shot.index, shot.pts) };
    let observation =
        |&(label, score, bounds): &(&'static str, _, _)| Observation { label, score, bounds };
    let objects: Vec<_> = objects.iter().map(observation).collect();
    let (index, pts, size) = (shot.index, shot.pts, Some(SIZE));
    let frame = FrameObservations { index, pts, size, threshold: 0.5, objects: &objects };
    fold.frame(&frame, &mut |finding| found.push(finding));
}

fn folded(rules: &Rules, shots: &[Shot]) -> (AnalyticsSummary, Vec<Finding>) {
    let (mut fold, mut found) = (Fold::new(rules), Vec::new());
    shots.iter().for_each(|shot| add(&mut fold, shot, &mut found));
    fold.end(&mut |finding| found.push(finding));
    (fold.summary(), found)
}

fn rules(lines: &[&str], zones: &[&str], alarms: &[&str]) -> Rules {
    Rules {
        tracker: TrackerKind::Bytetrack,
        lines: lines.iter().map(|text| text.parse().unwrap()).collect(),
        zones: zones.iter().map(|text| text.parse().unwrap()).collect(),
        alarms: alarms.iter().map(|text| text.parse().unwrap()).collect(),
        labels: vec![],
    }
}

fn alarms(found: &[Finding]) -> Vec<String> {
    let text = |finding: &Finding| match finding {
        Finding::Alarm(alarm) => {
            assert!(alarm.number > 0);
            Some(format!("{}: {} {} {:?}", alarm.frame, alarm.rule, alarm.label, alarm.track))
        }
        _ => None,
    };
    found.iter().filter_map(text).collect()
}

fn crossings(found: &[Finding]) -> Vec<&Crossing> {
    let of = found.iter().filter_map(|finding| match finding {
        Finding::Crossing(crossing) => Some(crossing),
        _ => None,
    });
    of.collect()
}

fn tracks(found: &[Finding]) -> Vec<&TrackRecord> {
    let of = found.iter().filter_map(|finding| match finding {
        Finding::Track(track) => Some(track),
        _ => None,
    });
    of.collect()
}

/// Something that has all parts of the fold at work.
pub fn busy(seed: u64) -> (Rules, Vec<Shot>) {
    let random = &mut Random::new(seed);
    let tracker = [TrackerKind::Bytetrack, TrackerKind::Ocsort][(random.share() * 2.0) as usize];
    let rules = Rules {
        tracker,
        ..rules(
            &["gate: 0.5,1 0.5,0", "low[car]@centre: 0,0.6 1,0.6"],
            &["left: 0,0 0.4,0 0.4,1 0,1", "all[person]: 0,0 1,0 1,1 0,1"],
            &[
                "person > 2",
                "car >= 1 for 3 frames",
                "person crosses gate inwards",
                "person in left for 1s",
                "2 persons in left",
                "car stops for 1s",
            ],
        )
    };
    let mut actors: Vec<_> = (0..6)
        .map(|n| {
            let label = if n % 3 == 0 { "car" } else { "person" };
            let x = random.between(0.0, 200.0);
            (
                label,
                x,
                random.between(30.0, 95.0),
                random.between(-1.5, 1.5),
                random.between(-0.2, 0.2),
            )
        })
        .collect();
    let shots = (0..160).filter_map(|index| {
        let mut objects = Vec::new();
        for (label, x, y, across, down) in &mut actors {
            *x = (*x + *across).rem_euclid(200.0);
            *y = (*y + *down).clamp(25.0, 99.0);
            let (x, y) = (*x + random.between(-0.5, 0.5), *y + random.between(-1.0, 1.0));
            let label = if random.chance(0.1) { "truck" } else { *label };
            if random.chance(0.8) {
                objects.push((label, random.between(0.3, 1.0) as f32, around(x as f32, y as f32)));
            }
        }
        let missing = random.chance(0.05);
        let objects = (!random.chance(0.05)).then_some(objects);
        (!missing).then_some(Shot { index, pts: Some(index * FRAME), objects })
    });
    let shots: Vec<_> = shots.collect();
    (rules, shots)
}

#[test]
fn a_fold_that_is_stored_and_read_at_any_frame_continues_to_the_same_bytes() {
    for seed in 0..40 {
        let (rules, shots) = busy(seed);
        let (mut whole, mut expected) = (Fold::new(&rules), Vec::new());
        let states: Vec<_> = shots
            .iter()
            .map(|shot| {
                add(&mut whole, shot, &mut expected);
                whole.to_bytes()
            })
            .collect();
        whole.end(&mut |finding| expected.push(finding));

        let random = &mut Random::new(seed + 1000);
        let (mut fold, mut found) = (Fold::new(&rules), Vec::new());
        for (shot, state) in shots.iter().zip(&states) {
            if random.chance(0.2) {
                fold = Fold::from_bytes(&fold.to_bytes()).unwrap();
            }
            add(&mut fold, shot, &mut found);
            if random.chance(0.2) {
                // A frame that was in it already, after a take-over.
                add(&mut fold, shot, &mut found);
            }
            assert_eq!(fold.to_bytes(), *state, "film {seed}, frame {}", shot.index);
        }
        fold.end(&mut |finding| found.push(finding));
        assert_eq!(found, expected, "film {seed}");
        assert_eq!((fold.summary(), fold.to_bytes()), (whole.summary(), whole.to_bytes()));
        let kinds = [0, 1, 2, 3].map(|kind| {
            let is_of = |finding: &&Finding| match finding {
                Finding::Observed(_) => false,
                Finding::Crossing(_) => kind == 0,
                Finding::Visit(_) => kind == 1,
                Finding::Alarm(_) => kind == 2,
                Finding::Track(_) => kind == 3,
            };
            found.iter().filter(is_of).count()
        });
        assert!(kinds.iter().all(|n| *n > 0), "film {seed}: {kinds:?}");
    }
}

#[test]
fn numbers_of_each_kind_count_from_one_and_the_summary_is_what_was_found() {
    for seed in 0..20 {
        let (rules, shots) = busy(seed);
        let (summary, found) = folded(&rules, &shots);
        let mut next = [1; 3];
        let mut count = |kind: usize, number: u64| {
            assert_eq!(number, next[kind]);
            next[kind] += 1;
        };
        for finding in &found {
            match finding {
                Finding::Crossing(crossing) => count(0, crossing.number),
                Finding::Visit(visit) => count(1, visit.number),
                Finding::Alarm(alarm) => count(2, alarm.number),
                Finding::Track(_) | Finding::Observed(_) => {}
            }
        }
        let mut ids: Vec<_> = tracks(&found).iter().map(|track| track.track).collect();
        ids.sort_unstable();
        assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>());
        assert_eq!(summary.tracks.values().sum::<u64>(), ids.len() as u64);
        let gate = &summary.lines["gate"];
        let both = gate.inwards.values().chain(gate.outwards.values()).sum::<u64>();
        let of_gate = crossings(&found).into_iter().filter(|found| found.line == "gate");
        assert_eq!(both, of_gate.count() as u64);
        let visits = |zone: &str| {
            let of = |finding: &&Finding| matches!(finding, Finding::Visit(v) if v.zone == zone);
            found.iter().filter(of).count() as u64
        };
        let left = &summary.zones["left"];
        assert_eq!(left.entries.values().sum::<u64>(), visits("left"));
        assert!(left.occupancy.mean >= left.occupancy.least as f64);
        assert!(left.occupancy.mean <= left.occupancy.most as f64);
        // An object belongs to one track.
        let mut seen: Vec<_> = found
            .iter()
            .filter_map(|finding| match finding {
                Finding::Observed(o) => Some((o.frame, o.object)),
                _ => None,
            })
            .collect();
        let n = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), n);
    }
}

#[test]
fn a_line_is_crossed_once_each_way_and_not_by_what_stands_on_it() {
    let rules = rules(&["gate: 0.5,1 0.5,0"], &[], &[]);
    let random = &mut Random::new(3);
    let mut shots = Vec::new();
    for n in 0..400_u64 {
        // To the right, back to the line, stands on it, and to the right again.
        let x = match n {
            0..100 => 60.0 + n as f32,
            100..150 => 160.0 - (n - 100) as f32 * 1.2,
            150..350 => 100.0,
            _ => 100.0 + (n - 350) as f32,
        };
        let jitter = random.between(-1.0, 1.0) as f32;
        // The box is missing while it crosses for the first time.
        let objects = [("person", x + jitter, 80.0)];
        shots.push(if (30..50).contains(&n) { shot(n, &[]) } else { shot(n, &objects) });
    }
    let (summary, found) = folded(&rules, &shots);
    let of: Vec<_> = crossings(&found).iter().map(|c| (c.direction, c.track)).collect();
    assert_eq!(of, [(Direction::In, 1)], "{:?}", crossings(&found));
    assert_eq!(summary.lines["gate"].inwards["person"], 1);
    assert!(summary.lines["gate"].outwards.is_empty());
    let [track] = tracks(&found)[..] else { panic!("one track") };
    assert_eq!((track.lines.len(), track.label.as_str()), (1, "person"));
}

#[test]
fn a_zone_knows_who_was_there_how_long_and_how_many_at_once() {
    let rules = rules(&[], &["right: 0.5,0 1,0 1,1 0.5,1"], &[]);
    let shots: Vec<_> = (0..=250)
        .map(|n| {
            let x = n as f32;
            // One stands there, one walks through from 100 to 190 and leaves the picture.
            let mut objects = vec![("person", 150.0, 40.0)];
            if x < 195.0 {
                objects.push(("person", x, 90.0));
            }
            shot(n, &objects)
        })
        .collect();
    let (summary, found) = folded(&rules, &shots);
    let zone = &summary.zones["right"];
    assert_eq!((zone.occupancy.least, zone.occupancy.most), (1, 2));
    let mean = 1.0 + 94.0 / 250.0;
    assert!((zone.occupancy.mean - mean).abs() < 0.02, "{}", zone.occupancy.mean);
    assert_eq!((zone.entries["person"], zone.exits["person"]), (2, 1));
    let dwell = zone.dwell.unwrap();
    assert!((dwell.longest_s - 10.0).abs() < 0.01 && (dwell.median_s - 3.7).abs() < 0.2);
    let visits: Vec<&Visit> = found
        .iter()
        .filter_map(|finding| match finding {
            Finding::Visit(visit) => Some(visit),
            _ => None,
        })
        .collect();
    assert_eq!(visits.len(), 2);
    assert_eq!(visits[0].left.frame, 194, "where it was last seen, not when it was given up");
}

#[test]
fn rules_about_tracks_raise_each_alarm_once_and_in_order() {
    let rules = rules(
        &["gate: 0.5,1 0.5,0"],
        &["right: 0.5,0 1,0 1,1 0.5,1"],
        &[
            "person crosses gate",
            "person crosses gate outwards",
            "person in right for 2s",
            "2 persons in right",
            "car stops for 2s in right",
            "person > 1",
            "dog crosses gate",
        ],
    );
    let shots: Vec<_> = (0..200)
        .map(|n| {
            let x = 60.0 + (n as f32).min(90.0);
            shot(n, &[("person", x, 90.0), ("person", x - 30.0, 90.0), ("car", 180.0, 40.0)])
        })
        .filter(|shot| shot.index % 50 != 20)
        .collect();
    let (_, found) = folded(&rules, &shots);
    let mut of: Vec<_> = alarms(&found).into_iter().filter(|a| !a.contains("> 1")).collect();
    let frames: Vec<u64> =
        of.iter().map(|text| text.split(':').next().unwrap().parse().unwrap()).collect();
    assert!(frames.is_sorted());
    of.iter_mut().for_each(|text| *text = text.split_once(": ").unwrap().1.to_owned());
    assert_eq!(
        of,
        [
            "person crosses gate person Some(1)",
            "car stops for 2s in right car Some(3)",
            "person crosses gate person Some(2)",
            "2 persons in right person None",
            "person in right for 2s person Some(1)",
            "person in right for 2s person Some(2)",
        ]
    );
    assert_eq!(alarms(&found).len() - of.len(), shots.len(), "every frame has two persons");
}

#[test]
fn an_object_whose_class_flickers_is_one_track_and_two_that_overlap_are_two() {
    let shots: Vec<_> = (0..50)
        .map(|n| {
            let label = if n % 3 == 2 { "truck" } else { "car" };
            let mut shot = shot(n, &[(label, 50.0 + n as f32, 50.0)]);
            // A person on a bicycle, which is lower.
            let x = 150.0 - n as f32;
            shot.objects.as_mut().unwrap().extend([
                ("person", 0.8, [x - 5.0, 40.0, x + 5.0, 70.0]),
                ("bicycle", 0.7, [x - 8.0, 55.0, x + 8.0, 75.0]),
            ]);
            shot
        })
        .collect();
    let (summary, found) = folded(&rules(&[], &[], &[]), &shots);
    let counts: Vec<_> = summary.tracks.iter().map(|(label, n)| (label.as_str(), *n)).collect();
    assert_eq!(counts, [("bicycle", 1), ("car", 1), ("person", 1)], "{:?}", tracks(&found));
}

#[test]
fn a_gap_of_failed_or_missing_frames_and_a_lower_rate_change_neither_tracks_nor_crossings() {
    let rules = rules(&["gate: 0.5,1 0.5,0"], &[], &[]);
    let whole: Vec<_> = (0..150)
        .map(|n| shot(n, &[("person", 20.0 + n as f32, 90.0), ("car", 180.0 - n as f32, 50.0)]))
        .collect();
    let failing = whole.iter().cloned().map(|mut shot| {
        if (40..60).contains(&shot.index) {
            shot.objects = None;
        }
        shot
    });
    let missing = whole.iter().filter(|shot| !(70..95).contains(&shot.index)).cloned();
    let every = whole.iter().filter(|shot| shot.index % 5 == 0).cloned();
    let untimed = whole.iter().cloned().map(|shot| Shot { pts: None, ..shot });
    for shots in
        [failing.collect(), missing.collect(), every.collect(), untimed.collect::<Vec<_>>()]
    {
        let (summary, found) = folded(&rules, &shots);
        assert_eq!(tracks(&found).len(), 2, "{:?}", tracks(&found));
        let gate = &summary.lines["gate"];
        assert_eq!((gate.inwards["person"], gate.outwards["car"]), (1, 1));
        assert_eq!((gate.inwards.len(), gate.outwards.len()), (1, 1));
        let assumed = shots[0].pts.is_none().then_some(25.0);
        assert_eq!(summary.assumed_fps, assumed);
    }
}

#[test]
fn objects_below_the_threshold_continue_tracks_and_do_not_begin_or_prolong_them() {
    let low = |n: u64| {
        let objects = vec![("person", 0.4, around(50.0, 90.0))];
        Shot { index: n, pts: Some(n * FRAME), objects: Some(objects) }
    };
    let (summary, _) = folded(&rules(&[], &[], &[]), &(0..100).map(low).collect::<Vec<_>>());
    assert!(summary.tracks.is_empty());
    let shots: Vec<_> = (0..300)
        .map(|n| if n < 25 { shot(n, &[("person", 50.0, 90.0)]) } else { low(n) })
        .collect();
    let (_, found) = folded(&rules(&[], &[], &[]), &shots);
    let [track] = tracks(&found)[..] else { panic!("one track: {:?}", tracks(&found)) };
    assert!((50..100).contains(&track.last.frame), "{track:?}");
}

#[test]
fn windows_of_a_source_hand_their_tracks_on() {
    let rules = rules(&["gate: 0.5,1 0.5,0"], &["all: 0,0 1,0 1,1 0,1"], &["person in all for 3s"]);
    let mut found = Vec::new();
    let mut fold = Fold::new(&rules);
    let mut of_windows = Vec::new();
    for window in 0..4_u64 {
        if window > 0 {
            fold = Fold::continue_from(Fold::from_bytes(&fold.to_bytes()).unwrap(), &rules);
        }
        for n in 0..50 {
            let x = 20.0 + (window * 50 + n) as f32 * 0.8;
            add(&mut fold, &shot(n, &[("person", x, 90.0), ("person", 190.0, 40.0)]), &mut found);
        }
        of_windows.push(fold.summary());
    }
    fold.end(&mut |finding| found.push(finding));
    assert!(of_windows.iter().all(|summary| summary.tracks["person"] == 2));
    let source = fold.source_summary();
    assert_eq!(source.tracks["person"], 2, "a person in four windows is one");
    assert_eq!(source.lines["gate"].inwards["person"], 1);
    let crossed = |summary: &AnalyticsSummary| summary.lines["gate"].inwards.values().sum::<u64>();
    assert_eq!(of_windows.iter().map(crossed).collect::<Vec<_>>(), [0, 0, 1, 0]);
    assert_eq!(source.zones["all"].entries["person"], 2);
    assert_eq!((source.zones["all"].occupancy.least, source.zones["all"].occupancy.most), (2, 2));
    let dwell = source.zones["all"].dwell.unwrap();
    assert!((dwell.longest_s - 8.0).abs() < 0.1, "{dwell:?}");
    assert_eq!(alarms(&found).len(), 2);
}

#[test]
fn a_picture_alone_counts_what_is_in_it_and_nothing_is_tracked_without_a_tracker() {
    let one = [shot(0, &[("person", 50.0, 90.0), ("person", 100.0, 90.0)])];
    assert_eq!(folded(&rules(&[], &[], &[]), &one).0.tracks["person"], 2);
    let none = Rules {
        tracker: TrackerKind::None,
        ..rules(&["gate: 0.5,1 0.5,0"], &[], &["person > 1", "person crosses gate"])
    };
    let (summary, found) = folded(&none, &one);
    assert!(summary.tracks.is_empty() && summary.lines.is_empty());
    assert_eq!(alarms(&found), ["0: person > 1 person None"]);
}

#[test]
fn hostile_results_neither_panic_nor_grow_the_state() {
    let rules = rules(&["gate: 0.5,1 0.5,0"], &["all: 0,0 1,0 1,1 0,1"], &["person stops for 1s"]);
    let (mut fold, mut found) = (Fold::new(&rules), Vec::new());
    let random = &mut Random::new(1);
    let odd = [f32::NAN, f32::INFINITY, -1e30, 1e30, f32::MAX, f32::MIN, 0.0, 1e-30, 50.0];
    for n in 0..60_u64 {
        let objects: Vec<_> = (0..1500)
            .map(|k| {
                let mut pick = || odd[(random.share() * odd.len() as f64) as usize];
                let wild = [pick(), pick(), pick(), pick()];
                let x = (k % 100) as f32 * 2.0;
                let bounds = if k % 2 == 0 { wild } else { around(x, (k / 100) as f32 * 7.0) };
                ("person", if k % 7 == 0 { f32::NAN } else { 0.9 }, bounds)
            })
            .collect();
        let pts = [None, Some(0), Some(u64::MAX), Some(n * FRAME)][(n % 4) as usize];
        add(&mut fold, &Shot { index: n * n, pts, objects: Some(objects) }, &mut found);
    }
    add(&mut fold, &shot(u64::MAX, &[("person", 1.0, 50.0)]), &mut found);
    let bytes = fold.to_bytes();
    assert!(bytes.len() < 500_000, "{}", bytes.len());
    assert_eq!(Fold::from_bytes(&bytes).unwrap().to_bytes(), bytes);
    fold.end(&mut |finding| found.push(finding));
    assert!(matches!(Fold::from_bytes(b"\xff"), Err(InvalidCheckpoint::Cbor(_))));
    assert!(matches!(Fold::from_bytes(&bytes[..99]), Err(InvalidCheckpoint::Cbor(_))));
}

/// One person after the other walks through the picture.
#[test]
fn the_state_after_hours_is_as_large_as_after_a_minute() {
    let places = rules(&["gate: 0.5,0 0.5,1"], &["quay: 0,0 1,0 1,1 0,1"], &["person in quay"]);
    let (mut fold, mut found, mut early) = (Fold::new(&places), Vec::new(), 0);
    for index in 0..150_000_u64 {
        let step = index % 100;
        let walker = [("person", step as f32 * 2.0, 60.0)];
        let objects = if step < 60 { &walker[..] } else { &[] };
        add(&mut fold, &shot(index, objects), &mut found);
        found.clear();
        if index == 1_500 {
            early = fold.to_bytes().len();
        }
    }
    let late = fold.to_bytes().len();
    assert!(fold.summary().tracks["person"] >= 1_500, "{:?}", fold.summary());
    assert!(early > 0 && late < early + 1_000, "{early} bytes, then {late}");
}
