//! Models by name, from the command line to the summary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use moliceiro_nats::messages::{Fit, ModelId, Scaling, Size, Summary, VideoState};
use moliceiro_nats::models::NewModel;
use moliceiro_nats::{Streams, StreamsSettings, VideoId};
use moliceiro_testing::deployment::{Deployment, FRAMES, IMPATIENT, VIDEO};
use moliceiro_testing::http::FORM;
use moliceiro_testing::ingest::{IngestApi, stored_objects};
use moliceiro_testing::models::huge_model;
use moliceiro_testing::paths::{project, sample};
use moliceiro_testing::process::{Process, SLOWER, moliceiro, run, service, summaries};
use moliceiro_testing::server::Server;
use moliceiro_testing::until;
use rustix::process::Signal;
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

#[test]
fn a_run_with_several_models_prints_a_summary_of_each() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let file = model_file(folder.path(), "boats", "nanodet.onnx");
    let run_of = |models: &[&str]| {
        let mut command = run(&data);
        command.args(["--json", "--every", "40"]).args(SLOWER);
        for model in models {
            command.args(["--model", model]);
        }
        Process::start(command.arg(sample(VIDEO)))
    };
    let file = file.to_str().unwrap();
    let found = summaries(&run_of(&["nanodet", file]).expect_code(0));
    assert_eq!(found.iter().map(model_of).collect::<Vec<_>>(), ["nanodet", "boats@1"]);
    assert_eq!(found[1].video.as_str(), format!("{}-by-boats-v1", found[0].video));
    assert_eq!(found[0].processed_frames, found[1].processed_frames);
    let mut twice = run_of(&["nanodet", "boats", "boats@1"]);
    assert_eq!(summaries(&twice.expect_code(0)).len(), 2);
    let mut unknown = run_of(&["nanodet", "boat"]);
    unknown.expect_code(64);
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

