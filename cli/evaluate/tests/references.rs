//! The figures are those of `TrackEval` and `motmetrics`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use moliceiro_evaluate::{Sequence, Tracking, motchallenge};
use serde_json::{Map, Value};

/// Generated sequences; every third one has classes.
const SEQUENCES: u64 = 60;
const FRAMES: u64 = 40;

struct Pair {
    truth: PathBuf,
    tracks: PathBuf,
    has_classes: bool,
}

fn packages() -> PathBuf {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.deps-tests/tracking-metrics");
    assert!(packages.is_dir(), "run scripts/setup-tests.sh");
    packages
}

/// Objects that move, come and go, and tracks of them with ties, gaps, swaps and false boxes.
/// Coordinates are whole numbers in a small picture, so that many overlaps are equal.
fn generate(seed: u64, folder: &Path) -> Pair {
    let mut random = fastrand::Rng::with_seed(seed);
    let has_classes = seed % 3 == 2;
    let objects = random.u64(1..9);
    let (mut truth, mut tracks) = (String::new(), String::new());
    let mut track_of: Vec<u64> = (1..=objects).collect();
    let mut next_track = objects + 1;
    for frame in 1..=FRAMES {
        if random.u8(..) < 20 {
            let (a, b) = (random.usize(..track_of.len()), random.usize(..track_of.len()));
            track_of.swap(a, b);
        }
        let is_silent = random.u8(..) < 10;
        let mut used = Vec::new();
        for object in 1..=objects {
            if random.u8(..) < 8 {
                track_of[usize::try_from(object - 1).unwrap()] = next_track;
                next_track += 1;
            }
            // Objects come and go, for some frames each.
            if (frame + 7 * object) % 23 < object % 5 {
                continue;
            }
            let x = 12 * object + frame * (object % 3);
            let y = 10 * (object % 4);
            let (class, is_evaluated) = match object % 8 {
                5 if has_classes => (7, 0),
                6 if has_classes => (1, 0),
                7 if has_classes => (12, 0),
                _ if !has_classes && object == 4 && seed.is_multiple_of(2) => (1, 0),
                _ => (1, 1),
            };
            let rest = if has_classes { format!("{class},1") } else { "-1,-1,-1".into() };
            writeln!(truth, "{frame},{object},{x},{y},20,40,{is_evaluated},{rest}").unwrap();
            let track = track_of[usize::try_from(object - 1).unwrap()];
            if is_silent || random.u8(..) < 40 || used.contains(&track) {
                continue;
            }
            used.push(track);
            let jitter = |random: &mut fastrand::Rng| random.u64(0..7);
            let (dx, dy) = (jitter(&mut random), jitter(&mut random));
            let score = f64::from(random.u8(1..10)) / 10.0;
            writeln!(tracks, "{frame},{track},{},{},20,40,{score},-1,-1,-1", x + dx, y + dy)
                .unwrap();
            if !seed.is_multiple_of(2) && random.u8(..) < 50 {
                // The same box again, or one beside it, is a tie.
                let x = x + dx * random.u64(0..2);
                let id = 1000 + object;
                writeln!(tracks, "{frame},{id},{x},{},20,40,{score},-1,-1,-1", y + dy).unwrap();
            }
        }
        if random.u8(..) < 60 {
            let id = 2000 + random.u64(0..3);
            writeln!(tracks, "{frame},{id},{},5,20,40,0.1,-1,-1,-1", random.u64(0..150)).unwrap();
        }
    }
    let name = |what: &str| folder.join(format!("{seed}-{what}.txt"));
    let pair = Pair { truth: name("truth"), tracks: name("tracks"), has_classes };
    std::fs::write(&pair.truth, truth).unwrap();
    std::fs::write(&pair.tracks, tracks).unwrap();
    pair
}

/// What the references compute for each pair.
fn references(pairs: &[Pair]) -> Vec<Map<String, Value>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference.py");
    let mut python = Command::new("python3")
        .arg(script)
        .arg(packages())
        .env("OPENBLAS_NUM_THREADS", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = python.stdin.take().unwrap();
    let lines: String = pairs
        .iter()
        .map(|Pair { truth, tracks, has_classes }| {
            let kind = if *has_classes { "classes" } else { "plain" };
            format!("{}\t{}\t{kind}\n", truth.display(), tracks.display())
        })
        .collect();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ours(pair: &Pair) -> Value {
    let read = |path: &Path| motchallenge::parse(&std::fs::read(path).unwrap()).unwrap();
    let sequence = Sequence::new(&read(&pair.truth), &read(&pair.tracks)).unwrap();
    serde_json::to_value(Tracking::of(&sequence)).unwrap()
}

/// The figures that differ, each with ours and theirs.
fn differences(ours: &Value, theirs: &Value) -> Vec<String> {
    let figures = theirs.as_object().unwrap();
    assert!(figures.len() >= 8, "{figures:?}");
    let differs = |(name, theirs): (&String, &Value)| {
        let (ours, theirs) = (ours[name].as_f64().unwrap(), theirs.as_f64().unwrap());
        ((ours - theirs).abs() > 1e-9).then(|| format!("{name}: {ours} instead of {theirs}"))
    };
    figures.iter().filter_map(differs).collect()
}

#[test]
fn the_figures_of_two_public_sequences_are_those_of_both_references() {
    let pairs = ["TUD-Campus", "TUD-Stadtmitte"].map(|name| {
        let file = |file: &str| packages().join("motmetrics/data").join(name).join(file);
        Pair { truth: file("gt.txt"), tracks: file("test.txt"), has_classes: false }
    });
    for (pair, theirs) in pairs.iter().zip(references(&pairs)) {
        let ours = ours(pair);
        for reference in ["trackeval", "motmetrics"] {
            let differences = differences(&ours, &theirs[reference]);
            assert!(differences.is_empty(), "{reference}: {differences:#?}");
        }
    }
}

#[test]
fn the_figures_of_sequences_with_ties_gaps_and_swaps_are_those_of_the_references() {
    let folder = tempfile::tempdir().unwrap();
    let pairs: Vec<Pair> = (0..SEQUENCES).map(|seed| generate(seed, folder.path())).collect();
    let mut same_as_motmetrics = 0;
    for (seed, (pair, theirs)) in pairs.iter().zip(references(&pairs)).enumerate() {
        let ours = ours(pair);
        let differences_of = |reference: &str| differences(&ours, &theirs[reference]);
        let differences = differences_of("trackeval");
        assert!(differences.is_empty(), "{seed}: {differences:#?}");
        if theirs.contains_key("motmetrics") {
            let differences = differences_of("motmetrics");
            same_as_motmetrics += usize::from(differences.is_empty());
            // motmetrics keeps a pair over frames without it, and first makes as many pairs as it
            // can. TrackEval keeps it from one frame to the next, as the paper says, and makes those
            // that overlap most. So the same tracks may get other pairs, but not another IDF1.
            let near = [("idf1", 1e-9), ("precision", 0.02), ("recall", 0.02), ("mota", 0.1)];
            for (name, most) in near {
                let theirs = theirs["motmetrics"][name].as_f64().unwrap();
                let difference = ours[name].as_f64().unwrap() - theirs;
                assert!(difference.abs() < most, "{seed}: {name}: {differences:#?}");
            }
        }
    }
    assert!(same_as_motmetrics > 10, "most differ without a tie: {same_as_motmetrics}");
}
