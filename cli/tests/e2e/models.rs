//! Models by name, from the command line to the summary.

use std::fs;
use std::path::{Path, PathBuf};

use moliceiro_nats::messages::{Summary, VideoState};
use moliceiro_testing::deployment::{Deployment, VIDEO};
use moliceiro_testing::http::FORM;
use moliceiro_testing::ingest::IngestApi;
use moliceiro_testing::paths::{project, sample};
use moliceiro_testing::process::{Process, SLOWER, moliceiro, run, summaries};
use moliceiro_testing::server::Server;
use moliceiro_testing::until;
use serde_json::json;

/// The built-in model with labels of its own, as a file of this name.
fn model_file(folder: &Path, name: &str, onnx: &str) -> PathBuf {
    let models = project().join("detector/vision/models");
    let path = folder.join(format!("{name}.onnx"));
    fs::copy(models.join(onnx), &path).unwrap();
    let manifest = fs::read_to_string(models.join("nanodet.toml")).unwrap();
    fs::write(path.with_extension("toml"), manifest.replace("coco-labels.txt", "own.txt")).unwrap();
    let labels: String = (0..80).map(|class| format!("{name} {class}\n")).collect();
    fs::write(folder.join("own.txt"), labels).unwrap();
    path
}

fn run_with(data: &Path, arguments: &[&str]) -> Summary {
    let lines = Process::start(
        run(data).args(["--json", "--every", "40"]).args(SLOWER).args(arguments).arg(sample(VIDEO)),
    )
    .expect_code(0);
    summaries(&lines).remove(0)
}

fn model_of(summary: &Summary) -> String {
    summary.model.as_ref().unwrap().name.to_string()
}

#[test]
fn a_run_adds_the_model_file_that_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let file = model_file(folder.path(), "boats", "nanodet.onnx");
    let first = run_with(&data, &["--model", file.to_str().unwrap()]);
    assert_eq!((first.state, model_of(&first).as_str()), (VideoState::Done, "boats@1"));
    assert!(!first.classes.is_empty());
    assert!(first.classes.keys().all(|label| label.starts_with("boats ")), "{:?}", first.classes);
    assert_eq!(first.models.iter().collect::<Vec<_>>(), ["boats@1"]);
    // The same file is the same version; another one is the next.
    assert_eq!(model_of(&run_with(&data, &["--model", file.to_str().unwrap()])), "boats@1");
    let file = model_file(folder.path(), "boats", "nanodet-int8.onnx");
    assert_eq!(model_of(&run_with(&data, &["--model", file.to_str().unwrap()])), "boats@2");
    assert_eq!(run_with(&data, &["--model", "boats@1"]).classes, first.classes);
    assert_eq!(model_of(&run_with(&data, &[])), "nanodet");

    let mut list = moliceiro();
    let listed = Process::start(list.args(["model", "list", "--data"]).arg(&data)).expect_code(0);
    let names: Vec<_> = listed.iter().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["MODEL", "nanodet", "nanodet-int8", "boats@1", "boats@2"]);

    // A second analysis of one video is a video of its own.
    let command = |arguments: &[&str]| {
        let mut command = moliceiro();
        command.args(arguments).arg("--data").arg(&data);
        Process::start(&mut command).expect_code(0)
    };
    let video = first.video.as_str();
    let id = command(&["rerun", video, "--model", "nanodet"]).remove(0);
    assert_eq!(id, format!("{video}-by-nanodet"));
    let lines = Process::start(run(&data).arg("--json").args(SLOWER)).expect_code(0);
    assert_eq!(summaries(&lines)[0].video.as_str(), id);
    let table = command(&["compare", video, "boats@1", "nanodet"]);
    let head: Vec<_> = table[0].split_whitespace().collect();
    assert_eq!(head, ["CLASS", "boats@1", "nanodet", "DIFFERENCE", "FRAMES"]);
    let person: Vec<_> =
        table.iter().find(|l| l.starts_with("person ")).unwrap().split_whitespace().collect();
    assert_eq!(person[1], "0");
    assert!(person[3].starts_with('+') && person[4] != "0", "{table:#?}");

    let mut unknown = Process::start(run(&data).args(["--model", "boat"]).arg(sample(VIDEO)));
    unknown.expect_code(64);
    let advice = |line: &String| line.contains("there is no model boat: did you mean boats?");
    assert!(unknown.stderr().iter().any(advice), "{:?}", unknown.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_comes_into_use_while_services_run() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let site = Deployment::new(server.url(), &[]);
    let _others = ["aggregator", "ingest", "detector"].map(|service| site.ready(service));
    let file = model_file(folder.path(), "boats", "nanodet.onnx");
    assert_eq!(site.add_model(&file), "added@1");
    let uri = format!("file://{}", sample(VIDEO).display());
    let upload = |name: &str, model| json!({"uri": uri, "name": name, "every": 40, "model": model});
    site.upload_json(&upload("first", "added")).await;
    site.upload_json(&upload("none", "addid")).await;
    let mut found = site.summaries(2).await;
    found.sort_by_key(|summary| summary.name.clone());
    assert_eq!((model_of(&found[0]).as_str(), found[0].state), ("added@1", VideoState::Done));
    assert_eq!(found[1].state, VideoState::Failed);
    let problem = found[1].problem.as_deref().unwrap();
    assert!(problem.contains("no model addid: did you mean added?"), "{problem}");
}