/// Each analysis is a video of its own: one that no detector serves does not hold up the other, and
/// the bytes stay until both are decoded.
#[tokio::test(flavor = "multi_thread")]
async fn several_models_analyse_one_upload_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    const SMALL_QUEUE: &str = "streams.frames_max_per_video=8";
    let site = Deployment::new(server.url(), &["--set", SMALL_QUEUE]);
    let _aggregator = site.ready("aggregator");
    let detector = site.start_with("detector", &["--models", "nanodet"]);
    let ingest = IngestApi::start(&server, &[SMALL_QUEUE]);
    site.add_model(&model_file(folder.path(), "boats", "nanodet.onnx"));
    let video = fs::read(sample(VIDEO)).unwrap();
    let refused = |query: &str, part: &str| {
        ingest.send(&[&format!("POST /videos?{query}")], &video).is_problem(422, part);
    };
    refused("models=nanodet,addid", "did you mean added?");
    refused("models=nanodet,added&model=added", "models must be");
    let sent = ingest.send(&["POST /videos?every=4&models=nanodet,added,added@1"], &video).json();
    let analyses = sent["analyses"].as_array().unwrap();
    let [first, second] = [0, 1].map(|of| analyses[of]["id"].as_str().unwrap().to_owned());
    assert_eq!((analyses.len(), &sent["id"]), (2, &json!(first)), "{sent}");
    assert_eq!(second, format!("{first}-by-added-v1"));
    let summary = ingest.summary(&first);
    assert_eq!((&summary["state"], &summary["model"]["name"]), (&json!("done"), &json!("nanodet")));
    assert_ne!(ingest.get(&format!("/videos/{second}")).json()["state"], "done");
    let compare = format!("/videos/{second}/compare?models=nanodet,added");
    ingest.get(&compare).is_problem(409, "is not finished");
    let removed = ingest.send(&["DELETE /models/added"], b"");
    removed.is_problem(409, &second);

    detector.signal(Signal::TERM);
    let _detectors = site.ready("detector");
    let other = ingest.summary(&second);
    assert_eq!((&other["state"], &other["model"]["name"]), (&json!("done"), &json!("added@1")));
    assert_eq!(other["processed_frames"], summary["processed_frames"]);
    let listed = ingest.get(&format!("/videos/{second}/analyses")).json();
    let listed: Vec<_> =
        listed["analyses"].as_array().unwrap().iter().map(|of| of["id"].clone()).collect();
    assert_eq!(listed, [json!(first), json!(second)]);
    let compared = ingest.get(&compare).json();
    assert_eq!(compared["analyses"][1]["id"], json!(second), "{compared}");
    let person = |of: usize| {
        let classes = compared["classes"].as_array().unwrap();
        let of_person = classes.iter().find(|class| class["label"] == "person").unwrap();
        of_person["objects"][of].clone()
    };
    assert_eq!(person(0), summary["classes"]["person"]);
    assert_eq!(person(1), json!(0));
    let unknown = format!("/videos/{first}/compare?models=nanodet,addid");
    ingest.get(&unknown).is_problem(422, "did you mean added?");
    let missing = format!("/videos/{first}/compare?models=nanodet,nanodet-int8");
    ingest.get(&missing).is_problem(404, "is not analysed by nanodet-int8");
    // The bytes are deleted once both are decoded.
    let jetstream = server.jetstream().await;
    until("the bytes are deleted", async || (stored_objects(&jetstream).await == 0).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_killed_while_two_models_analyse_costs_neither_a_frame() {
    let server = Server::start();
    let queue = ["--set", "streams.frames_max_per_video=8"];
    let site = Deployment::new(server.url(), &[&IMPATIENT[..], &queue].concat());
    let _aggregator = site.ready("aggregator");
    let mut killed = site.ready("ingest");
    let uri = format!("file://{}", sample(VIDEO).display());
    let models = ["nanodet", "nanodet-int8"];
    site.upload_json(&json!({"uri": uri, "id": "two", "models": models})).await;
    let streams = Streams::open(site.client().await, &StreamsSettings::default(), 16).await;
    let streams = streams.unwrap();
    for id in ["two", "two-by-nanodet-int8"] {
        let id = VideoId::try_from(id.to_owned()).unwrap();
        until("frames of both are queued", async || {
            let entry = streams.videos().entry(&id).await.unwrap()?;
            (entry.published > 0).then_some(())
        })
        .await;
    }
    killed.kill();
    let _others = ["ingest", "detector"].map(|service| site.ready(service));
    let mut found = site.summaries(2).await;
    found.sort_by_key(|summary| summary.video.clone());
    let counts = found.iter().map(|s| (s.video.as_str(), s.state, s.processed_frames));
    let expected = ["two", "two-by-nanodet-int8"].map(|id| (id, VideoState::Done, FRAMES));
    assert_eq!(counts.collect::<Vec<_>>(), expected);
    assert_eq!(found.iter().map(model_of).collect::<Vec<_>>(), models);
}

/// A command whose process may have 16 GiB of addresses.
fn limited(command: &Command) -> Command {
    let mut limited = Command::new("bash");
    limited.args(["-c", "ulimit -v 16777216; exec \"$0\" \"$@\""]);
    limited.arg(command.get_program()).args(command.get_args());
    limited
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_needs_more_memory_than_there_is_fails_its_own_videos_only() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let site = Deployment::new(server.url(), &[]);
    let _others = ["aggregator", "ingest"].map(|service| site.ready(service));
    let file = huge_model(folder.path());
    let mut add = moliceiro();
    add.args(["model", "add", "--name", "huge", "--nats", &site.url]).arg(&file);
    let mut refused = Process::start(&mut limited(&add));
    refused.expect_code(1);
    let says = |line: &String| line.contains("not enough memory");
    assert!(refused.stderr().iter().any(says), "{:?}", refused.stderr());
    // On a machine with more memory, it might have been added.
    let streams = Streams::open(site.client().await, &StreamsSettings::default(), 16).await;
    let models = streams.unwrap().models.clone();
    let new = NewModel {
        name: ModelId::for_name("huge"),
        size: Size { width: 416, height: 416 },
        multiple_of: Some(32),
        fit: Fit::Area,
        scaling: Scaling::Linear,
        classes: 80,
        manifest: Some(format!("family = \"nanodet\"\nlabels = {:?}", vec!["a"; 80])),
    };
    models.add(&new, models.upload(&file).await.unwrap()).await.unwrap();
    let mut detector = service("detector");
    detector.args(["--nats", &site.url, "--set", "detector.sessions=1"]);
    let mut detector = Process::start(&mut limited(&detector));
    let uri = format!("file://{}", sample(VIDEO).display());
    for (name, model) in [("1", "huge"), ("2", "nanodet"), ("3", "huge")] {
        site.upload_json(&json!({"uri": uri, "name": name, "every": 40, "model": model})).await;
    }
    let mut found = site.summaries(3).await;
    found.sort_by_key(|summary| summary.name.clone());
    let counts = found.iter().map(|summary| (summary.processed_frames, summary.failed_frames));
    assert_eq!(counts.collect::<Vec<_>>(), [(0, 3), (3, 0), (0, 3)], "{found:#?}");
    let reasons: Vec<_> = found[0].failed.iter().map(|failed| failed.reason.as_str()).collect();
    assert!(reasons.iter().all(|reason| reason.contains("not enough memory")), "{reasons:?}");
    assert!(reasons.iter().all(|reason| reason.contains("the model huge@1")), "{reasons:?}");
    assert!(detector.ended().is_none(), "it still serves other models");
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
