//! Live sources: windows with their own summaries, and connections that are restored.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use moliceiro_nats::messages::{Summary, VideoState};
use moliceiro_testing::deployment::{Deployment, IMPATIENT};
use moliceiro_testing::eventually;
use moliceiro_testing::ingest::IngestApi;
use moliceiro_testing::loopback::Loopback;
use moliceiro_testing::observed::ObservedService;
use moliceiro_testing::paths::{project, sample};
use moliceiro_testing::process::{self, Process, run, summaries};
use moliceiro_testing::server::Server;
use moliceiro_testing::video::ffmpeg;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::static_camera;

const JSON: &str = "content-type: application/json";

/// A sample with people on bicycles, repeated.
fn looped(folder: &Path, times: &str) -> PathBuf {
    let path = folder.join(format!("looped-{times}.mp4"));
    ffmpeg(
        &["-stream_loop", times, "-i", sample("bikes.mp4").to_str().unwrap(), "-an", "-c", "copy"],
        &path,
    );
    path
}

/// GStreamer's own RTSP server. Only Debian's Python has the bindings.
fn rtsp_server(at: &Loopback, video: &Path) -> Process {
    let script = project().join("cli/tests/data/rtsp_server.py");
    let address = at.port(0);
    let server = Process::start(
        Command::new("/usr/bin/python3")
            .arg(script)
            .args([address.ip().to_string(), address.port().to_string()])
            .arg(video),
    );
    server.wait_for_stdout(1);
    server
}

/// On a busy machine frames may be dropped, which the window's summary then mentions.
fn has_dropped(window: &Summary) -> bool {
    window.problem.as_ref().is_some_and(|problem| problem.contains("frames were dropped"))
}

#[test]
fn an_rtsp_stream_has_a_summary_for_each_window_and_one_when_it_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let camera = Loopback::claim();
    let _server = rtsp_server(&camera, &looped(folder.path(), "20"));
    let uri = format!("rtsp://{}/live", camera.port(0));
    let mut process = Process::start(
        run(&folder.path().join("data")).args(["--json", "--window", "3s", "--fps", "4", &uri]),
    );
    process.wait_for_stdout(2);
    process.signal(Signal::INT);
    let found = summaries(&process.expect_code(130));
    let (sources, windows): (Vec<_>, Vec<_>) =
        found.iter().partition(|summary| summary.live.is_some());
    assert!(
        matches!(&sources[..], [source] if source.state == VideoState::Cancelled),
        "{sources:#?}"
    );
    assert!(windows.len() >= 2, "{windows:#?}");
    for window in &windows {
        assert!(window.video.is_window_of(&sources[0].video), "{window:#?}");
        assert!(
            window.processed_frames > 0
                && window.uri == uri
                && window.name.starts_with("live (from "),
            "{window:#?}"
        );
    }
    for whole in &windows[..2] {
        assert!(whole.state == VideoState::Done || has_dropped(whole), "{whole:#?}");
        assert!(
            whole.processed_frames <= 16 && (whole.processed_frames >= 8 || has_dropped(whole)),
            "{whole:#?}"
        );
    }
    assert!(windows.iter().any(|window| window.count("person") > 0), "{windows:#?}");
    let again = Process::start(
        run(&folder.path().join("data"))
            .arg("--json")
            .arg(sample("carphone_pristine.mp4"))
            .args(["--every", "40"]),
    )
    .expect_code(0);
    assert_eq!(summaries(&again).len(), 1, "the stream is not resumed");
}

