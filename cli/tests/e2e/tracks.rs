//! Different objects, lines and zones: as lines of a summary, over HTTP, and asked again of stored
//! results.

use std::path::Path;

use moliceiro_nats::messages::VideoState;
use moliceiro_testing::deployment::Deployment;
use moliceiro_testing::ingest::IngestApi;
use moliceiro_testing::paths::sample;
use moliceiro_testing::process::{self, Process, SLOWER, moliceiro, run, summaries};
use moliceiro_testing::server::Server;
use moliceiro_testing::video::file_uri;
use serde_json::{Value, json};

const VIDEO: &str = "carphone_pristine.mp4";
/// The person sits in the right half.
const ZONE: &str = "seat: 0,0 1,0 1,1 0,1";
const LINE: &str = "gate[person]@centre: 0.5,0 0.5,1";

fn run_sample(data: &Path, arguments: &[&str]) -> Vec<String> {
    let arguments = SLOWER.iter().chain(arguments).chain(&["--end", "2"]);
    Process::start(run(data).args(arguments).arg(sample(VIDEO))).expect_code(0)
}

fn analyse(data: &Path, video: &str, arguments: &[&str], code: i32) -> (Vec<String>, String) {
    let mut command = moliceiro();
    let command = command.arg("analyse").arg(video).arg("--data").arg(data).args(arguments);
    let mut process = Process::start(command);
    (process.expect_code(code), process.stderr().join("\n"))
}

#[test]
fn a_run_prints_different_objects_and_stored_results_are_asked_again() {
    let data = tempfile::tempdir().unwrap();
    let lines = run_sample(data.path(), &["--line", LINE, "--zone", ZONE]);
    assert_eq!(lines[0], VIDEO);
    assert!(lines[1].starts_with("Processed frames: ") && lines[5].starts_with("Top 3 "));
    assert!(lines[6].starts_with("Different persons: "), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("Line gate: ")), "{lines:#?}");
    let zone = lines.last().unwrap();
    assert!(zone.starts_with("Zone seat: ") && zone.contains("at once"), "{zone}");

    let status =
        Process::start(moliceiro().arg("status").arg("--data").arg(data.path())).expect_code(0);
    let video = status[1].split_whitespace().next().unwrap();
    let (again, _) = analyse(data.path(), video, &[], 0);
    let without_time = |lines: &[String]| {
        lines.iter().filter(|l| !l.contains("time")).cloned().collect::<Vec<_>>()
    };
    assert_eq!(without_time(&again), without_time(&lines));

    let (json, _) = analyse(data.path(), video, &["--line", "other: 0.1,0 0.1,1", "--json"], 0);
    let json: Value = serde_json::from_str(&json[0]).unwrap();
    assert!(json["complete"] == true && json["lines"]["other"]["in"].is_object(), "{json}");
    assert!(
        json["tracks"]["person"].as_u64() >= Some(1) && json["zones"]["seat"].is_object(),
        "{json}"
    );
    assert!(json["lines"]["gate"].is_null() && json["state"] == "done", "{json}");
    let (other, _) = analyse(data.path(), video, &["--tracker", "ocsort"], 0);
    assert!(other.iter().any(|line| line.starts_with("Line gate: ")), "{other:#?}");
    assert!(other.iter().any(|line| line.starts_with("Zone seat: ")), "{other:#?}");
    let (none, _) = analyse(data.path(), video, &["--tracker", "none"], 0);
    assert_eq!(none.len(), 5, "{none:#?}");
    let (_, said) = analyse(data.path(), video, &["--threshold", "0.01"], 0);
    assert!(said.contains("score 0.1 or less (detector.floor)"), "{said}");
    let rules: Vec<_> = (0..17).map(|n| format!("--alarm=car > {n}")).collect();
    let rules: Vec<_> = rules.iter().map(String::as_str).collect();
    let (_, said) = analyse(data.path(), video, &rules, 64);
    assert!(said.contains("--alarm: alarms must be at most 16 rules"), "{said}");
    let (records, _) = analyse(data.path(), video, &["--records", "tracks"], 0);
    let tracks: u64 = json["tracks"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(records.len() as u64, tracks);
    let (fewer, _) = analyse(data.path(), video, &["--threshold", "0.99"], 0);
    assert!(fewer.contains(&"Person objects detected: 0".to_owned()), "{fewer:#?}");
}

#[test]
fn without_being_asked_the_text_stays_and_the_json_has_tracks() {
    let data = tempfile::tempdir().unwrap();
    assert_eq!(run_sample(data.path(), &["--every", "2"]).len(), 6);
    let [summary] = &summaries(&run_sample(data.path(), &["--every", "2", "--json"]))[..] else {
        panic!("one summary")
    };
    assert!(summary.tracked.tracks.as_ref().unwrap()["person"] >= 1, "{summary:?}");
    let untracked = run_sample(data.path(), &["--every", "2", "--json", "--tracker", "none"]);
    assert!(!untracked[0].contains("\"tracks\""), "{untracked:?}");
}

