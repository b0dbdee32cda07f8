//! What `moliceiro top` shows of real services, as text and on a terminal.

use std::io::{Read, Write};
use std::num::NonZero;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use moliceiro_testing::eventually;
use moliceiro_testing::paths::{program, sample};
use moliceiro_testing::process::{self, Process, moliceiro};
use moliceiro_testing::server::{RestartableServer, Server, client};
use moliceiro_testing::video::file_uri;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::OpenptFlags;
use tempfile::TempDir;

fn service(name: &str, url: &str, arguments: &[&str]) -> Process {
    let process = Process::start(
        process::service(name).args(["--nats", url, "--set", "metrics.listen=off"]).args(arguments),
    );
    process.wait_for_stderr("is ready", 1);
    process
}

fn once(url: &str) -> Process {
    let mut command = moliceiro();
    Process::start(command.args(["top", "--once", "--nats", url, "--interval", "200ms"]))
}

/// Takes snapshots until one contains all parts.
fn snapshot_with(url: &str, parts: &[&str]) -> String {
    let mut last = String::new();
    let snapshot = || {
        last = once(url).expect_code(0).join("\n");
        parts.iter().all(|part| last.contains(part)).then(|| last.clone())
    };
    let found = eventually(snapshot);
    found.unwrap_or_else(|| panic!("no {parts:?} in\n{last}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_has_the_right_figures_during_and_after_a_run() {
    let server = Server::start();
    let url = server.url();
    let _ingest = service("ingest", &url, &[]);
    let _aggregator = service("aggregator", &url, &[]);
    let client = client(&url.clone()).await;
    let uri = file_uri(&sample("carphone_pristine.mp4"));
    client.publish("videos.upload", uri.to_string().into()).await.unwrap();
    client.flush().await.unwrap();

    let queued = snapshot_with(&url, &["queue         120 frames", "0/120", "1 counting"]);
    for part in
        ["no active detector", "detectors     0 active", "dead letters  0", "last alarm    none"]
    {
        assert!(queued.contains(part), "{queued}\nlacks {part}");
    }
    let _detector =
        service("detector", &url, &["--sessions", "1", "--set", "detector.name=harbour"]);
    let during = snapshot_with(&url, &["  detector    harbour: "]);
    assert!(during.contains("detectors     1 active") && during.contains("ms each"), "{during}");

    let after = snapshot_with(&url, &["120/120"]);
    let after = if after.contains("done  ") {
        after
    } else {
        snapshot_with(&url, &["videos        1 done"])
    };
    let video = after.lines().find(|line| line.starts_with("carphone_pristine.mp4")).unwrap();
    let words: Vec<_> = video.split_whitespace().collect();
    assert_eq!(words[1..4], ["done", "120/120", "0"], "{after}");
    assert!(
        words[5] == "person" && words[6].trim_end_matches(',').parse::<u64>().unwrap() >= 100,
        "{video}"
    );
    for part in [
        "queue         0 frames, 0 B of 536.9 MB (0 %)",
        "uploads       0 in progress, 0 waiting",
        "redelivered   0 ",
    ] {
        assert!(after.contains(part), "{after}\nlacks {part}");
    }
    let password = url.split_once("moliceiro:").unwrap().1.split('@').next().unwrap();
    assert!(!after.contains(password), "{after}");
}

#[test]
fn an_unused_server_is_reported_and_left_unchanged() {
    let server = Server::start();
    for _ in 0..2 {
        let mut process = once(&server.url());
        process.expect_code(1);
        assert!(
            process.stderr().join("\n").contains("no service has used it"),
            "{:?}",
            process.stderr()
        );
    }
}

fn cells(n: u16) -> NonZero<u16> {
    NonZero::new(n).unwrap()
}

/// A shell in its own terminal that records the terminal's settings before and after `top`.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: Arc<Mutex<vt100::Parser>>,
    folder: TempDir,
}

impl Terminal {
    fn start(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let top = format!("{} top --nats '{url}' --interval 100ms", program("moliceiro").display());
        let shell = format!(
            "cd {}; stty rows 30 cols 100; tty > tty; stty -a > before; \
             sh -c 'echo $$ > pid; exec {}'; echo $? > code; stty -a > after",
            folder.path().display(),
            top.replace('\'', "\"")
        );
        let mut command = Command::new("script");
        let command = command
            .args(["--quiet", "--flush", "--return", "--command", &shell, "/dev/null"])
            .env("SHELL", "/bin/sh");
        let mut child = command
            .env("TERM", "xterm-256color")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (keys, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let screen = Arc::new(Mutex::new(vt100::Parser::new(cells(30), cells(100), 0)));
        let follower = screen.clone();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                follower.lock().unwrap().process(&bytes[..n]);
            }
        });
        Self { child, keys, screen, folder }
    }

    fn contents(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    fn press(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
    }

    fn wait_for(&self, part: &str) {
        let found = eventually(|| self.contents().contains(part).then_some(()));
        assert!(found.is_some(), "no {part:?} on\n{}", self.contents());
    }

    fn wait_until_absent(&self, part: &str) {
        let absent = eventually(|| (!self.contents().contains(part)).then_some(()));
        assert!(absent.is_some(), "{part:?} is still on\n{}", self.contents());
    }

    fn resize(&self, rows: u16, columns: u16) {
        self.screen.lock().unwrap().screen_mut().set_size(cells(rows), cells(columns));
        let size = [rows.to_string(), columns.to_string()];
        let done = Command::new("stty")
            .args(["-F", self.note("tty").trim(), "rows", &size[0], "cols", &size[1]])
            .status()
            .unwrap();
        assert!(done.success());
    }

    fn note(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    fn signal_top(&self, signal: Signal) {
        let pid = Pid::from_raw(self.note("pid").trim().parse().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the end, and asserts the exit code and the terminal's settings.
    fn expect_restored(&mut self, code: &str) {
        eventually(|| self.child.try_wait().unwrap())
            .unwrap_or_else(|| panic!("{}", self.contents()));
        assert_eq!(self.note("code").trim(), code, "{}", self.contents());
        assert!(self.note("before").contains(" echo") && self.note("before").contains(" icanon"));
        assert_eq!(self.note("before"), self.note("after"));
        let screen = self.screen.lock().unwrap();
        assert!(
            !screen.screen().alternate_screen() && !screen.screen().hide_cursor(),
            "{}",
            screen.screen().contents()
        );
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // An error means that it has exited.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn the_view_reacts_to_keys_survives_a_lost_server_and_restores_the_terminal() {
    let mut server = RestartableServer::start();
    let url = server.url();
    let _aggregator = service("aggregator", &url, &[]);
    let mut terminal = Terminal::start(&url);
    for part in [
        &*url,
        "connected",
        "┌Frames/s",
        "Detectors: 0 active",
        "Videos: none (newest first)",
        "dead letters: 0",
    ] {
        terminal.wait_for(part);
    }
    terminal.press(b"?");
    terminal.wait_for("┌Help");
    terminal.press(b"?");
    terminal.wait_until_absent("┌Help");
    terminal.press(b"s");
    terminal.wait_for("(by name)");
    terminal.resize(8, 50);
    terminal.wait_until_absent("┌Frames/s");
    terminal.wait_for("frames/s");
    terminal.resize(30, 100);
    terminal.wait_for("┌Frames/s");

    server.kill();
    terminal.wait_for("connection lost; reconnecting");
    server.restart();
    terminal.wait_for("  connected");
    terminal.press(b"q");
    terminal.expect_restored("0");
}

#[test]
fn a_signal_and_ctrl_c_restore_the_terminal() {
    let server = Server::start();
    let mut terminal = Terminal::start(&server.url());
    terminal.wait_for("no service has used it");
    terminal.signal_top(Signal::TERM);
    terminal.expect_restored("0");
    let mut terminal = Terminal::start(&server.url());
    terminal.wait_for("no service has used it");
    terminal.press(b"\x03");
    terminal.expect_restored("0");
}

/// Also where SIGHUP is ignored, as under `nohup`.
#[test]
fn a_closed_terminal_ends_the_view() {
    let server = Server::start();
    for prefix in ["", "trap '' HUP; "] {
        let terminal =
            rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
                .unwrap();
        rustix::pty::grantpt(&terminal).unwrap();
        rustix::pty::unlockpt(&terminal).unwrap();
        let path = rustix::pty::ptsname(&terminal, Vec::new()).unwrap();
        let path = path.into_string().unwrap();
        let top = format!(
            "exec <{path} >{path} 2>&1; stty rows 30 cols 100; \
             {prefix}exec {} top --nats '{}'",
            program("moliceiro").display(),
            server.url()
        );
        let mut child = Command::new("setsid").args(["--wait", "sh", "-c", &top]).spawn().unwrap();
        let mut terminal = std::fs::File::from(terminal);
        let (mut shown, mut bytes) = (Vec::new(), [0; 4096]);
        while !String::from_utf8_lossy(&shown).contains("no service has used it") {
            let n = terminal.read(&mut bytes).unwrap();
            shown.extend_from_slice(&bytes[..n]);
        }
        drop(terminal);
        let status = eventually(|| child.try_wait().unwrap());
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
    }
}

#[test]
fn an_invalid_interval_is_refused() {
    for (interval, part) in
        [("1", "give a time such as 2s"), ("1ms", "give 100ms to 1h"), ("", "give a time")]
    {
        let mut process = Process::start(moliceiro().args(["top", "--interval", interval]));
        process.expect_code(64);
        assert!(process.stderr().join("\n").contains(part), "{:?}", process.stderr());
    }
}