#[tokio::test(flavor = "multi_thread")]
async fn still_frames_of_a_camera_are_skipped_in_every_window() {
    const WINDOWS: usize = 3;
    let folder = tempfile::tempdir().unwrap();
    let camera = Loopback::claim();
    let _rtsp = rtsp_server(&camera, &static_camera::film(folder.path(), 60));
    let address = camera.port(0);
    let server = Server::start();
    let allow = format!("ingest.allow=rtsp://{address}/");
    let settings = [&IMPATIENT[..], &["--set", &allow, "--set", "ingest.window=3s"]].concat();
    let ingest = ObservedService::start_with("ingest", &server.url(), &settings);
    let site = Deployment::new(server.url(), &[]);
    let _others = ["aggregator", "detector"].map(|service| site.ready(service));
    let upload =
        json!({"uri": format!("rtsp://{address}/live"), "name": "wall", "skip_still": true});
    site.upload_json(&upload).await;
    let windows = site.summaries(WINDOWS).await;
    let sum = |of: &dyn Fn(&Summary) -> u64| windows.iter().map(of).sum::<u64>();
    for window in &windows {
        let Summary { total_frames, processed_frames, failed_frames, skipped, .. } = window;
        assert!(window.state == VideoState::Done || has_dropped(window), "{window:#?}");
        assert_eq!((*failed_frames, skipped.total()), (0, skipped.still), "{window:#?}");
        assert_eq!(*total_frames, Some(processed_frames + skipped.still), "{window:#?}");
    }
    let still = sum(&|window| window.skipped.still);
    assert!(sum(&|window| window.processed_frames) * 2 <= still, "{windows:#?}");
    // He comes in the second window, and is analysed in few of the frames that show him.
    assert!(sum(&|window| window.count("person")) >= 20, "{windows:#?}");
    let counted = metric(&ingest, "moliceiro_ingest_frames_skipped_total{reason=\"still\"}");
    assert!(counted >= still, "{counted} of {still}");
}

