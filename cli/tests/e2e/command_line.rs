//! What people give `moliceiro run`, and what its output says about it.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use moliceiro_nats::messages::VideoState;
use moliceiro_testing::eventually;
use moliceiro_testing::paths::sample;
use moliceiro_testing::process::{Process, moliceiro, run, servers_of, summaries};
use moliceiro_testing::video::short_video;
use rustix::process::{Pid, Signal, kill_process};

/// The names of the summaries on standard output, in their order, and standard error.
fn names(data: &Path, arguments: &[&OsStr], code: i32) -> (Vec<String>, Vec<String>) {
    let mut process = Process::start(run(data).args(["--json", "--every", "5"]).args(arguments));
    let found = summaries(&process.expect_code(code));
    (found.into_iter().map(|summary| summary.name).collect(), process.stderr())
}

fn has(lines: &[String], parts: &[&str]) -> bool {
    lines.iter().any(|line| parts.iter().all(|part| line.contains(part)))
}

#[test]
fn a_folder_is_its_videos_and_each_name_is_unmistakable_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let phone = folder.path().join("phone");
    let nested = phone.join("2024");
    fs::create_dir_all(&nested).unwrap();
    let video = short_video(folder.path(), "z.mp4");
    let latin = phone.join(OsStr::from_bytes(b"caf\xe9.mp4"));
    for copy in [&latin, &phone.join("b10.mp4"), &phone.join("b2.mp4"), &nested.join("b2.mp4")] {
        fs::copy(&video, copy).unwrap();
    }
    fs::write(phone.join("p.jpg"), "a picture").unwrap();
    fs::write(phone.join("notes.txt"), "notes").unwrap();
    let missing = folder.path().join(OsStr::from_bytes(b"lost\xff.mp4"));
    let data = folder.path().join("data");
    let arguments = [OsStr::new("-r"), video.as_ref(), phone.as_ref(), missing.as_ref()];
    let (found, errors) = names(&data, &arguments, 1);
    let expected =
        ["z.mp4", "phone/b2.mp4", "b10.mp4", "caf\\xE9.mp4", "2024/b2.mp4", "lost\\xFF.mp4"];
    assert_eq!(found, expected);
    assert!(has(&errors, &["phone: leaving out 1 picture", "1 other file (notes.txt)"]));
    assert!(has(&errors, &["error: ", "lost\\xFF.mp4: no such file"]), "{errors:#?}");
    let (found, errors) = names(&data, &[phone.as_ref()], 0);
    assert_eq!(found, ["b2.mp4", "b10.mp4", "caf\\xE9.mp4"]);
    assert!(has(&errors, &["1 folder (-r includes them)"]), "{errors:#?}");
}

#[test]
fn options_that_need_times_are_refused_for_a_folder_of_pictures() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.jpg"), "a picture").unwrap();
    let data = folder.path().join("data");
    for options in [&["--fps", "3"][..], &["--start", "1", "--end", "2"]] {
        let mut process = Process::start(run(&data).args(options).arg(folder.path()));
        process.expect_code(64);
        let parts = ["folder of pictures", "--every N", options[0]];
        assert!(has(&process.stderr(), &parts), "{:#?}", process.stderr());
    }
    assert!(!data.exists());
}

/// A run that is stopped while it counts.
fn interrupted(data: &Path, signal: Signal) {
    let video = sample("carphone_pristine.mp4");
    let mut process = Process::start(run(data).args(["--log", "debug"]).arg(video));
    process.wait_for_stderr("frame done", 5);
    process.signal(signal);
    process.expect_code(130);
    assert!(has(&process.stderr(), &["not finished: carphone_pristine.mp4"]));
}

