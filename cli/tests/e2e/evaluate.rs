//! `moliceiro evaluate`: figures of tracks, and errors that name what is wrong.

use std::path::Path;

use moliceiro_testing::paths::sample;
use moliceiro_testing::process::{Process, moliceiro, run};
use moliceiro_testing::video::ffmpeg;
use serde_json::{Value, json};

const TRUTH: &str = "1,1,0,0,10,10,1\n2,1,0,0,10,10,1\n3,1,0,0,10,10,1\n3,2,50,0,10,10,1\n";
const TRACKS: &str = "1,7,0,0,10,10,0.9\n2,7,0,0,10,10,0.9\n3,8,0,0,10,10,0.8\n3,9,80,0,9,9,0.1\n";
const PICTURES: &str = r#"{"images": [{"id": 1, "file_name": "a.jpg"}],
    "categories": [{"id": 3, "name": "car"}],
    "annotations": [{"image_id": 1, "category_id": 3, "bbox": [0, 0, 10, 10]}]}"#;
const FOUND: &str = r#"[{"image_id": 1, "category_id": 3, "bbox": [0, 0, 10, 9], "score": 0.5}]"#;

fn evaluate(folder: &Path, truth: &str, tracks: &str, arguments: &[&str]) -> Process {
    std::fs::write(folder.join("gt.txt"), truth).unwrap();
    std::fs::write(folder.join("tracks.txt"), tracks).unwrap();
    let files = ["--truth", "gt.txt", "--tracks", "tracks.txt"];
    let command = &mut moliceiro();
    Process::start(command.current_dir(folder).arg("evaluate").args(files).args(arguments))
}

#[test]
fn tracks_and_truth_give_figures_as_text_and_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let json = evaluate(folder.path(), TRUTH, TRACKS, &["--json"]).expect_code(0);
    let figures: Value = serde_json::from_str(&json[0]).unwrap();
    assert_eq!((figures["mota"].as_f64(), figures["switches"].as_u64()), (Some(0.25), Some(1)));
    let text = evaluate(folder.path(), TRUTH, TRACKS, &[]).expect_code(0);
    for line in ["MOTA              25.0", "recall            75.0", "switches          1"] {
        assert!(text.iter().any(|of| of == line), "{line}: {text:#?}");
    }
    assert_eq!(text.last().unwrap(), "different objects 3 instead of 2: +1");
    let text = evaluate(folder.path(), PICTURES, FOUND, &[]).expect_code(0);
    assert_eq!(text.last().unwrap(), "car: AP50 100.0, 1 found instead of 1");
    let text = evaluate(folder.path(), TRUTH, "", &[]).expect_code(0);
    assert!(text.iter().any(|of| of == "HOTA              0.0 (DetA 0.0, AssA 0.0)"), "{text:#?}");
    evaluate(folder.path(), TRUTH, TRACKS, &["--label", "car"]).expect_code(64);
}

/// The truth is what was found, so every figure is the best there is.
#[test]
fn a_folder_of_pictures_is_compared_with_labelled_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let (data, pictures) = (folder.path().join("data"), folder.path().join("pictures"));
    std::fs::create_dir(&pictures).unwrap();
    ffmpeg(
        &["-i", sample("carphone_pristine.mp4").to_str().unwrap(), "-frames:v", "3"],
        &pictures.join("%d.jpg"),
    );
    Process::start(run(&data).arg(&pictures)).expect_code(0);
    let command = |arguments: &[&str]| {
        let mut command = moliceiro();
        Process::start(command.current_dir(folder.path()).args(arguments).arg("--data").arg(&data))
    };
    let status = command(&["status"]).expect_code(0);
    let video = status[1].split_whitespace().next().unwrap();
    let objects = command(&["detections", video]).expect_code(0);
    let objects: Vec<Value> =
        objects.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let annotations: Vec<_> = objects
        .iter()
        .filter(|object| object["label"] == "person")
        .map(|object| {
            let side = |n: usize| object["box"][n].as_f64().unwrap();
            // Pictures are numbered from 30 backwards.
            let picture = 30 - object["frame"].as_u64().unwrap();
            let bbox = [side(0), side(1), side(2) - side(0), side(3) - side(1)];
            json!({ "image_id": picture, "category_id": 1, "bbox": bbox })
        })
        .collect();
    assert!(annotations.len() >= 3, "{objects:?}");
    let images: Vec<_> =
        (0..3).map(|n| json!({ "id": 30 - n, "file_name": format!("{}.jpg", n + 1) })).collect();
    let categories = [json!({ "id": 1, "name": "person" })];
    let truth = json!({ "images": images, "categories": categories, "annotations": annotations });
    std::fs::write(folder.path().join("truth.json"), truth.to_string()).unwrap();
    let line = command(&["evaluate", video, "--truth", "truth.json", "--json"]).expect_code(0);
    let figures: Value = serde_json::from_str(&line[0]).unwrap();
    assert_eq!((figures["ap50"].as_f64(), figures["recall"].as_f64()), (Some(1.0), Some(1.0)));
}

