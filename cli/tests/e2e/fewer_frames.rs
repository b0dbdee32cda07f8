//! Frames that are left out: because an option says so, because they are not key frames, or because
//! nothing in them changed.

use std::path::{Path, PathBuf};

use moliceiro_nats::messages::{Skipped, Summary, VideoState};
use moliceiro_testing::deployment::Deployment;
use moliceiro_testing::paths::sample;
use moliceiro_testing::process::{Process, run, summaries};
use moliceiro_testing::server::Server;
use moliceiro_testing::video::{ffmpeg, file_uri};
use rustix::process::Signal;
use serde_json::json;

fn count(data: &Path, options: &[&str], video: &Path) -> Summary {
    let mut command = run(data);
    command.arg("--json").args(options).arg(video);
    summaries(&Process::start(&mut command).expect_code(0)).remove(0)
}

/// Twenty seconds of a street where a man and his bicycle stand still, and another one moves from 8 s
/// to 10 s: 200 noisy frames.
fn street(folder: &Path) -> PathBuf {
    let [background, man] = ["background.png", "man.png"].map(|name| folder.join(name));
    let film = sample("bikes.mp4");
    let still = |number: u32, crop: &str, to: &Path| {
        let filter = format!("select='eq(n,{number})'{crop}");
        let film = film.to_str().unwrap();
        ffmpeg(&["-i", film, "-vf", &filter, "-frames:v", "1"], to);
    };
    still(126, "", &background);
    still(126, ",crop=130:272:340:0,scale=78:164", &man);
    let video = folder.join("street.mp4");
    let [background, man] = [&background, &man].map(|path| path.to_str().unwrap());
    let moves = "[0][1]overlay=x='if(between(t,8,10),(t-8)*150-60,-200)':y=100,noise=alls=4:allf=t";
    ffmpeg(
        &[
            ["-loop", "1", "-framerate", "10", "-t", "20", "-i", background],
            ["-loop", "1", "-framerate", "10", "-t", "20", "-i", man],
        ]
        .concat()
        .into_iter()
        .chain(["-filter_complex", moves, "-c:v", "libx264", "-g", "20", "-pix_fmt", "yuv420p"])
        .collect::<Vec<_>>(),
        &video,
    );
    video
}

fn assert_accounted(summary: &Summary) {
    let Summary { total_frames, processed_frames, failed_frames, skipped, .. } = summary;
    assert_eq!(*total_frames, Some(processed_frames + failed_frames + skipped.total()));
}

#[test]
fn every_way_of_leaving_frames_out_is_accounted_for() {
    let folder = tempfile::tempdir().unwrap();
    let (data, video) = (folder.path().join("data"), folder.path().join("a.mp4"));
    let source = "testsrc2=size=320x240:rate=10:duration=4";
    let coding = ["-c:v", "libx264", "-g", "10", "-sc_threshold", "0", "-pix_fmt", "yuv420p"];
    ffmpeg(&[&["-f", "lavfi", "-i", source], &coding[..]].concat(), &video);
    let none = Skipped::default();
    for (options, total, skipped) in [
        (&[][..], 40, none),
        (&["--every", "5"], 40, Skipped { every: 32, ..none }),
        (&["--fps", "2"], 40, Skipped { fps: 32, ..none }),
        (&["--start", "3"], 40, Skipped { before_start: 30, ..none }),
        (&["--end", "1"], 10, none),
        (&["--key-frames"], 40, Skipped { not_key: 36, ..none }),
        (&["--key-frames", "--every", "2"], 40, Skipped { not_key: 36, every: 2, ..none }),
        (&["--start", "2", "--fps", "5"], 40, Skipped { before_start: 20, fps: 10, ..none }),
    ] {
        let summary = count(&data, options, &video);
        assert_eq!((summary.total_frames, summary.skipped), (Some(total), skipped), "{options:?}");
        assert_eq!(summary.state, VideoState::Done, "{options:?}");
        assert_accounted(&summary);
    }
}

#[test]
fn where_a_camera_stands_still_few_frames_are_analysed_and_the_counts_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (data, video) = (folder.path().join("data"), street(folder.path()));
    let all = count(&data, &["--track"], &video);
    let few = count(&data, &["--track", "--skip-still"], &video);
    for summary in [&all, &few] {
        assert_accounted(summary);
        assert_eq!((summary.state, summary.total_frames), (VideoState::Done, Some(200)));
    }
    assert_eq!(all.skipped, Skipped::default());
    assert!(few.processed_frames <= 50, "{few:?}");
    assert_eq!(few.skipped.still + few.processed_frames, 200);
    // His score is clearly above the threshold. Noise lifts others above it in some frames only.
    let [sure, estimated] = [&all, &few].map(|summary| summary.count("person"));
    assert!(sure >= 200 && sure.abs_diff(estimated) * 100 <= sure, "{all:?} {few:?}");
    let mut printing = run(&data);
    let lines = Process::start(printing.args(["--skip-still"]).arg(&video)).expect_code(0);
    assert_eq!(lines[6], format!("Still frames: {}", few.skipped.still), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_killed_while_still_frames_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let video = street(folder.path());
    let server = Server::start();
    let site = Deployment::new(server.url(), &["--set", "streams.frames_max_per_video=4"]);
    let [_aggregator, detector] = ["aggregator", "detector"].map(|service| site.ready(service));
    let mut ingest = site.ready("ingest");
    let upload = |name: &str| json!({"uri": file_uri(&video), "name": name, "skip_still": true});
    site.upload_json(&upload("undisturbed")).await;
    let undisturbed = site.summaries(1).await.remove(0);
    let analysed = undisturbed.processed_frames as usize;
    assert!(undisturbed.skipped.still >= 150, "{undisturbed:?}");
    site.upload_json(&upload("disturbed")).await;
    for (done, signal) in [(3, Signal::KILL), (8, Signal::TERM), (15, Signal::KILL)] {
        detector.wait_for_stderr("frame done", analysed + done);
        ingest.signal(signal);
        ingest.wait();
        // The settings of its replacement must not matter.
        ingest = site.start_with("ingest", &["--every", "3"]);
    }
    let disturbed = site.summaries(2).await.remove(1);
    let counts = |summary: &Summary| {
        let Summary { state, total_frames, processed_frames, skipped, .. } = *summary;
        let (classes, most) = (summary.classes.clone(), summary.most_at_once.clone());
        (state, total_frames, processed_frames, skipped, classes, most)
    };
    assert_eq!(counts(&disturbed), counts(&undisturbed));
}