#[test]
fn what_an_earlier_run_left_is_finished_apart_or_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let video = short_video(folder.path(), "a.mp4");
    interrupted(&data, Signal::HUP);
    let (found, errors) = names(&data, &[video.as_ref()], 0);
    assert_eq!(found, ["a.mp4"]);
    let line = ["an earlier run's carphone_pristine.mp4", "is done; 120 frames, 0 failed"];
    assert!(has(&errors, &line), "{errors:#?}");

    interrupted(&data, Signal::INT);
    let (found, errors) = names(&data, &["--drop-unfinished".as_ref(), video.as_ref()], 0);
    assert_eq!(found, ["a.mp4"]);
    assert!(has(&errors, &["dropped carphone_pristine.mp4"]), "{errors:#?}");
    let (found, errors) = names(&data, &["--drop-unfinished".as_ref()], 0);
    assert!(found.is_empty() && has(&errors, &["no earlier run left"]), "{errors:#?}");
}

#[test]
fn what_a_run_stored_can_be_read_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut counted = Process::start(
        run(&data).args(["--json", "--every", "50", "--log", "warn"]).arg(sample("bikes.mp4")),
    );
    let summary = summaries(&counted.expect_code(0)).remove(0);
    assert!(!has(&counted.stderr(), &["connection"]), "{:#?}", counted.stderr());
    let read = |arguments: &[&str]| {
        let mut process = Process::start(moliceiro().args(arguments).arg("--data").arg(&data));
        let lines = process.expect_code(0);
        assert!(process.stderr().is_empty(), "{:#?}", process.stderr());
        lines
    };
    let video = summary.video.as_str();
    assert!(has(&read(&["status"]), &[video, "done", "bikes.mp4"]));
    let objects: u64 = summary.classes.values().sum();
    assert_eq!(read(&["detections", video]).len() as u64, objects);
    assert!(read(&["dead", "list"]).is_empty());
    assert!(servers_of(&data).is_empty());
    let mut wrong = Process::start(moliceiro().args(["status", "--data"]).arg(folder.path()));
    wrong.expect_code(1);
    assert!(has(&wrong.stderr(), &["has no data of `moliceiro run`"]));
}

#[test]
fn a_reader_that_has_read_enough_is_a_normal_end() {
    let folder = tempfile::tempdir().unwrap();
    let video = short_video(folder.path(), "a.mp4");
    let mut child = run(&folder.path().join("data"))
        .args(["--every", "5"])
        .args([&video, &video])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    let errors = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{errors}");
    assert!(!errors.contains("error") && !errors.contains("panicked"), "{errors}");
}

/// Redirects within its host, and sends a video under another name than that of its address.
const DOWNLOADS: &str = "
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith('/old/'):
            self.send_response(302)
            self.send_header('Location', '/download?id=7')
            self.end_headers()
            return
        body = open(sys.argv[1], 'rb').read()
        self.send_response(200)
        if '?' in self.path:
            self.send_header('Content-Disposition', \"attachment; filename*=UTF-8''na%C3%AFve.mp4\")
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
";

#[test]
fn a_download_is_followed_on_its_host_and_has_the_name_that_the_server_gives() {
    let folder = tempfile::tempdir().unwrap();
    let video = short_video(folder.path(), "a.mp4");
    let server = Process::start(Command::new("python3").args(["-c", DOWNLOADS]).arg(&video));
    let port = server.wait_for_stdout(1).remove(0);
    let uris =
        ["old/link", "a%20b%C3%BC.mp4"].map(|path| format!("http://127.0.0.1:{port}/{path}"));
    let (found, errors) =
        names(&folder.path().join("data"), &[uris[0].as_ref(), uris[1].as_ref()], 0);
    assert_eq!(found, ["naïve.mp4", "a bü.mp4"], "{errors:#?}");
}

#[test]
fn uploads_get_the_options_of_the_run_and_errors_name_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let video = short_video(folder.path(), "a.mp4");
    let text = folder.path().join("text.mp4");
    fs::write(&text, "not a video\n").unwrap();
    let mut listening = Process::start(
        run(&folder.path().join("data"))
            .args(["--json", "--listen", "127.0.0.1:0", "--fps", "2", "--max", "0"])
            .args(["--log", "info"]),
    );
    let line = listening.stderr_line("listening for HTTP");
    let address = line.split_whitespace().find_map(|word| {
        let word = word.trim_start_matches("address=").trim_matches('"');
        word.starts_with("127.0.0.1:").then(|| word.to_owned())
    });
    let address = format!("http://{}", address.unwrap_or_else(|| panic!("{line}")));
    for file in [&video, &text] {
        let form = format!("video=@{}", file.display());
        let sent = Command::new("curl").args(["-sS", "-F", &form, &address]).output().unwrap();
        assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    }
    let mut found = summaries(&listening.wait_for_stdout(2));
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!((found[0].name.as_str(), found[0].processed_frames), ("a.mp4", 2));
    let problem = found[1].problem.clone().unwrap();
    assert_eq!(found[1].state, VideoState::Failed);
    assert!(problem.contains("text.mp4") && !problem.contains("obj:"), "{problem}");
    listening.signal(Signal::INT);
    listening.wait();
}

