//! The figures are those of `TrackEval`, `motmetrics` and `pycocotools`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use moliceiro_evaluate::coco::Labelled;
use moliceiro_evaluate::{Sequence, Tracking, motchallenge};
use serde_json::{Map, Value, json};

/// Generated sequences; every third one has classes.
const SEQUENCES: u64 = 36;
const FRAMES: u64 = 40;

struct Pair {
    truth: PathBuf,
    tracks: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Without classes, as up to MOT15.
    Plain,
    Classes,
    Coco,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Classes => "classes",
            Self::Coco => "coco",
        }
    }
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
    let kind = if has_classes { Kind::Classes } else { Kind::Plain };
    let pair = Pair { truth: name("truth"), tracks: name("tracks"), kind };
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
        .map(|Pair { truth, tracks, kind }| {
            format!("{}\t{}\t{}\n", truth.display(), tracks.display(), kind.name())
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
        Pair { truth: file("gt.txt"), tracks: file("test.txt"), kind: Kind::Plain }
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
    assert!(same_as_motmetrics > 5, "most differ without a tie: {same_as_motmetrics}");
}

/// Labelled pictures with crowds, and objects that are found twice, elsewhere, or as another class,
/// many of them with the same score.
fn generate_pictures(seed: u64, folder: &Path) -> Pair {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut images, mut annotations, mut found) = (vec![], vec![], vec![]);
    for picture in 1..=30 {
        images.push(json!({"id": picture, "file_name": format!("{picture}.jpg")}));
        for _ in 0..random.u32(0..8) {
            let is_crowd = random.u8(..) < 30;
            let side = |most: i64| random.i64(8..most) * if is_crowd { 3 } else { 1 };
            let [x, y, width, height] = [60, 60, 30, 30].map(side);
            let class = random.u64(1..4);
            annotations.push(json!({
                "id": annotations.len() + 1, "image_id": picture, "category_id": class,
                "bbox": [x, y, width, height], "area": width * height,
                "iscrowd": u8::from(is_crowd)
            }));
            for _ in 0..random.u8(0..3) {
                let class = if random.u8(..) < 25 { 1 } else { class };
                let near = |side: i64| (side + random.i64(-3..4)).max(1);
                let bbox = [x, y, width, height].map(near);
                found.push(json!({
                    "image_id": picture, "category_id": class,
                    "bbox": bbox,
                    "score": f64::from(random.u8(1..20)) / 20.0
                }));
            }
        }
    }
    let categories: Vec<Value> =
        (1..5).map(|class| json!({"id": class, "name": format!("class {class}")})).collect();
    let truth = json!({"images": images, "annotations": annotations, "categories": categories});
    let name = |what: &str| folder.join(format!("{seed}-{what}.json"));
    let pair = Pair { truth: name("truth"), tracks: name("found"), kind: Kind::Coco };
    std::fs::write(&pair.truth, truth.to_string()).unwrap();
    std::fs::write(&pair.tracks, Value::from(found).to_string()).unwrap();
    pair
}

#[test]
fn the_average_precision_of_pictures_is_that_of_coco() {
    let folder = tempfile::tempdir().unwrap();
    let pairs: Vec<Pair> = (0..10).map(|seed| generate_pictures(seed, folder.path())).collect();
    for (seed, (pair, theirs)) in pairs.iter().zip(references(&pairs)).enumerate() {
        let read = |path: &Path| std::fs::read(path).unwrap();
        let labelled = Labelled::parse(&read(&pair.truth)).unwrap();
        let found = labelled.parse_found(&read(&pair.tracks)).unwrap();
        let (ours, theirs) = (labelled.compare(&found).ap50, &theirs["pycocotools"]["ap50"]);
        let difference = ours - theirs.as_f64().unwrap();
        assert!(difference.abs() < 1e-9, "{seed}: {ours} instead of {theirs}");
        assert!((0.1..0.9).contains(&ours), "{seed}: {ours}");
    }
}
