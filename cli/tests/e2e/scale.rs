//! `moliceiro scale`: detectors come with the work and go with it.

use moliceiro_nats::messages::{QueuedWork, from_json};
use moliceiro_testing::cluster::{Cluster, leader};
use moliceiro_testing::deployment::{Deployment, VIDEO, counts, without_faults_with};
use moliceiro_testing::paths::sample;
use moliceiro_testing::process::{Process, moliceiro};
use moliceiro_testing::server::Server;
use moliceiro_testing::until;
use rustix::process::Signal;

/// So large that a video outlasts the start of detectors.
const LARGE: [&str; 4] = ["--set", "ingest.width=640", "--set", "ingest.height=640"];
/// A frame that is charged a delivery fails.
const CHARGED_ONCE: [&str; 2] = ["--set", "streams.frame_max_deliver=1"];
const MAX: usize = 3;

fn scale(site: &Deployment, arguments: &[&str]) -> Process {
    let mut command = moliceiro();
    command.args(["scale", "--nats", &site.url, "--log", "debug"]).args(arguments);
    Process::start(command.args(&site.settings))
}

fn lines_with(process: &Process, part: &str) -> usize {
    process.stderr().iter().filter(|line| line.contains(part)).count()
}

/// The detectors that run, at each change, with the frames in the queue then.
fn changes(process: &Process) -> Vec<(usize, u64)> {
    let lines = process.stderr();
    let changes = lines.iter().filter(|line| line.contains("changing the number of detectors"));
    changes
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let field = |name: &str| line[name].as_u64().unwrap_or_else(|| panic!("{line}"));
            (usize::try_from(field("wanted")).unwrap(), field("frames"))
        })
        .collect()
}

async fn until_all_have_stopped(process: &Process) {
    until("all detectors have stopped", async || {
        let started = lines_with(process, "started a detector");
        (started > 0 && lines_with(process, "a detector has stopped") == started).then_some(())
    })
    .await;
    assert_eq!(lines_with(process, "ended by itself"), 0, "{:#?}", process.stderr());
}

