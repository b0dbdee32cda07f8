//! Lines and zones over time say the same as the summary.

use moliceiro_analytics::{Finding, Fold};
use moliceiro_messages::{Direction, Timeline};

use crate::fold::{add, busy};

fn kept(seed: u64) -> (Fold, Vec<Finding>) {
    let (rules, shots) = busy(seed);
    let (mut fold, mut found) = (Fold::new(&rules), Vec::new());
    fold.keep_timeline();
    shots.iter().for_each(|shot| add(&mut fold, shot, &mut found));
    (fold, found)
}

#[test]
fn the_intervals_come_to_what_the_summary_says() {
    for seed in 0..40 {
        let (mut fold, mut found) = kept(seed);
        // While the video is analysed, and once it is finished.
        for end in [false, true] {
            if end {
                fold.end(&mut |finding| found.push(finding));
            }
            let (timeline, summary) = (fold.timeline().unwrap(), fold.summary());
            let Timeline { start_s, end_s, step_s, lines, zones } = timeline;
            assert_eq!((lines.len(), zones.len()), (2, 2));
            for (name, line) in &lines {
                let of = |direction| {
                    let is_meant = |finding: &&Finding| {
                        matches!(finding, Finding::Crossing(crossing)
                        if crossing.line == *name && crossing.direction == direction)
                    };
                    found.iter().filter(is_meant).count() as u64
                };
                assert_eq!(line.inwards.iter().sum::<u64>(), of(Direction::In), "{seed}: {name}");
                assert_eq!(line.outwards.iter().sum::<u64>(), of(Direction::Out), "{seed}: {name}");
            }
            for (name, zone) in &zones {
                let occupancy = summary.zones[name].occupancy;
                assert_eq!(zone.least.iter().min(), Some(&occupancy.least), "{seed}: {name}");
                assert_eq!(zone.most.iter().max(), Some(&occupancy.most), "{seed}: {name}");
                let length = |place: usize| (end_s - start_s - place as f64 * step_s).min(step_s);
                let inside = zone.mean.iter().enumerate().map(|(n, mean)| mean * length(n));
                let mean = inside.sum::<f64>() / (end_s - start_s);
                assert!((mean - occupancy.mean).abs() < 1e-9, "{seed}: {mean} {occupancy:?}");
                let bounds = zone.least.iter().zip(&zone.mean).zip(&zone.most);
                for ((least, mean), most) in bounds {
                    let is_between = *least as f64 - 1e-9 <= *mean && *mean <= *most as f64 + 1e-9;
                    assert!(is_between, "{seed}: {least} {mean} {most}");
                }
            }
        }
    }
}

#[test]
fn a_timeline_changes_nothing_else_and_is_not_in_a_checkpoint() {
    let (rules, shots) = busy(3);
    let (mut plain, mut found) = (Fold::new(&rules), Vec::new());
    assert_eq!(plain.timeline(), None);
    shots.iter().for_each(|shot| add(&mut plain, shot, &mut found));
    let (kept, also) = kept(3);
    assert_eq!((plain.to_bytes(), found), (kept.to_bytes(), also));
    assert_eq!(Fold::from_bytes(&kept.to_bytes()).unwrap().timeline(), None);
}