/// A video whose model nobody serves says so, keeps its model from being removed, and is finished
/// once a detector serves it.
#[tokio::test(flavor = "multi_thread")]
async fn a_video_waits_for_a_detector_that_serves_its_model() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let site = Deployment::new(server.url(), &[]);
    let _others = ["aggregator", "ingest"].map(|service| site.ready(service));
    let _other_model = site.start_with("detector", &["--models", "nanodet"]);
    site.add_model(&model_file(folder.path(), "boats", "nanodet.onnx"));
    let uri = format!("file://{}", sample(VIDEO).display());
    site.upload_json(&json!({"uri": uri, "id": "waits", "every": 40, "model": "added"})).await;
    let command = |arguments: &[&str]| {
        let mut command = moliceiro();
        command.args(arguments).args(["--nats", &site.url]);
        Process::start(&mut command)
    };
    until("the status says that no detector serves the model", async || {
        let mut status = command(&["status", "waits"]);
        let code = status.wait();
        let says = status.stdout().iter().any(|line| line.contains("no detector serves"));
        (code.success() && says).then_some(())
    })
    .await;
    let mut refused = command(&["model", "remove", "added"]);
    refused.expect_code(1);
    assert!(refused.stderr().iter().any(|line| line.contains("in use by waits")));
    let _detector = site.ready("detector");
    let summary = site.summaries(1).await.remove(0);
    assert_eq!((summary.state, model_of(&summary).as_str()), (VideoState::Done, "added@1"));
    let removed = command(&["model", "remove", "added"]).expect_code(0);
    assert_eq!(removed, ["removed added@1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_added_listed_and_removed_over_http() {
    let server = Server::start();
    let site = Deployment::new(server.url(), &[]);
    let ingest = IngestApi::start(&server, &["ingest.width=256", "ingest.height=256"]);
    let _others = ["aggregator", "detector"].map(|service| site.ready(service));
    let models = project().join("detector/vision/models");
    let onnx = fs::read(models.join("nanodet.onnx")).unwrap();
    let labels: Vec<_> = (0..80).map(|class| format!("boats {class}")).collect();
    let manifest = fs::read_to_string(models.join("nanodet.toml")).unwrap();
    let manifest = manifest.replace("\"coco-labels.txt\"", &format!("{labels:?}"));
    let part = |of: &str, value: &[u8]| {
        let head = format!("--limit\r\ncontent-disposition: form-data; {of}\r\n\r\n");
        [head.as_bytes(), value, b"\r\n"].concat()
    };
    let add = |onnx: &[u8]| {
        let form = [
            part("name=\"name\"", b"boats"),
            part("name=\"model\"; filename=\"a.onnx\"", onnx),
            part("name=\"manifest\"; filename=\"a.toml\"", manifest.as_bytes()),
            b"--limit--\r\n".to_vec(),
        ];
        ingest.send(&["POST /models", FORM], &form.concat())
    };
    let added = add(&onnx);
    assert_eq!((added.status, added.header("location")), (201, Some("/models/boats@1")));
    assert_eq!(added.json()["classes"], 80);
    add(b"not a model").is_problem(422, "boats");
    let listed = ingest.get("/models").json();
    let names: Vec<_> =
        listed["models"].as_array().unwrap().iter().map(|model| &model["model"]).collect();
    assert_eq!(names, ["nanodet", "nanodet-int8", "boats@1"]);
    assert_eq!(ingest.get("/models/boats").json(), added.json());
    ingest.get("/models/boat").is_problem(404, "did you mean boats?");

    let video = fs::read(sample(VIDEO)).unwrap();
    let unknown = ingest.send(&["POST /videos?every=40&model=boots"], &video);
    unknown.is_problem(422, "did you mean boats?");
    let id = ingest.upload(&["POST /videos?every=40&model=boats"], &video);
    let summary = ingest.summary(&id);
    assert_eq!(summary["model"]["name"], "boats@1", "{summary}");
    assert_eq!(ingest.get(&format!("/videos/{id}")).json()["model"]["name"], "boats@1");
    let removed = ingest.send(&["DELETE /models/boats@1"], b"");
    assert_eq!((removed.status, &removed.json()["removed"]), (200, &json!(["boats@1"])));
    ingest.send(&["DELETE /models/nanodet"], b"").is_problem(422, "built in");
}