#[test]
fn an_invalid_line_zone_or_rule_starts_nothing() {
    let data = tempfile::tempdir().unwrap();
    for (arguments, part) in [
        (&["--line", "gate: 0.5,0 0.5,0"][..], "no length"),
        (&["--line", "gate: 0.5,0 1.5,0"], "1.5 is not from 0 to 1"),
        (&["--zone", "quay: 0,0 1,1 1,0 0,1"], "sides 1 and 3 cross"),
        (&["--line", LINE, "--line", LINE], "\"gate\" twice"),
        (&["--line", LINE, "--tracker", "none"], "tracker"),
        (&["--track", "--tracker", "none"], "--tracker: none contradicts --track"),
        (&["--line", LINE, "--alarm", "person crosses bridge"], "not a line \"bridge\""),
        (&["--alarm", "person crosses"], "not an alarm rule"),
    ] {
        let mut process =
            Process::start(run(&data.path().join("none")).args(arguments).arg(sample(VIDEO)));
        process.expect_code(64);
        let said = process.stderr().join("\n");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
    assert!(!data.path().join("none").exists());
}

/// Which model analyses the videos is known only on the server, so that is started.
#[test]
fn an_unknown_class_is_wrong_usage_and_analyses_nothing() {
    let data = tempfile::tempdir().unwrap();
    for (arguments, part) in [
        (&["--line", "gate[persn]: 0.5,0 0.5,1"][..], "--line: lines have \"gate[persn]\""),
        (&["--zone", "quay[car,boats]: 0,0 1,0 1,1"], "did you mean \"boat\"?"),
        (&["--alarm", "Person > 3"], "did you mean \"person\"?"),
        (&["--alarm", "zzz > 3"], "its 80 classes are person, bicycle"),
    ] {
        let mut process = Process::start(run(data.path()).args(arguments).arg(sample(VIDEO)));
        assert!(process.expect_code(64).is_empty());
        let said = process.stderr().join("\n");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
    let mut status = Process::start(moliceiro().arg("status").arg("--data").arg(data.path()));
    assert!(status.expect_code(0).len() <= 1, "{:?}", status.stdout());

    assert!(
        !run_sample(data.path(), &["--every", "4", "--alarm", "3 people in seat", "--zone", ZONE])
            .is_empty()
    );
    let status =
        Process::start(moliceiro().arg("status").arg("--data").arg(data.path())).expect_code(0);
    let video = status[1].split_whitespace().next().unwrap();
    let (_, said) = analyse(data.path(), video, &["--line", "gate[persn]: 0.5,0 0.5,1"], 64);
    assert!(said.contains("--line: lines have") && said.contains("\"person\"?"), "{said}");
    let (_, said) = analyse(data.path(), video, &["--zone", "other: 0,0 1,0 1,1"], 0);
    assert!(said.contains("alarms of the upload have \"3 people in seat\""), "{said}");
    let (_, said) = analyse(data.path(), video, &["--alarm", "persn in seat"], 64);
    assert!(said.contains("--alarm: alarms have"), "{said}");
}

/// Over NATS, there is no answer: the video says it.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_over_nats_with_an_unknown_class_fails_before_it_is_decoded() {
    let server = Server::start();
    let site = Deployment::new(server.url(), &[]);
    let _services = ["aggregator", "ingest"].map(|service| site.ready(service));
    let uri = file_uri(&sample(VIDEO));
    site.upload_json(&json!({"uri": uri, "lines": ["gate[persn]: 0,0 1,1"]})).await;
    site.upload_json(&json!({
        "uri": uri, "models": ["nanodet", "nanodet-int8"], "alarms": ["persn > 1"]
    }))
    .await;
    for summary in site.summaries(3).await {
        let problem = summary.problem.unwrap();
        assert!(problem.contains("have \"") && problem.contains("mean \"person\"?"), "{problem}");
        assert_eq!((summary.state, summary.processed_frames), (VideoState::Failed, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tracks_crossings_and_visits_are_served_over_http() {
    let server = Server::start();
    let http = IngestApi::start(&server, &["ingest.width=256", "ingest.height=256"]);
    let _others = ["aggregator", "detector"]
        .map(|name| Process::start(process::service(name).args(["--nats", &server.url()])));
    let bytes = std::fs::read(sample(VIDEO)).unwrap();
    let query = "every=2&end=2&lines=gate%5Bperson%5D%40centre%3A+0.5,0+0.5,1\
                 &zones=seat%3A+0,0+1,0+1,1+0,1&alarms=person+in+seat";
    let id = http.upload(&[&format!("POST /videos?{query}")], &bytes);
    let summary = http.summary(&id);
    let persons = summary["tracks"]["person"].as_u64().unwrap();
    assert!(persons >= 1 && summary["alarms"].as_u64() >= Some(1), "{summary}");
    let shown = http.get(&format!("/videos/{id}")).json();
    assert_eq!(shown["analytics"]["tracks"], summary["tracks"]);
    assert_eq!(shown["zones"], json!(["seat: 0,0 1,0 1,1 0,1"]));

    let tracks = http.get(&format!("/videos/{id}/tracks")).json();
    assert_eq!((&tracks["complete"], &tracks["tracks"]), (&json!(true), &summary["tracks"]));
    let of_persons = |track: &&Value| track["label"] == "person";
    let records = tracks["records"].as_array().unwrap();
    assert_eq!(records.iter().filter(of_persons).count() as u64, persons);
    let rows = http.get(&format!("/videos/{id}/detections?tracks=true")).text();
    let rows: Vec<Value> = rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    let first = |row: &&Value| row["track"] == records[0]["track"];
    assert!(rows.iter().filter(first).count() > 2, "{rows:?}");
    let zones = http.get(&format!("/videos/{id}/zones")).json();
    assert_eq!(zones["zones"], summary["zones"]);
    assert!(!zones["records"].as_array().unwrap().is_empty(), "{zones}");
    let lines = http.get(&format!("/videos/{id}/lines")).json();
    assert_eq!(lines["lines"], summary["lines"]);
    for answer in [&zones, &lines, &tracks] {
        let most = answer["timeline"]["zones"]["seat"]["most"].as_array().unwrap();
        let most = most.iter().map(|most| most.as_u64().unwrap()).max();
        assert_eq!(most, summary["zones"]["seat"]["occupancy"]["most"].as_u64(), "{answer}");
        assert!(answer["timeline"]["lines"]["gate"]["in"].is_array(), "{answer}");
    }

    let ask = |body: &Value| {
        let first = [&format!("POST /videos/{id}/analyses")[..], "Content-Type: application/json"];
        http.send(&first, body.to_string().as_bytes())
    };
    let other = ask(&json!({ "lines": ["other: 0.2,0 0.2,1"], "threshold": 0.3 })).json();
    assert!(other["lines"]["other"].is_object() && other["zones"]["seat"].is_object(), "{other}");
    assert!(other["timeline"]["lines"]["other"]["out"].is_array(), "{other}");
    for (body, part) in [
        (json!({ "lines": ["other: 0.2,0 0.2,0"] }), "no length"),
        (json!({ "zones": ["quay: 0,0 1,1 1,0 0,1"] }), "cross"),
        (json!({ "alarms": ["person crosses bridge"] }), "bridge"),
        (json!({ "alarms": ["persn crosses gate"] }), "mean \\\"person\\\"?"),
        (json!({ "zones": ["quay[persn]: 0,0 1,0 1,1"] }), "zones have"),
        (json!({ "threshold": 2 }), "threshold"),
        (json!({ "line": [] }), "unknown field"),
        (json!({ "tracker": "sort" }), "tracker: unknown variant"),
        (json!({ "lines": [1] }), "lines: invalid type"),
        (json!({ "threshold": "high" }), "threshold: invalid type"),
        (json!({ "alarms": vec!["car > 1"; 17] }), "alarms must be at most 16"),
    ] {
        let refused = ask(&body);
        assert_eq!(refused.status, 422, "{body}: {}", refused.text());
        assert!(refused.text().contains(part), "{body}: {}", refused.text());
    }
    let json = |body: &Value| {
        let first = ["POST /videos", "Content-Type: application/json"];
        http.send(&first, body.to_string().as_bytes())
    };
    let uri = file_uri(&sample(VIDEO));
    for refused in [
        http.send(&["POST /videos?alarms=persn+%3E+3"], &bytes),
        json(&json!({ "uri": uri, "zones": ["quay[persn]: 0,0 1,0 1,1"] })),
        json(
            &json!({ "uri": uri, "models": ["nanodet", "nanodet-int8"], "alarms": ["persn > 3"] }),
        ),
    ] {
        assert_eq!(refused.status, 422, "{}", refused.text());
        assert!(refused.text().contains("did you mean \\\"person\\\"?"), "{}", refused.text());
    }
    let refused = http.send(&["POST /videos?lines=gate%3A+0,0+0,0"], &bytes);
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("lines"), "{}", refused.text());
}
