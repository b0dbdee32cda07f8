//! What `moliceiro doctor` reports, and what packages of the program contain.

use std::process::Command;

use moliceiro_nats::{Streams, StreamsSettings};
use moliceiro_testing::process::{Process, moliceiro};
use moliceiro_testing::server::{RestartableServer, Server};
use serde_json::Value;

/// The report of `moliceiro doctor`, as the states of its checks with what was found.
struct Report(Vec<[String; 3]>);

impl Report {
    fn of(command: &mut Command, code: i32) -> Self {
        let mut process = Process::start(command);
        let lines = process.expect_code(code);
        assert!(process.stderr().is_empty(), "{:#?}", process.stderr());
        let printed: Value = serde_json::from_str(&lines.concat()).unwrap();
        assert_eq!(printed["ok"], code == 0);
        let checks = printed["checks"].as_array().unwrap().iter();
        let text = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
        Self(checks.map(|c| ["state", "check", "found"].map(|key| text(c, key))).collect())
    }

    fn has(&self, state: &str, check: &str, part: &str) -> bool {
        let matches =
            |[s, c, found]: &[String; 3]| s == state && c == check && found.contains(part);
        self.0.iter().any(matches)
    }

    fn expect(&self, state: &str, check: &str, part: &str) {
        assert!(self.has(state, check, part), "no {state} {check} with {part:?} in {:#?}", self.0);
    }

    fn problems(&self) -> Vec<&str> {
        let problems = self.0.iter().filter(|[state, ..]| state == "problem");
        problems.map(|[_, check, _]| check.as_str()).collect()
    }
}

fn doctor() -> Command {
    let mut command = moliceiro();
    command.args(["doctor", "--json"]);
    command
}

fn of_server(url: &str, code: i32) -> Report {
    Report::of(doctor().args(["--nats", url]), code)
}

#[test]
fn an_installation_in_order_has_no_problem() {
    let server = Server::start();
    let report = of_server(&server.url(), 0);
    for check in [
        "moliceiro",
        "GStreamer",
        "ONNX Runtime",
        "model",
        "processor",
        "nats-server",
        "server",
        "JetStream",
        "clock",
        "store",
    ] {
        report.expect("ok", check, "");
    }
    report.expect("ok", "user", "moliceiro in account $G");
    report.expect("ok", "streams", "none yet");
    assert!(report.problems().is_empty());
}

#[tokio::test]
async fn missing_services_are_warnings_on_a_server_that_is_used() {
    let server = Server::start();
    let settings = StreamsSettings::default();
    Box::pin(Streams::open(server.client().await, &settings, 1)).await.unwrap();
    let report = of_server(&server.url(), 0);
    report.expect("ok", "streams", "15 with 0 messages");
    report.expect("warning", "services", "no aggregator answers");
    report.expect("warning", "services", "no detector answers");
}

#[test]
fn the_data_of_a_run_is_checked_with_a_server_that_is_started_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let report = Report::of(doctor().arg("--data").arg(folder.path()), 0);
    report.expect("ok", "server", "moliceiro");
    report.expect("ok", "disk", &folder.path().display().to_string());
}

#[test]
fn a_server_that_cannot_be_used_is_a_problem_that_says_why() {
    let down = RestartableServer::down();
    let report = of_server(&down.url(), 1);
    assert_eq!(report.problems(), ["server"]);
    report.expect("problem", "server", "Connection refused");

    let without = RestartableServer::start_without_jetstream();
    let report = of_server(&without.url(), 1);
    assert_eq!(report.problems(), ["JetStream"]);

    let old = RestartableServer::start_old();
    let report = of_server(&old.url(), 1);
    report.expect("problem", "server", "is version 2.10");

    let server = Server::start();
    let (_, address) = server.url().rsplit_once('@').map(|(a, b)| (a.len(), b.to_owned())).unwrap();
    let report = of_server(&format!("nats://moliceiro:wrong@{address}"), 1);
    assert_eq!(report.problems(), ["user"]);
}

#[test]
fn a_broken_installation_is_a_problem_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("libonnxruntime.so");
    let mut command = doctor();
    command.arg("--data").arg(folder.path()).env("ORT_DYLIB_PATH", &missing);
    let report = Report::of(&mut command, 1);
    assert_eq!(report.problems(), ["ONNX Runtime"]);
    report.expect("problem", "ONNX Runtime", missing.to_str().unwrap());

    let mut command = doctor();
    let report = Report::of(command.args(["--data", "/proc/nothing"]), 1);
    assert!(report.problems().contains(&"disk"), "{:#?}", report.0);
}

#[test]
fn the_report_for_people_has_a_line_for_each_check() {
    let server = Server::start();
    let mut process = Process::start(moliceiro().args(["doctor", "--nats", &server.url()]));
    let lines = process.expect_code(0);
    let states = ["ok ", "warning ", "problem "];
    assert!(lines.len() > 9, "{lines:#?}");
    assert!(lines.iter().all(|line| states.iter().any(|state| line.starts_with(state))));
    assert!(!lines.join("\n").contains(server.url().as_str()), "the password is not shown");
}

#[test]
fn the_version_names_what_the_program_works_with() {
    let out = |argument: &str| Process::start(moliceiro().arg(argument)).expect_code(0);
    assert_eq!(out("-V"), [format!("moliceiro {}", env!("CARGO_PKG_VERSION"))]);
    let long = out("--version").join("\n");
    for part in
        ["GStreamer     1.", "ONNX Runtime  1.", "nanodet       sha256:", "nanodet-int8  sha"]
    {
        assert!(long.contains(part), "{part} is not in {long}");
    }
}

#[test]
fn completions_and_manual_pages_have_every_command() {
    let help = Process::start(moliceiro().arg("--help")).expect_code(0);
    let commands = help.iter().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<&str> = commands
        .take_while(|line| line.starts_with("  "))
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.contains(&"run") && commands.contains(&"doctor"), "{commands:?}");
    for shell in ["bash", "zsh", "fish"] {
        let script = Process::start(moliceiro().args(["completions", shell])).expect_code(0);
        let script = script.join("\n");
        assert!(commands.iter().all(|command| script.contains(command)), "{shell}");
    }
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    Process::start(moliceiro().arg("man").arg(&pages)).expect_code(0);
    for command in commands {
        let page = std::fs::read(pages.join(format!("moliceiro-{command}.1"))).unwrap();
        assert!(page.starts_with(b".ie"), "{command}");
    }
    assert!(pages.join("moliceiro.1").is_file());
    assert!(!pages.join("moliceiro-decode-worker.1").exists());
}