/// The truth is what was tracked, so every figure is the best there is.
#[test]
fn stored_results_are_compared_with_the_truth() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let arguments = ["--every", "2", "--end", "2"];
    Process::start(run(&data).args(arguments).arg(sample("carphone_pristine.mp4"))).expect_code(0);
    let command = |arguments: &[&str]| {
        let mut command = moliceiro();
        Process::start(command.current_dir(folder.path()).args(arguments).arg("--data").arg(&data))
    };
    let status = command(&["status"]).expect_code(0);
    let video = status[1].split_whitespace().next().unwrap();
    let objects = command(&["detections", video, "--tracks"]).expect_code(0);
    let truth: String = objects
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|row| row["label"] == "person" && row["track"].is_u64())
        .map(|row| {
            let side = |n: usize| row["box"][n].as_f64().unwrap();
            let frame = row["frame"].as_u64().unwrap() + 1;
            let (width, height) = (side(2) - side(0), side(3) - side(1));
            format!("{frame},{},{},{},{width},{height},1\n", row["track"], side(0), side(1))
        })
        .collect();
    assert!(truth.lines().count() > 10, "{truth}");
    std::fs::write(folder.path().join("gt.txt"), truth).unwrap();
    let evaluate = |arguments: &[&str]| {
        let first = ["evaluate", video, "--truth", "gt.txt", "--json"];
        let line = command(&[&first, arguments].concat()).expect_code(0).remove(0);
        serde_json::from_str::<Value>(&line).unwrap()
    };
    let figures = evaluate(&[]);
    for figure in ["recall", "idf1"] {
        assert_eq!(figures[figure].as_f64(), Some(1.0), "{figures}");
    }
    assert_eq!(figures["switches"].as_u64(), Some(0), "{figures}");
    let said = |arguments: &[&str], code: i32| {
        let mut process = command(&[&["evaluate", video, "--truth"], arguments].concat());
        process.expect_code(code);
        process.stderr().join("\n")
    };
    std::fs::write(folder.path().join("beyond.txt"), "2,1,0,0,9,9\n9999,1,0,0,9,9\n").unwrap();
    let unknown = said(&["beyond.txt"], 0);
    assert!(unknown.contains("2 boxes of the truth are in 2 frames without"), "{unknown}");
    let unknown = said(&["gt.txt", "--label", "persn"], 0);
    assert!(unknown.contains("no track is of the class \"persn\""), "{unknown}");
    let refused = said(&["gt.txt", "--tracker", "none"], 64);
    assert!(refused.contains("bytetrack or ocsort"), "{refused}");
    std::fs::write(folder.path().join("pictures.json"), PICTURES).unwrap();
    let refused = said(&["pictures.json"], 1);
    assert!(refused.contains("and the truth 1 pictures"), "{refused}");
    let none = evaluate(&["--threshold", "0.99", "--tracker", "ocsort"]);
    assert_eq!(none["recall"].as_f64(), Some(0.0), "{none}");
    let mut unknown = command(&["evaluate", "no-such-video", "--truth", "gt.txt"]);
    unknown.expect_code(1);
    let said = unknown.stderr().join("\n");
    assert!(said.contains("no-such-video"), "{said}");
}

#[test]
fn a_malformed_file_is_named_with_the_line_and_the_field() {
    let folder = tempfile::tempdir().unwrap();
    for (truth, tracks, parts) in [
        (TRUTH, "1,7,0,0,wide,10\n", ["tracks.txt", "line 1: width is \"wide\""]),
        ("1,1,0,0,10,10,1\n1,1\n", TRACKS, ["gt.txt", "line 2: it has 2 fields"]),
        ("1,1,0,0,10,10,0\n", TRACKS, ["the truth", "no box that is evaluated"]),
        (PICTURES, "[{}]", ["tracks.txt", "missing field `image_id`"]),
        (TRUTH, PICTURES, ["tracks.txt", "both must be of COCO"]),
    ] {
        let mut process = evaluate(folder.path(), truth, tracks, &[]);
        process.expect_code(1);
        let said = process.stderr().join("\n");
        assert!(parts.iter().all(|part| said.contains(part)), "{parts:?}: {said}");
    }
}
