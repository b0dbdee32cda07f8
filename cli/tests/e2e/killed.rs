//! Whichever process is killed, the summary is the one of an undisturbed run.

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use moliceiro_nats::messages::{Summary, VideoState};
use moliceiro_testing::deployment::{
    Counts, Deployment, FRAMES, VIDEO, counts, without_faults_of, without_faults_with,
};
use moliceiro_testing::duplicates::seeded;
use moliceiro_testing::models::{
    crashing_model, failing_model, hanging_model, videos_with_and_without_a_white_frame,
};
use moliceiro_testing::paths::sample;
use moliceiro_testing::process::{Process, SLOWER, moliceiro, run, summaries};
use moliceiro_testing::server::Server;
use moliceiro_testing::video::file_uri;
use rustix::process::Signal;
use serde_json::json;
use tokio::time::sleep;

#[tokio::test(flavor = "multi_thread")]
async fn a_detector_killed_while_it_analyses_three_times() {
    let server = Server::start();
    let site = Deployment::new(server.url(), &["--set", "detector.sessions=1"]);
    let _others = ["aggregator", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    for _ in 0..3 {
        let detector = site.start("detector");
        detector.wait_for_stderr("frame done", 8);
        detector.signal(Signal::KILL);
    }
    let _last = site.start("detector");
    site.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_killed_many_times() {
    let server = Server::start();
    let site = Deployment::new(server.url(), &["--set", "aggregator.linger=10ms"]);
    let _others = ["detector", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    let mut random = seeded();
    for _ in 0..8 {
        let aggregator = site.ready("aggregator");
        sleep(Duration::from_millis(random.u64(50..400))).await;
        aggregator.signal(Signal::KILL);
    }
    let _last = site.start("aggregator");
    site.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stand_by_aggregator_takes_over_by_itself() {
    let server = Server::start();
    let site = Deployment::new(server.url(), &["--set", "streams.frames_max_per_video=8"]);
    let [first, stand_by, detector, _ingest] =
        ["aggregator", "aggregator", "detector", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    detector.wait_for_stderr("frame done", 40);
    first.signal(Signal::KILL);
    site.assert_unharmed().await;
    stand_by.wait_for_stderr("video is done", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_killed_while_decoding_is_replaced_by_another() {
    let server = Server::start();
    // A short queue keeps the ingest decoding: it waits for the detector.
    let site = Deployment::new(server.url(), &["--set", "streams.frames_max_per_video=8"]);
    let [_aggregator, detector] = ["aggregator", "detector"].map(|service| site.ready(service));
    let first = site.ready("ingest");
    site.upload(VIDEO).await;
    detector.wait_for_stderr("frame done", 30);
    first.signal(Signal::KILL);
    let second = site.start("ingest");
    second.wait_for_stderr("decoding", 1);
    let line = second.stderr().into_iter().find(|line| line.contains("decoding")).unwrap();
    let resumed_at =
        serde_json::from_str::<serde_json::Value>(&line).unwrap()["first"].as_u64().unwrap();
    assert!((1..FRAMES).contains(&resumed_at), "{line}");
    site.assert_unharmed().await;
}

/// The sample has 30 frames per second: every fourth between 0.5 and 3.9 s.
#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_killed_while_it_selects_frames_by_time() {
    const CHOSEN: u64 = 26;
    let server = Server::start();
    let site = Deployment::new(server.url(), &["--set", "streams.frames_max_per_video=4"]);
    let [_aggregator, detector] = ["aggregator", "detector"].map(|service| site.ready(service));
    let mut ingest = site.ready("ingest");
    let uri = file_uri(&sample(VIDEO));
    let upload =
        |name: &str| json!({"uri": uri, "name": name, "fps": 7.5, "start": 0.5, "end": "3s 900ms"});
    site.upload_json(&upload("undisturbed")).await;
    let undisturbed = site.summaries(1).await.remove(0);
    assert_eq!(
        (undisturbed.state, undisturbed.processed_frames),
        (VideoState::Done, CHOSEN),
        "{undisturbed:?}"
    );
    site.upload_json(&upload("disturbed")).await;
    for (done, signal) in [(6, Signal::KILL), (12, Signal::TERM), (16, Signal::KILL)] {
        detector.wait_for_stderr("frame done", CHOSEN as usize + done);
        ingest.signal(signal);
        ingest.wait();
        // The settings of its replacement must not matter.
        ingest = site.start_with("ingest", &["--every", "3"]);
    }
    let disturbed = site.summaries(2).await.remove(1);
    assert_eq!(
        (counts(&disturbed), disturbed.duration_s),
        (counts(&undisturbed), undisturbed.duration_s)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_service_restarted_in_turn() {
    let video = sample("bikes.mp4");
    let server = Server::start();
    let site = Deployment::new(server.url(), &["--set", "streams.frames_max_per_video=8"]);
    let mut running = BTreeMap::new();
    for service in ["aggregator", "detector", "ingest"] {
        running.insert(service, site.ready(service));
    }
    site.upload_file(&video, "bikes").await;
    running["detector"].wait_for_stderr("frame done", 5);
    let jetstream = site.jetstream().await;
    for service in ["ingest", "detector", "aggregator", "ingest"] {
        let summaries =
            jetstream.get_stream("SUMMARIES").await.unwrap().cached_info().state.messages;
        assert_eq!(summaries, 0, "the video was finished before the {service} was restarted");
        let mut old = running.remove(service).unwrap();
        old.signal(Signal::TERM);
        old.expect_code(0);
        running.insert(service, site.ready(service));
    }
    site.assert_counts(&without_faults_of(&video, 1)).await;
}

/// A frame whose only delivery is lost would be counted as failed.
#[tokio::test(flavor = "multi_thread")]
async fn detectors_replaced_one_after_the_other_cost_no_delivery() {
    // So large that the video outlasts the replacements.
    const LARGE: [&str; 4] = ["--set", "ingest.width=640", "--set", "ingest.height=640"];
    const FEW: [&str; 4] =
        ["--set", "streams.frame_max_deliver=1", "--set", "streams.frames_max_per_video=8"];
    let expected = without_faults_with(&sample(VIDEO), 1, &LARGE);
    let server = Server::start();
    let site = Deployment::new(server.url(), &[LARGE, FEW].concat());
    let _others = ["aggregator", "ingest"].map(|service| site.ready(service));
    let mut detectors = VecDeque::from(["detector", "detector"].map(|service| site.ready(service)));
    site.upload(VIDEO).await;
    for _ in 0..4 {
        detectors.push_back(site.ready("detector"));
        let mut old = detectors.pop_front().unwrap();
        old.wait_for_stderr("frame done", 3);
        old.signal(Signal::TERM);
        old.expect_code(0);
    }
    site.assert_counts(&expected).await;
}

/// Starts detector after detector, each with its own name, as they end.
async fn detectors_one_after_the_other(
    site: &Deployment,
    settings: &[&str],
    signals: &mut Vec<Option<i32>>,
) {
    loop {
        let name = format!("detector.name=detector-{}", signals.len() + 1);
        let mut detector = site.start_with("detector", &[settings, &["--set", &name]].concat());
        while detector.ended().is_none() {
            sleep(Duration::from_millis(50)).await;
        }
        signals.push(detector.wait().signal());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "the deadly model kills on x86 only")]
async fn a_frame_that_kills_every_detector_fails_alone() {
    const DEADLY: u64 = 50;
    let folder = tempfile::tempdir().unwrap();
    let [video, without] = videos_with_and_without_a_white_frame(folder.path(), DEADLY);
    let model = crashing_model(folder.path());
    let server = Server::start();
    let settings = ["--set", "streams.frame_max_deliver=3", "--set", "ingest.model=added"];
    let site = Deployment::new(server.url(), &settings);
    site.add_model(&model);
    let _others = ["aggregator", "ingest"].map(|service| site.ready(service));
    site.upload_file(&video, "deadly").await;
    let mut signals = Vec::new();
    let summary = tokio::select! {
        mut summaries = site.summaries(1) => summaries.remove(0),
        () = detectors_one_after_the_other(&site, &[], &mut signals) => unreachable!(),
    };
    assert_eq!(signals, [Some(Signal::FPE.as_raw()); 3], "it dies each time");

    assert_failed_alone(
        &site,
        &summary,
        &without,
        DEADLY,
        "3\tdetector-3\tno detector finished it",
    );
}

/// Asserts that all frames were counted except `index`, which the video `without` lacks, and how
/// its dead letter is listed.
fn assert_failed_alone(
    site: &Deployment,
    summary: &Summary,
    without: &Path,
    index: u64,
    dead: &str,
) {
    let (state, processed, failed, classes): Counts = without_faults_of(without, 1);
    assert_eq!((state, failed), (VideoState::Done, 0));
    assert_eq!(counts(summary), (VideoState::Done, processed, 1, classes));
    assert_eq!(summary.failed[0].index, index);
    let mut list = moliceiro();
    let listed =
        Process::start(list.args(["dead", "list", "--nats", &site.url]).args(&site.settings))
            .expect_code(0);
    assert!(
        matches!(
            &listed[..],
            [line] if line.starts_with(&format!("{}\t{index}\t{dead}", summary.video))
        ),
        "{listed:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_the_model_fails_on_is_retried_and_fails_alone() {
    const WHITE: u64 = 50;
    let folder = tempfile::tempdir().unwrap();
    let [video, without] = videos_with_and_without_a_white_frame(folder.path(), WHITE);
    let model = failing_model(folder.path());
    let server = Server::start();
    let settings = ["--set", "streams.frame_max_deliver=3", "--set", "ingest.model=added"];
    let site = Deployment::new(server.url(), &settings);
    site.add_model(&model);
    let _others = ["aggregator", "ingest"].map(|service| site.ready(service));
    let name = ["--set", "detector.name=one"];
    let mut detector = site.start_with("detector", &name);
    site.upload_file(&video, "white").await;
    let summary = site.summaries(1).await.remove(0);
    detector.wait_for_stderr("a frame failed; trying again", 2);
    detector.wait_for_stderr("giving up a frame", 1);
    assert_failed_alone(&site, &summary, &without, WHITE, "3\tone\tinference failed");
    assert!(summary.failed[0].reason.contains("out of data bounds"), "{summary:?}");
    detector.signal(Signal::TERM);
    assert!(detector.wait().success());
}

/// Far longer than a frame takes, also on a busy machine.
const DEADLINE: [&str; 2] = ["--set", "detector.deadline=10s"];

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_the_model_never_finishes_fails_alone() {
    const HANGING: u64 = 50;
    let folder = tempfile::tempdir().unwrap();
    let [video, without] = videos_with_and_without_a_white_frame(folder.path(), HANGING);
    let model = hanging_model(folder.path());
    let server = Server::start();
    let settings = ["--set", "streams.frame_max_deliver=2", "--set", "ingest.model=added"];
    let site = Deployment::new(server.url(), &settings);
    let model = site.add_model(&model);
    let _others = ["aggregator", "ingest"].map(|service| site.ready(service));
    site.upload_file(&video, "hanging").await;
    let mut errors = Vec::new();
    for delivery in 1..=2 {
        let name = format!("detector.name=detector-{delivery}");
        let mut detector =
            site.start_with("detector", &[&DEADLINE[..], &["--set", &name]].concat());
        detector.expect_code(1);
        errors.push(detector.stderr_line("error: "));
    }
    let _last = site.start("detector");
    let summary = site.summaries(1).await.remove(0);
    let error = format!(
        "error: frame {HANGING} of {} is still being analysed by the model {model} after 10 s",
        summary.video
    );
    assert!(errors.iter().all(|line| line.starts_with(&error)), "{error}: {errors:#?}");
    assert_failed_alone(&site, &summary, &without, HANGING, "2\tdetector-2\tthe model did not");
}

/// The only detector of a run is in its process.
#[test]
fn a_run_ends_at_a_frame_that_the_model_never_finishes_and_later_ones_count_the_rest() {
    const HANGING: u64 = 20;
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let [video, _] = videos_with_and_without_a_white_frame(folder.path(), HANGING);
    let model = hanging_model(folder.path());
    let start = || {
        let mut command = run(data.path());
        command.args(SLOWER).args(DEADLINE).args(["--set", "streams.frame_max_deliver=2"]);
        Process::start(command.args(["--json", "--model"]).arg(&model).arg(&video))
    };
    let mut first = start();
    assert!(first.expect_code(1).is_empty());
    let error = first.stderr().join("\n");
    assert!(error.contains(&format!("frame {HANGING} of with-mkv-")), "{error}");
    assert!(error.contains("(detector.deadline)") && error.contains("Start it again"), "{error}");
    // The second run ends there too, perhaps before the last of the others is analysed.
    let mut next = (0..2).flat_map(|_| summaries(&start().expect_code(1)));
    let summary = next.next().expect("it fails at its second delivery");
    assert_eq!(
        (summary.state, summary.processed_frames, summary.failed_frames),
        (VideoState::Done, FRAMES - 1, 1)
    );
    assert_eq!(summary.failed[0].index, HANGING);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_detector_loses_its_frames_to_another_and_may_continue() {
    let server = Server::start();
    let site = Deployment::new(server.url(), &["--set", "detector.sessions=1"]);
    let _others = ["aggregator", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    let mut stopped = site.start("detector");
    stopped.wait_for_stderr("frame done", 8);
    stopped.signal(Signal::STOP);
    let _other = site.start("detector");
    site.assert_unharmed().await;
    // What it had in flight is counted already.
    stopped.signal(Signal::CONT);
    stopped.signal(Signal::TERM);
    stopped.expect_code(0);
    site.assert_unharmed().await;
}