fn metric(service: &ObservedService, name: &str) -> u64 {
    let (_, text) = service.get("/metrics");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn the_end_of_a_stream_ends_its_last_window() {
    let folder = tempfile::tempdir().unwrap();
    let camera = Loopback::claim();
    let _server = rtsp_server(&camera, &looped(folder.path(), "0"));
    let uri = format!("rtsp://{}/live", camera.port(0));
    let mut process =
        Process::start(run(&folder.path().join("data")).args(["--json", "--fps", "2", &uri]));
    process.wait();
    let found = summaries(&process.stdout());
    let live = found.iter().find_map(|summary| summary.live.clone()).unwrap();
    assert_eq!((live.windows, found.len()), (1, 2), "{found:#?}");
    let window = found.iter().find(|summary| summary.live.is_none()).unwrap();
    assert!(window.state == VideoState::Done || has_dropped(window), "{window:#?}");
    assert!((15..=21).contains(&window.processed_frames) || has_dropped(window), "{window:#?}");
    assert!(window.processed_frames == live.frames, "{found:#?}");
}

#[test]
fn a_lost_connection_is_shown_and_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (camera, video) = (Loopback::claim(), looped(folder.path(), "20"));
    let address = camera.port(0);
    let rtsp = rtsp_server(&camera, &video);
    let server = Server::start();
    let _others = ["aggregator", "detector"]
        .map(|name| Process::start(process::service(name).args(["--nats", &server.url()])));
    let http = IngestApi::start(
        &server,
        &[&format!("ingest.allow=rtsp://{address}/"), "ingest.window=2s"],
    );
    let body =
        json!({ "uri": format!("rtsp://{address}/live"), "name": "harbour", "fps": 2 }).to_string();
    let id = http.upload(&["POST /videos", JSON], body.as_bytes());
    let shown = || http.get(&format!("/videos/{id}")).json();
    let until = |what: &str, is_so: &dyn Fn(&Value) -> bool| {
        let seen = eventually(|| Some(shown()).filter(|video| is_so(&video["live"])));
        seen.unwrap_or_else(|| panic!("never {what}: {:#}\n{:#?}", shown(), http.process.stderr()))
    };
    let ended = |live: &Value| live["windows"].as_u64().unwrap_or(0);
    let before = until("connected", &|live| live["connection"] == "connected" && ended(live) >= 1);
    assert_eq!(before["state"], "decoding");
    drop(rtsp);
    let lost = until("lost", &|live| live["connection"] == "reconnecting");
    assert!(lost["live"]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{lost}");
    assert_eq!(lost["state"], "decoding");
    let windows = ended(&lost["live"]);
    let pauses = || -> Vec<f64> {
        let logs = http
            .process
            .stderr()
            .into_iter()
            .filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        logs.filter_map(|log| log["pause"].as_str()?.strip_suffix('s')?.parse().ok()).collect()
    };
    eventually(|| (pauses().len() >= 3).then_some(())).expect("it is tried again and again");
    let longer = pauses().into_iter().zip([1.0, 2.0, 4.0]).all(|(pause, least)| pause >= least);
    assert!(longer, "{:?}", pauses());
    let _rtsp = rtsp_server(&camera, &video);
    until("connected again", &|live| {
        live["connection"] == "connected" && ended(live) > windows + 1
    });

    assert_eq!(http.send(&[&format!("DELETE /videos/{id}")], b"").status, 202);
    let all = || http.get("/videos?limit=100").json()["videos"].as_array().unwrap().clone();
    let is_over = |video: &Value| {
        ["done", "incomplete", "cancelled"].iter().any(|state| video["state"] == *state)
    };
    let over = eventually(|| Some(all()).filter(|videos| videos.iter().all(is_over)));
    let over = over.unwrap_or_else(|| panic!("{:#?}", all()));
    assert!(over.len() >= 4, "{over:#?}");
    let problem = |video: &Value| {
        video["summary"]["problem"]
            .as_str()
            .filter(|problem| !problem.contains("frames were dropped"))
            .is_some()
    };
    let cut_off =
        over.iter().filter(|video| video["state"] == "incomplete" && problem(video)).count();
    assert!(
        cut_off <= 1,
        "only the window that was open when the server died has a problem: {over:#?}"
    );
}

/// Answers RTSP requests with a redirect.
fn redirecting_rtsp_server(to: &str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let to = to.to_owned();
    let serve = move |mut stream: TcpStream| -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        loop {
            let mut sequence = String::new();
            loop {
                let Some(line) = lines.next().transpose()? else { return Ok(()) };
                match line.strip_prefix("CSeq: ") {
                    Some(number) => number.clone_into(&mut sequence),
                    None if line.is_empty() => break,
                    None => {}
                }
            }
            stream.write_all(
                format!("RTSP/1.0 302 Found\r\nCSeq: {sequence}\r\nLocation: {to}\r\n\r\n")
                    .as_bytes(),
            )?;
        }
    };
    thread::spawn(move || {
        for stream in listener.incoming() {
            let serve = serve.clone();
            // Clients may disconnect.
            thread::spawn(move || serve(stream.unwrap()));
        }
    });
    port
}

#[test]
fn a_camera_that_redirects_is_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let secret = format!("rtsp://{}/secret", elsewhere.local_addr().unwrap());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let said = heard.clone();
    thread::spawn(move || {
        for stream in elsewhere.incoming() {
            let mut bytes = Vec::new();
            // What arrived before an error counts.
            stream.unwrap().read_to_end(&mut bytes).ok();
            said.lock().unwrap().push(bytes);
        }
    });
    let port = redirecting_rtsp_server(&secret);
    let server = Server::start();
    let _aggregator =
        Process::start(process::service("aggregator").args(["--nats", &server.url()]));
    let http = IngestApi::start(&server, &[&format!("ingest.allow=rtsp://127.0.0.1:{port}/")]);
    let id = http.upload(
        &["POST /videos", JSON],
        json!({ "uri": format!("rtsp://127.0.0.1:{port}/live") }).to_string().as_bytes(),
    );
    let summary = http.summary(&id);
    assert_eq!(summary["state"], "failed");
    assert!(
        summary["problem"].as_str().unwrap().contains("redirects to another address"),
        "{summary}"
    );
    assert!(heard.lock().unwrap().iter().all(Vec::is_empty), "{:?}", heard.lock().unwrap());
}