#[test]
fn a_word_that_means_run_is_answered_with_run() {
    for (arguments, tip) in [
        (&["count", "x"][..], "moliceiro run VIDEO"),
        (&["bikes.mp4"], "moliceiro run bikes.mp4"),
        (&["detecto"], "'detector'"),
        (&["config", "--log", "loud"], "error, warn, info"),
    ] {
        let mut process = Process::start(moliceiro().args(arguments));
        process.expect_code(64);
        assert!(has(&process.stderr(), &[tip]), "{:#?}", process.stderr());
    }
}

/// A server with a user that may do everything, and one that may do little.
fn server_with_users(folder: &Path) -> (Process, String) {
    let config = folder.join("server.conf");
    let store = folder.join("store");
    let text = format!(
        "listen: \"127.0.0.1:-1\"\njetstream {{ store_dir: {store:?} }}\n\
         authorization {{ users: [ {{ user: admin, password: secret }},\n\
         {{ user: guest, password: secret, permissions: {{ publish: [\"videos.>\"], \
         subscribe: [\"_INBOX.>\"] }} }} ] }}\n"
    );
    fs::write(&config, text).unwrap();
    let server = moliceiro_testing::paths::nats_server();
    let process = Process::start(Command::new(server).arg("--config").arg(&config));
    let line = process.stderr_line("Listening for client connections on ");
    let address = line.rsplit(' ').next().unwrap().to_owned();
    process.wait_for_stderr("Server is ready", 1);
    (process, address)
}

#[test]
fn a_server_that_refuses_a_user_or_was_never_used_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, address) = server_with_users(folder.path());
    let video = sample("bikes.mp4");
    let video = video.to_str().unwrap();
    let answer = |arguments: &[&str], user: &str| {
        let url = format!("nats://{user}@{address}");
        let mut process = Process::start(moliceiro().args(arguments).args(["--nats", &url]));
        process.expect_code(1);
        assert!(process.stdout().is_empty(), "{:#?}", process.stdout());
        let errors = process.stderr();
        let [line] = &errors[..] else { panic!("one line: {errors:#?}") };
        line.clone()
    };
    let refused =
        format!("error: the server at {address} refuses this user or password: see nats.url");
    for command in [&["run", video][..], &["status"], &["top", "--once"]] {
        assert_eq!(answer(command, "admin:wrong"), refused);
        let denied = answer(command, "guest:secret");
        assert!(denied.contains("does not permit user guest"), "{denied}");
    }
    let unused = answer(&["status"], "admin:secret");
    assert!(unused.contains("no service has used it"), "{unused}");
    assert_eq!(answer(&["top", "--once"], "admin:secret"), unused);
    assert_eq!(answer(&["dead", "list"], "admin:secret"), unused);
}

#[test]
fn a_service_whose_standard_error_is_closed_continues_and_ends_as_usual() {
    let mut command = moliceiro();
    command.args(["aggregator", "--nats", "nats://127.0.0.1:9", "--set", "metrics.listen=off"]);
    let mut service = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut errors = BufReader::new(service.stderr.take().unwrap());
    errors.read_line(&mut String::new()).unwrap();
    drop(errors);
    // It logs that it stops.
    kill_process(Pid::from_child(&service), Signal::TERM).unwrap();
    let ended = eventually(|| service.try_wait().unwrap());
    assert_eq!(ended.and_then(|status| status.code()), Some(0), "{ended:?}");
}
