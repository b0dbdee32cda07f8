//! What `moliceiro bench` reports: complete and consistent. No test asserts a speed.

use std::collections::BTreeSet;
use std::path::Path;

use moliceiro_testing::eventually;
use moliceiro_testing::paths::sample;
use moliceiro_testing::process::{Process, moliceiro, servers_of};
use moliceiro_testing::video::ffmpeg;
use rustix::process::Signal;
use serde_json::Value;

const FRAMES: u64 = 12;

fn bench(data: &Path, arguments: &[&str]) -> Process {
    let mut command = moliceiro();
    let command = command.arg("bench").arg("--data").arg(data).args(arguments);
    Process::start(command.arg(sample("carphone_pristine.mp4")))
}

fn figures(mut process: Process) -> Value {
    serde_json::from_str(&process.expect_code(0).join("\n")).unwrap()
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

/// The median of a measured value, after checking it against the other statistics.
fn measured(value: &Value, times: u64) -> f64 {
    let part = |name: &str| value[name].as_f64().unwrap_or_else(|| panic!("{value}"));
    assert!(
        part("min") <= part("median") && part("median") <= part("max") && part("mad") >= 0.0,
        "{value}"
    );
    assert_eq!(value["times"], times, "{value}");
    part("median")
}

#[test]
fn every_arrangement_analyses_all_frames_and_is_measured_completely() {
    let data = tempfile::tempdir().unwrap();
    let picture = data.path().join("speed.svg");
    let (frames, svg) = (FRAMES.to_string(), picture.to_str().unwrap());
    let arguments = [
        "--frames",
        &frames,
        "--repeat",
        "2",
        "--detectors",
        "1,2",
        "--scrape",
        "--json",
        "--svg",
        svg,
    ];
    let report = figures(bench(data.path(), &arguments));
    assert_eq!((&report["version"], &report["repetitions"]), (&1.into(), &2.into()));
    assert_eq!(report["input"]["frames"], FRAMES, "{}", report["input"]);
    assert!(report["machine"]["cores"].as_u64().unwrap() >= 1);

    let arms = report["arms"].as_array().unwrap();
    let ways: Vec<_> = arms
        .iter()
        .map(|arm| {
            format!("{} {} {}", arm["detectors"], arm["arm"], arm["arrangement"]).replace('"', "")
        })
        .collect();
    let pipelines = ["embedded", "separate", "separate, scraped"];
    let expected = ["1 alone 1 × 1".into(), "1 fused 1 × 1".into()]
        .into_iter()
        .chain(pipelines.map(|way| format!("1 {way} 1 × 1")));
    let two = ["2 alone 2 × 1", "2 fused 2 × 1", "2 fused 1 × 2"].map(String::from).into_iter();
    assert_eq!(
        ways,
        expected
            .chain(two)
            .chain(pipelines.map(|way| format!("2 {way} 2 × 1")))
            .collect::<Vec<_>>()
    );

    let objects: BTreeSet<_> = arms
        .iter()
        .filter(|arm| arm["arm"] == "fused" || arm["arm"] == "embedded")
        .map(|arm| arm["objects"].as_u64())
        .collect();
    assert!(
        objects.len() == 1 && objects.first().unwrap().unwrap() >= FRAMES,
        "the same pictures, the same objects: {objects:?}"
    );
    for n in [1, 2] {
        let limits: Vec<_> =
            arms.iter().filter(|arm| arm["detectors"] == n && arm["limit"] == true).collect();
        assert!(limits.len() == 1 && measured(&limits[0]["ratio"], 2) == 1.0, "{limits:?}");
    }
    for arm in arms {
        check_arm(arm);
    }
    let picture = std::fs::read_to_string(picture).unwrap();
    assert!(
        picture.starts_with("<svg")
            && picture.contains("separate, scraped")
            && picture.contains("carphone_pristine.mp4"),
        "{picture}"
    );
}

fn check_arm(arm: &Value) {
    let way = arm["arm"].as_str().unwrap();
    assert_eq!((&arm["frames"], &arm["failed"]), (&FRAMES.into(), &0.into()), "{arm}");
    let interval = &arm["ratio_interval"];
    assert_eq!(interval.is_null(), arm["limit"] == true, "{arm}");
    if let Some(ratio) = interval["ratio"].as_f64() {
        let side = |name: &str| interval[name].as_f64().unwrap();
        assert!(side("low") <= ratio && ratio <= side("high"), "{arm}");
    }
    assert!(
        measured(&arm["frames_per_second"], 2) > 0.0 && measured(&arm["ratio"], 2) > 0.0,
        "{arm}"
    );
    assert!(measured(&arm["over_one"], 2) > 0.0 && measured(&arm["others"], 2) >= 0.0, "{arm}");
    let names =
        |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    let model = matches!(way, "alone" | "fused");
    assert_eq!(
        names(&arm["latency_ms"]),
        if model { "boxes inference payload tensor" } else { "counting detecting waiting" }
    );
    for latency in arm["latency_ms"].as_object().unwrap().values() {
        assert!(latency["p50"].as_f64().unwrap() <= latency["p99"].as_f64().unwrap(), "{arm}");
    }
    let processes = arm["processes"].as_array().unwrap();
    let detectors = (1..=arm["detectors"].as_u64().unwrap())
        .map(|n| format!("detector {n}"))
        .collect::<Vec<_>>()
        .join(" ");
    let expected = match way {
        "embedded" => "moliceiro nats-server bench".to_owned(),
        "alone" | "fused" => format!("{way} bench"),
        _ => format!("ingest {detectors} aggregator nats-server bench"),
    };
    assert_eq!(
        processes
            .iter()
            .map(|process| process["process"].as_str().unwrap())
            .collect::<Vec<_>>()
            .join(" "),
        expected
    );
    for process in processes {
        assert!(process["peak_rss_bytes"].as_u64().unwrap() > 1 << 20, "{process}");
        measured(&process["cpu_ms_per_frame"], 2);
        measured(&process["written_bytes_per_frame"], 2);
    }
    let busy = processes.iter().filter(|process| process["process"] != "bench");
    assert!(
        busy.map(|process| process["cpu_ms_per_frame"]["median"].as_f64().unwrap()).sum::<f64>()
            > 0.0,
        "{arm}"
    );
    if way == "embedded" {
        assert_eq!(
            names(&processes[0]["threads_cpu_ms_per_frame"]),
            "async decode inference other",
            "{arm}"
        );
        assert!((0.0..=1.0).contains(&measured(&arm["cpu_outside"], 2)), "{arm}");
    }
}

#[test]
fn every_part_reports_its_figures() {
    let data = tempfile::tempdir().unwrap();
    let parts = ["start", "first-frame", "detectors", "ingest", "publish", "aggregator"];
    let frames = FRAMES.to_string();
    let mut arguments = vec![
        "--frames",
        &frames,
        "--repeat",
        "1",
        "--detectors",
        "1,2",
        "--messages",
        "4000",
        "--json",
    ];
    arguments.extend(parts.iter().flat_map(|part| ["--part", part]));
    let report = figures(bench(data.path(), &arguments));
    assert_eq!(report["arms"], Value::Array(vec![]));
    let figures = report["figures"].as_array().unwrap();
    for (part, number) in parts.into_iter().zip([1, 4, 3, 3, 4, 3]) {
        let of_part: Vec<_> = figures.iter().filter(|figure| figure["part"] == part).collect();
        assert_eq!(of_part.len(), number, "{part}: {of_part:?}");
        for figure in of_part {
            assert!(
                measured(&figure["value"], 1) > 0.0 && !figure["unit"].as_str().unwrap().is_empty(),
                "{figure}"
            );
        }
    }
    assert!(
        is_empty(data.path()),
        "{:?}",
        std::fs::read_dir(data.path()).unwrap().collect::<Vec<_>>()
    );
}

#[test]
fn a_model_file_is_measured_in_every_way() {
    let data = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR"));
    let model = model.join("../detector/vision/models/nanodet-int8.onnx");
    let (file, frames) = (data.path().join("mine.onnx"), FRAMES.to_string());
    std::fs::copy(model, &file).unwrap();
    let store = tempfile::tempdir().unwrap();
    let arguments = ["--model", file.to_str().unwrap(), "--json", "--frames", &frames];
    let arguments = [&arguments[..], &["--repeat", "1", "--detectors", "1"]].concat();
    let report = figures(bench(store.path(), &arguments));
    assert_eq!(report["input"]["model"], "mine@1");
    let arms = report["arms"].as_array().unwrap();
    assert_eq!(arms.len(), 4, "{arms:?}");
    assert!(arms.iter().all(|arm| arm["frames"] == FRAMES && arm["failed"] == 0), "{arms:?}");
}

#[test]
fn a_quick_benchmark_gives_one_ratio_and_its_interval() {
    let data = tempfile::tempdir().unwrap();
    let frames = FRAMES.to_string();
    let arguments = ["--quick", "--json", "--frames", &frames, "--seconds", "5"];
    let report = figures(bench(data.path(), &arguments));
    let quick = &report["quick"];
    assert!(report["arms"] == Value::Array(vec![]) && report["stopped"] == false, "{report}");
    let slices = quick["slices"].as_u64().unwrap();
    assert!(slices >= 2 && quick["objects"].as_u64().unwrap() >= FRAMES, "{quick}");
    let ratio = |name: &str| quick["ratio"][name].as_f64().unwrap();
    assert!(
        0.0 < ratio("low") && ratio("low") <= ratio("ratio") && ratio("ratio") <= ratio("high")
    );
    let speeds = ["limit", "embedded"].map(|way| measured(&quick[way], slices));
    assert!(speeds.iter().all(|speed| *speed > 0.0), "{quick}");
    let stopped = eventually(|| servers_of(data.path()).is_empty().then_some(()));
    assert!(stopped.is_some() && is_empty(data.path()), "{:?}", servers_of(data.path()));
}

#[test]
fn a_stopped_benchmark_leaves_nothing_running_and_prints_what_it_has() {
    let data = tempfile::tempdir().unwrap();
    let mut process = bench(data.path(), &["--frames", "40", "--repeat", "9", "--detectors", "1"]);
    process.wait_for_stderr("4/36: repetition 1, 1 detectors, separate", 1);
    let found = eventually(|| (!servers_of(data.path()).is_empty()).then_some(()));
    assert!(found.is_some());
    process.signal(Signal::INT);
    let report = process.expect_code(130).join("\n");
    assert!(report.contains("Stopped before its end") && report.contains("fused"), "{report}");
    assert!(!report.contains("separate"), "it was not measured to its end: {report}");
    let stopped = eventually(|| servers_of(data.path()).is_empty().then_some(()));
    assert!(stopped.is_some(), "{:?}", servers_of(data.path()));
}

#[test]
fn what_cannot_be_measured_is_reported() {
    let run = |arguments: &[&str], code: i32| {
        let mut process = Process::start(moliceiro().arg("bench").args(arguments));
        assert!(process.expect_code(code).is_empty());
        process.stderr().join("\n")
    };
    assert!(run(&["/nonexistent.mp4"], 1).contains("/nonexistent.mp4"));
    assert!(run(&["--nats", "nats://127.0.0.1:1", "a.mp4"], 64).contains("servers of its own"));
    assert!(run(&[], 64).contains("VIDEO"));
    assert!(run(&["--detectors", "0", "a.mp4"], 64).contains("--detectors"));
    assert!(run(&["--seconds", "5", "a.mp4"], 64).contains("--quick"));
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.mp4");
    std::fs::write(&text, "not a video, despite its name").unwrap();
    assert!(run(&[text.to_str().unwrap()], 1).contains("text.mp4"));
    let times = folder.path().join("times.avi");
    ffmpeg(
        &["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=10:duration=2", "-c:v", "mpeg4"],
        &times,
    );
    assert!(
        run(&["--frames", "10", times.to_str().unwrap()], 1)
            .contains("give a short video instead of --frames")
    );
}