async fn work(client: &async_nats::Client) -> Option<QueuedWork> {
    let answer = client.request("models.work", "".into()).await.ok()?;
    from_json(&answer.payload).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_takes_detectors_from_none_to_several_and_back_to_none() {
    let expected = without_faults_with(&sample(VIDEO), 1, &LARGE);
    let server = Server::start();
    let site = Deployment::new(server.url(), &[&LARGE[..], &CHARGED_ONCE].concat());
    let _others = ["aggregator", "ingest"].map(|service| site.ready(service));
    let max = MAX.to_string();
    let scaling = scale(&site, &["--max", &max, "--within", "1s", "--cooldown", "2s"]);
    scaling.wait_for_stderr("scaling is ready", 1);
    let client = site.client().await;
    assert_eq!(until("an answer", async || work(&client).await).await.detector_seconds, 0.0);
    site.upload(VIDEO).await;

    // With work and without a detector, one is asked for.
    scaling.wait_for_stderr("started a detector", 1);
    assert_eq!(changes(&scaling)[0].0, 1, "{:#?}", changes(&scaling));
    let known = until("the speed of a detector is known", async || {
        let work = work(&client).await?;
        work.models.into_iter().find(|model| model.detector_frames_per_second.is_some())
    })
    .await;
    assert!(known.frames > 0 && known.detector_seconds > 0.0, "{known:?}");
    scaling.wait_for_stderr("started a detector", 2);
    site.assert_counts(&expected).await;

    until_all_have_stopped(&scaling).await;
    let changes = changes(&scaling);
    assert!(changes.iter().any(|(wanted, _)| *wanted > 1), "{changes:?}");
    assert!(changes.iter().all(|(wanted, frames)| *frames > 0 || *wanted < MAX), "{changes:?}");
    assert_eq!(changes.last().unwrap().0, 0, "{changes:?}");
    let done = work(&client).await.unwrap();
    assert_eq!((done.detectors, done.detector_seconds), (0, 0.0), "{done:?}");
    assert!(done.models[0].detector_frames_per_second.is_some(), "it is remembered: {done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_counted_though_the_leader_of_the_queue_is_killed() {
    let expected = without_faults_with(&sample(VIDEO), 1, &LARGE);
    let mut cluster = Cluster::start();
    let site =
        Deployment::new(cluster.url(), &[&LARGE[..], &["--set", "streams.replicas=3"]].concat());
    let _others = ["aggregator", "ingest"].map(|service| site.ready(service));
    let max = MAX.to_string();
    let scaling = scale(&site, &["--max", &max, "--within", "1s", "--cooldown", "2s"]);
    scaling.wait_for_stderr("scaling is ready", 1);
    let jetstream = site.jetstream().await;
    site.upload(VIDEO).await;
    scaling.wait_for_stderr("started a detector", 1);
    scaling.wait_for_stderr("frame done", 10);
    let first = until("a leader", async || leader(&jetstream, "FRAMES").await).await;
    cluster.kill(first);
    let summary = crate::cluster::summaries(&jetstream, 1).await.remove(0);
    assert_eq!(counts(&summary), expected);
    cluster.restart_empty(first);
    until_all_have_stopped(&scaling).await;
    let changes = changes(&scaling);
    assert!(changes.iter().all(|(wanted, frames)| *frames > 0 || *wanted < MAX), "{changes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn detectors_that_are_stopped_in_mid_frame_cost_no_delivery() {
    let expected = without_faults_with(&sample(VIDEO), 1, &LARGE);
    let server = Server::start();
    let few = ["--set", "streams.frames_max_per_video=8"];
    let site = Deployment::new(server.url(), &[&LARGE[..], &CHARGED_ONCE, &few].concat());
    let _others = ["aggregator", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    for _ in 0..2 {
        let mut scaling = scale(&site, &["--min", "2", "--max", "2"]);
        scaling.wait_for_stderr("frame done", 10);
        scaling.signal(Signal::INT);
        scaling.expect_code(0);
        assert_eq!(lines_with(&scaling, "started a detector"), 2);
    }
    // Killed itself, it takes its detectors with it, and they too finish what they have.
    let mut killed = scale(&site, &["--min", "2", "--max", "2"]);
    killed.wait_for_stderr("frame done", 10);
    killed.signal(Signal::KILL);
    // Its detectors have the same standard error, which ends with the last of them.
    killed.wait();
    let _last = scale(&site, &["--min", "1", "--max", "2"]);
    site.assert_counts(&expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn units_of_systemd_are_started_and_stopped_by_number() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    std::fs::create_dir(&state).unwrap();
    // Only its files are not those of systemd: a unit is active if it has one.
    let script = format!(
        "#!/bin/sh\ncommand=$1; shift\nfor unit in \"$@\"; do case $command:$unit in\n\
         *:--no-block) ;;\n\
         is-active:*) if [ -e {0}/$unit ]; then echo active; else echo inactive; fi ;;\n\
         start:*) touch {0}/$unit; echo \"start $unit\" >> {0}.log ;;\n\
         stop:*) rm -f {0}/$unit; echo \"stop $unit\" >> {0}.log ;;\nesac; done\n\
         [ $command != is-active ]\n",
        state.display()
    );
    let systemctl = folder.path().join("systemctl");
    std::fs::write(&systemctl, script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&systemctl, executable).unwrap();

    let server = Server::start();
    let site = Deployment::new(server.url(), &[]);
    let _others = ["aggregator", "ingest"].map(|service| site.ready(service));
    let mut command = moliceiro();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    command.args(["scale", "--systemd", "--max", "3", "--cooldown", "1s", "--nats", &site.url]);
    let mut scaling = Process::start(command.args(&site.settings).env("PATH", path));
    site.upload(VIDEO).await;
    let units = || {
        let files = std::fs::read_dir(&state).unwrap().flatten();
        files.map(|file| file.file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    until("the first unit is started", async || {
        (units() == ["moliceiro-detector@1.service"]).then_some(())
    })
    .await;
    let detector = site.ready("detector");
    site.assert_unharmed().await;
    until("it is stopped", async || units().is_empty().then_some(())).await;
    drop(detector);
    scaling.signal(Signal::TERM);
    scaling.expect_code(0);
    let log = std::fs::read_to_string(folder.path().join("state.log")).unwrap();
    assert!(log.starts_with("start moliceiro-detector@1.service\n"), "{log}");
}

#[test]
fn a_plan_names_its_figures_and_refuses_a_model_that_was_not_measured() {
    let plan = |model: &str| {
        let mut command = moliceiro();
        command.args(["plan", "--cameras", "20", "--fps", "5", "--model", model]);
        Process::start(&mut command)
    };
    let text = plan("nanodet").expect_code(0).join("\n");
    for part in ["100 frames/s", "Detectors  7, of one core each: 21.1", "docs/capacity.md"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let mut unknown = plan("boats");
    unknown.expect_code(64);
    assert!(unknown.stderr()[0].contains("--frames-per-core"), "{:?}", unknown.stderr());
}

#[test]
fn wrong_numbers_are_wrong_usage() {
    for (arguments, part) in [
        (vec!["scale", "--max", "0"], "--max of 1 to 10000"),
        (vec!["scale", "--min", "3", "--max", "2"], "--min that is not larger"),
        (vec!["scale", "--within", "0s"], "--within of 1s or longer"),
        (vec!["plan", "--cameras", "0", "--fps", "5"], "one or more --cameras"),
        (vec!["restore", "b", "--replicas", "2"], "give 1, 3 or 5"),
    ] {
        let mut command = moliceiro();
        let mut process = Process::start(command.args(&arguments));
        process.expect_code(64);
        let said = process.stderr().join("\n");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
}