/// Otherwise a camera could exhaust the memory.
#[test]
fn an_endless_motion_jpeg_part_is_dropped() {
    const MANY: usize = 100 << 20;
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("one.jpg");
    ffmpeg(&["-i", sample("bikes.mp4").to_str().unwrap(), "-frames:v", "1"], &pictures);
    let endless = [std::fs::read(&pictures).unwrap(), vec![0; MANY]].concat();
    let port = mjpeg_server(vec![endless]);
    let server = Server::start();
    let _aggregator =
        Process::start(process::service("aggregator").args(["--nats", &server.url()]));
    let http = IngestApi::start(&server, &[&format!("ingest.allow=http://127.0.0.1:{port}/")]);
    let id = http.upload(
        &["POST /videos", JSON],
        json!({ "uri": format!("http://127.0.0.1:{port}/camera") }).to_string().as_bytes(),
    );
    let reason =
        || http.get(&format!("/videos/{id}")).json()["live"]["reason"].as_str().map(str::to_owned);
    let reason = eventually(reason).unwrap_or_else(|| panic!("{:#?}", http.process.stderr()));
    assert!(reason.contains("64 MiB"), "{reason}");
}

/// Answers every request with a sequence of JPEGs, terminated as RFC 2046 (5.1.1) requires.
fn mjpeg_server(pictures: Vec<Vec<u8>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = move |mut stream: TcpStream| -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=next\r\n\
              Connection: close\r\n\r\n",
        )?;
        for picture in &pictures {
            stream.write_all(
                format!(
                    "--next\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
                    picture.len()
                )
                .as_bytes(),
            )?;
            stream.write_all(picture)?;
            stream.write_all(b"\r\n")?;
            thread::sleep(Duration::from_millis(200));
        }
        stream.write_all(b"--next--\r\n")
    };
    thread::spawn(move || {
        for stream in listener.incoming() {
            let serve = serve.clone();
            // Clients may disconnect.
            thread::spawn(move || serve(stream.unwrap()));
        }
    });
    port
}

#[test]
fn motion_jpeg_is_counted_like_its_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    ffmpeg(
        &[
            "-i",
            sample("bikes.mp4").to_str().unwrap(),
            "-vf",
            "fps=2",
            "-frames:v",
            "20",
            "-q:v",
            "2",
        ],
        &pictures.join("%02d.jpg"),
    );
    let files = run(&folder.path().join("data")).arg("--json").arg(&pictures).output().unwrap();
    let [expected]: [Summary; 1] =
        summaries(&[String::from_utf8(files.stdout).unwrap()]).try_into().unwrap();
    let pictures =
        (1..=20).map(|n| std::fs::read(pictures.join(format!("{n:02}.jpg"))).unwrap()).collect();
    let port = mjpeg_server(pictures);
    let uri = format!("http://127.0.0.1:{port}/camera");
    let found = summaries(
        &Process::start(run(&folder.path().join("data")).args(["--json", &uri])).expect_code(0),
    );
    let window = found.iter().find(|summary| summary.live.is_none()).unwrap();
    assert_eq!(
        (window.state, window.processed_frames, found.len()),
        (VideoState::Done, 20, 2),
        "{found:#?}"
    );
    assert!(
        window.count("person") > 0 && window.classes == expected.classes,
        "{window:#?} {expected:#?}"
    );
}

#[test]
fn a_live_source_that_is_not_allowed_is_refused() {
    let server = Server::start();
    let http = IngestApi::start(&server, &["ingest.allow=rtsp://127.0.0.1:5540/live"]);
    for uri in [
        "rtsp://127.0.0.1:5541/live",
        "rtsps://127.0.0.1:5540/live",
        "rtsp://127.0.0.1:5540/other",
        "http://127.0.0.1:5540/live",
    ] {
        http.send(&["POST /videos", JSON], json!({ "uri": uri }).to_string().as_bytes())
            .is_problem(403, "ingest.allow");
    }
    let body = json!({ "uri": "rtsp://127.0.0.1:5540/live", "window": 0.5 }).to_string();
    http.send(&["POST /videos", JSON], body.as_bytes()).is_problem(422, "window");
}
