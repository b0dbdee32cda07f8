//! A model that cannot be used is refused by name when it is added. If it is used all the same, its
//! own videos fail: other models and videos go on, and no service ends.

use std::fs;
use std::path::{Path, PathBuf};

use moliceiro_nats::messages::{Fit, ModelId, Scaling, Size, Summary, VideoState};
use moliceiro_nats::models::NewModel;
use moliceiro_nats::{Models, Streams, StreamsSettings, VideoId};
use moliceiro_testing::deployment::{Deployment, FRAMES, VIDEO};
use moliceiro_testing::http::FORM;
use moliceiro_testing::ingest::IngestApi;
use moliceiro_testing::models::{always_crashing_model, always_hanging_model};
use moliceiro_testing::paths::{project, sample};
use moliceiro_testing::process::{Process, moliceiro, run_in_model_size, summaries};
use moliceiro_testing::server::Server;
use moliceiro_testing::until;
use moliceiro_testing::video::{ffmpeg, short_video};
use serde_json::json;

/// So that a model that hangs is given up soon.
const SOON: [&str; 2] = ["--set", "detector.deadline=1s"];

fn data(path: &str) -> PathBuf {
    project().join("detector/vision/tests/data").join(path)
}

/// Files that are no usable models, each with a part of the error.
fn bad_models(folder: &Path) -> Vec<(PathBuf, &'static str)> {
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let whole = fs::read(data("layouts/yolov8.onnx")).unwrap();
    let huge = file("huge.onnx", b"");
    fs::File::create(&huge).unwrap().set_len(4 << 30).unwrap();
    let labels = file("labels.onnx", &fs::read(data("layouts/yolov5.onnx")).unwrap());
    fs::write(labels.with_extension("toml"), "labels = [\"a\", \"b\"]").unwrap();
    let own = |name: &str, make: fn(&Path) -> PathBuf| {
        let folder = folder.join(name);
        fs::create_dir(&folder).unwrap();
        make(&folder)
    };
    vec![
        (file("text.onnx", b"not a model"), "it is not ONNX"),
        (file("truncated.onnx", &whole[..whole.len() / 2]), "truncated"),
        (huge, "less than 2 GiB"),
        (data("misfits/external.onnx"), "weights.bin"),
        (data("misfits/opset.onnx"), "opset"),
        (data("misfits/operator.onnx"), "Unheard"),
        (data("misfits/nan-always.onnx"), "NaN"),
        (data("misfits/nothing-known.onnx"), "no known family"),
        (labels, "classes, and there are 2 labels"),
        (own("crashes", always_crashing_model), "SIGFPE"),
        (own("hangs", always_hanging_model), "longer than 20 s"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_model_is_refused_by_name_and_a_good_one_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let site = Deployment::new(server.url(), &[]);
    let _others = ["aggregator", "ingest", "detector"].map(|service| site.ready(service));
    let video = short_video(folder.path(), "video.mp4");
    for (file, part) in bad_models(folder.path()) {
        let mut add = moliceiro();
        add.args(["model", "add", "--nats", &site.url, "--name", "bad"]).args(SOON).arg(&file);
        let mut run = run_in_model_size(&folder.path().join("data"));
        run.arg("--model").arg(&file).args(SOON).arg(&video);
        for command in [&mut add, &mut run] {
            let mut refused = Process::start(command);
            assert_eq!(refused.expect_code(1), Vec::<String>::new());
            let lines = refused.stderr();
            let name = file.file_name().unwrap().to_str().unwrap();
            let says = |line: &String| line.starts_with("error: ") && line.contains(name);
            let errors: Vec<_> = lines.iter().filter(|line| says(line)).collect();
            assert!(matches!(errors[..], [line] if line.contains(part)), "{part}: {lines:#?}");
        }
    }
    let streams = Streams::open(site.client().await, &StreamsSettings::default(), 16).await;
    let listed = streams.unwrap().models.list().await.unwrap();
    assert_eq!(listed.len(), 2, "only the built-in ones: {listed:?}");
    assert_eq!(site.add_model(&data("layouts/yolov8.onnx")), "added@1");
}

/// What finds too much, or boxes beside the picture, is a model; so is one whose sizes are all open.
#[test]
fn odd_models_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let video = short_video(folder.path(), "video.mp4");
    let mut run = run_in_model_size(&folder.path().join("data"));
    run.arg("--json");
    let models = ["misfits/many", "misfits/boxes-outside", "misfits/open"];
    for model in models {
        run.arg("--model").arg(data(&format!("{model}.onnx")));
    }
    let found = summaries(&Process::start(run.arg(&video)).expect_code(0));
    assert_eq!(found.len(), models.len());
    for summary in &found {
        let counts = (summary.state, summary.processed_frames, summary.failed_frames);
        assert_eq!(counts, (VideoState::Done, 10, 0), "{:?}", summary.models);
    }
    assert_eq!(found[1].classes["person"], 10, "the part of a box that is in the picture");
}

/// Stores a model that no detector has tried.
async fn store(models: &Models, name: &str, file: &Path, manifest: &str) {
    let new = NewModel {
        name: ModelId::for_name(name),
        size: Size { width: 96, height: 64 },
        multiple_of: None,
        fit: Fit::Stretch,
        scaling: Scaling::Linear,
        classes: 80,
        manifest: Some(manifest.to_owned()),
    };
    models.add(&new, models.upload(file).await.unwrap()).await.unwrap();
}

fn reasons(summary: &Summary) -> Vec<&str> {
    summary.failed.iter().map(|failed| failed.reason.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_model_in_the_store_fails_its_own_videos_and_no_service_ends() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let site = Deployment::new(server.url(), &SOON);
    let mut services = ["aggregator", "ingest", "detector"].map(|service| site.ready(service));
    let streams = Streams::open(site.client().await, &StreamsSettings::default(), 16).await;
    let models = streams.unwrap().models.clone();
    let manifest = fs::read_to_string(project().join("detector/vision/models/nanodet.toml"));
    let own_labels = format!("{:?}", vec!["a"; 80]);
    let manifest = manifest.unwrap().replace("\"coco-labels.txt\"", &own_labels);
    let text = folder.path().join("text.onnx");
    fs::write(&text, "not a model").unwrap();
    let bad = [
        ("text", text, "text@1 cannot be used"),
        ("crashes", always_crashing_model(folder.path()), "SIGFPE"),
    ];
    let mut expected = vec![];
    for (name, file, part) in &bad {
        store(&models, name, file, &manifest).await;
        expected.push((*name, *part));
    }
    store(&models, "hangs", &always_hanging_model(folder.path()), &manifest).await;
    expected.push(("hangs", "longer than 20 s"));
    let uri = format!("file://{}", sample(VIDEO).display());
    let upload = |name: &str, model: &str| json!({"uri": uri, "name": name, "id": name, "every": 40, "model": model});
    for (name, _) in &expected {
        site.upload_json(&upload(name, name)).await;
    }
    site.upload_json(&upload("good", "nanodet")).await;
    let mut found = site.summaries(expected.len() + 1).await;
    let at = found.iter().position(|summary| summary.video.as_str() == "good").unwrap();
    let good = found.remove(at);
    assert_eq!((good.processed_frames, good.failed_frames), (3, 0));
    for (name, part) in expected {
        let of = found.iter().find(|summary| summary.video.as_str() == name).unwrap();
        assert_eq!((of.processed_frames, of.failed_frames), (0, 3), "{name}");
        assert!(reasons(of).iter().all(|reason| reason.contains(part)), "{:?}", reasons(of));
        let model = format!("{name}@1");
        assert!(reasons(of).iter().all(|reason| reason.contains(&model)), "{:?}", reasons(of));
    }
    for service in &mut services {
        assert!(service.ended().is_none(), "{:#?}", service.stderr());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_gives_nan_for_some_frames_fails_those() {
    let folder = tempfile::tempdir().unwrap();
    let video = folder.path().join("video.mkv");
    let black = "color=black:size=96x64:rate=5:duration=1";
    let white = "drawbox=color=white:thickness=fill:enable='eq(n,2)'";
    ffmpeg(&["-f", "lavfi", "-i", black, "-vf", white, "-c:v", "libx264", "-qp", "0"], &video);
    let mut run = run_in_model_size(&folder.path().join("data"));
    run.args(["--json", "--set", "streams.frame_max_deliver=1"]);
    run.arg("--model").arg(data("misfits/nan-if-bright.onnx"));
    let mut process = Process::start(run.arg(&video));
    process.wait();
    let found = summaries(&process.stdout()).remove(0);
    assert_eq!((found.processed_frames, found.failed_frames), (4, 1), "{found:?}");
    assert_eq!(found.failed[0].index, 2);
    assert!(reasons(&found)[0].contains("the output is NaN"), "{found:?}");
}

/// A detector answers what is sent over HTTP, and others are served while it tries.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_sent_and_crashes_is_a_problem_and_no_detector_ends() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let site = Deployment::new(server.url(), &SOON);
    let ingest = IngestApi::start(&server, &[]);
    let mut others = ["aggregator", "detector"].map(|service| site.ready(service));
    for (make, part) in [
        (always_crashing_model as fn(&Path) -> PathBuf, "SIGFPE"),
        (always_hanging_model as fn(&Path) -> PathBuf, "longer than 20 s"),
    ] {
        let onnx = fs::read(make(folder.path())).unwrap();
        let part_of = |of: &str, value: &[u8]| {
            let head = format!("--limit\r\ncontent-disposition: form-data; {of}\r\n\r\n");
            [head.as_bytes(), value, b"\r\n"].concat()
        };
        let labels: Vec<_> = (0..80).map(|class| format!("bad {class}")).collect();
        let manifest = format!("family = \"nanodet\"\nlabels = {labels:?}");
        let form = [
            part_of("name=\"name\"", b"bad"),
            part_of("name=\"manifest\"; filename=\"a.toml\"", manifest.as_bytes()),
            part_of("name=\"model\"; filename=\"a.onnx\"", &onnx),
            b"--limit--\r\n".to_vec(),
        ];
        ingest.send(&["POST /models", FORM], &form.concat()).is_problem(422, part);
    }
    for service in &mut others {
        assert!(service.ended().is_none(), "{:#?}", service.stderr());
    }
}

/// Somebody deletes a model's object, and the detector that has it loaded dies: no other one can
/// have it.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_deleted_between_two_frames_fails_the_rest_by_name() {
    let server = Server::start();
    let site = Deployment::new(server.url(), &["--set", "streams.frames_max_per_video=8"]);
    let _others = ["aggregator", "ingest"].map(|service| site.ready(service));
    let mut detector = site.ready("detector");
    let onnx = project().join("detector/vision/models/nanodet.onnx");
    assert_eq!(site.add_model(&onnx), "added@1");
    let uri = format!("file://{}", sample(VIDEO).display());
    site.upload_json(&json!({"uri": uri, "id": "removed", "model": "added"})).await;
    let streams = Streams::open(site.client().await, &StreamsSettings::default(), 16).await;
    let streams = streams.unwrap();
    let id = VideoId::try_from("removed".to_owned()).unwrap();
    until("frames are counted", async || {
        let entry = streams.videos().entry(&id).await.unwrap()?;
        (entry.counted > 0).then_some(())
    })
    .await;
    let store = site.jetstream().await.get_object_store("models").await.unwrap();
    store.delete("added@1").await.unwrap();
    detector.kill();
    let mut detector = site.ready("detector");
    site.upload_json(&json!({"uri": uri, "id": "good", "every": 40})).await;
    let mut found = site.summaries(2).await;
    found.sort_by_key(|summary| summary.video.clone());
    assert_eq!((found[0].processed_frames, found[0].failed_frames), (3, 0));
    let removed = &found[1];
    assert_eq!(removed.processed_frames + removed.failed_frames, FRAMES);
    assert!(removed.processed_frames > 0 && removed.failed_frames > 0, "{removed:?}");
    assert!(
        reasons(removed).iter().all(|reason| reason.contains("no model added@1")),
        "{:?}",
        reasons(removed)
    );
    assert!(detector.ended().is_none(), "{:#?}", detector.stderr());
}
