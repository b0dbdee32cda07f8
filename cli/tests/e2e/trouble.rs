//! The likeliest mistakes of operators: each is made, and what the programs print is compared with
//! what the table in `docs/running.md` says that they print.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use moliceiro_nats::subjects;
use moliceiro_testing::eventually;
use moliceiro_testing::loopback::Loopback;
use moliceiro_testing::paths::{nats_server, project, sample};
use moliceiro_testing::process::{self, Process, moliceiro};
use moliceiro_testing::server::{RestartableServer, Server};
use moliceiro_testing::video::file_uri;
use serde_json::json;

const PAGE: &str = "docs/running.md";
const HEADING: &str = "### The likeliest mistakes";

/// What the table says is seen, by mistake. `…` is anything.
static TABLE: LazyLock<BTreeMap<String, Vec<String>>> = LazyLock::new(|| {
    let page = fs::read_to_string(project().join(PAGE)).unwrap();
    let (_, section) = page.split_once(HEADING).expect(HEADING);
    let section = section.split("\n#").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    rows.map(|row| {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [mistake, seen, _] = cells[..] else { panic!("not three cells: {row}") };
        let code = seen.split('`').skip(1).step_by(2);
        // What to run is no message.
        let messages = code.filter(|code| !code.starts_with("moliceiro "));
        let seen = messages.map(str::to_owned).collect();
        (mistake.trim_start_matches("| ").to_owned(), seen)
    })
    .collect()
});

fn has(line: &str, pattern: &str) -> bool {
    let mut rest = line;
    pattern.split('…').map(str::trim).all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

/// Every message of a row is printed by one of these.
fn assert_seen(mistake: &str, printed: impl Fn() -> Vec<String>) {
    let messages = TABLE.get(mistake).unwrap_or_else(|| panic!("{mistake:?} is not in {PAGE}"));
    assert!(!messages.is_empty(), "{PAGE} names no message of {mistake:?}");
    for message in messages {
        let is_there = || printed().iter().any(|line| has(line, message)).then_some(());
        assert!(eventually(is_there).is_some(), "{message:?} is not in {:#?}", printed());
    }
}

fn output(command: &mut Command) -> Vec<String> {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
}

fn doctor(url: &str) -> Command {
    let mut command = moliceiro();
    command.args(["doctor", "--nats", url]);
    command
}

fn service(name: &str, url: &str, options: &[&str]) -> Process {
    let mut command = process::service(name);
    Process::start(
        command.args(["--nats", url]).args(options).env("MOLICEIRO__INGEST__EVERY", "60"),
    )
}

fn ready(name: &str, url: &str, options: &[&str]) -> Process {
    let process = service(name, url, options);
    process.wait_for_stderr("is ready", 1);
    process
}

async fn upload(server: &Server, model: &str) {
    let uri = file_uri(&sample("carphone_pristine.mp4"));
    let upload = json!({"uri": uri, "name": "trial", "model": model}).to_string();
    let jetstream = server.jetstream().await;
    jetstream.publish(subjects::UPLOAD_SUBJECT, upload.into()).await.unwrap().await.unwrap();
}

#[test]
fn the_table_has_a_test_for_each_mistake() {
    let source = fs::read_to_string(project().join("cli/tests/e2e/trouble.rs")).unwrap();
    for mistake in TABLE.keys() {
        let made = format!("assert_seen(\"{mistake}\"");
        assert!(source.contains(&made), "no test makes the mistake {mistake:?}");
    }
    assert_eq!(TABLE.len(), 10, "{:?}", TABLE.keys());
}

#[test]
fn a_wrong_password() {
    let server = Server::start();
    let address = server.url().rsplit_once('@').map(|(_, address)| address.to_owned()).unwrap();
    let mut command = process::service("aggregator");
    let command = command
        .env("MOLICEIRO__NATS__URL", format!("nats://{address}"))
        .env("MOLICEIRO__NATS__USER", "moliceiro")
        .env("MOLICEIRO__NATS__PASSWORD", "wrong");
    let mut refused = Process::start(command);
    refused.expect_code(1);
    let mut by_address = service("aggregator", &format!("nats://moliceiro:wrong@{address}"), &[]);
    by_address.expect_code(1);
    assert_seen("wrong password", || [refused.stderr(), by_address.stderr()].concat());
}

#[test]
fn a_wrong_address() {
    let nobody = RestartableServer::down();
    let unknown = service("aggregator", "nats://no-such-host.invalid:4222", &[]);
    let closed = service("aggregator", &nobody.url(), &[]);
    let wrong = output(process::service("aggregator").args(["--nats", "http://server:4222"]));
    assert_seen("wrong URL", || [unknown.stderr(), closed.stderr(), wrong.clone()].concat());
}

#[test]
fn a_server_without_jetstream() {
    let server = RestartableServer::start_without_jetstream();
    let mut refused = service("aggregator", &server.url(), &[]);
    refused.expect_code(1);
    assert_seen("no JetStream", || refused.stderr());
}

#[test]
fn a_store_that_is_too_small() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let config = folder.path().join("server.conf");
    let text = format!("jetstream {{ store_dir: {store:?}, max_file_store: 500MB }}");
    fs::write(&config, text).unwrap();
    let loopback = Loopback::claim();
    let address = loopback.port(0);
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let mut command = Command::new(nats_server());
    command.arg("--config").arg(&config).args(["--addr", &ip, "--port", &port]);
    let server = Process::start(&mut command);
    server.wait_for_stderr("Server is ready", 1);
    let mut refused = service("aggregator", &format!("nats://{address}"), &[]);
    refused.expect_code(1);
    assert_seen("store too small", || refused.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_that_is_not_started() {
    let server = Server::start();
    let _ingest = ready("ingest", &server.url(), &[]);
    let _detector = ready("detector", &server.url(), &["--sessions", "1"]);
    upload(&server, "nanodet").await;
    assert_seen("aggregator not started", || output(&mut doctor(&server.url())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_a_detector_does_not_have() {
    let server = Server::start();
    let _aggregator = ready("aggregator", &server.url(), &[]);
    let _ingest = ready("ingest", &server.url(), &[]);
    let _detector = ready("detector", &server.url(), &["--models", "nanodet"]);
    upload(&server, "nanodet-int8").await;
    let status = || {
        let videos = output(moliceiro().args(["status", "--nats", &server.url()]));
        let video = videos.iter().find(|line| line.starts_with("trial"));
        let video = video.and_then(|line| line.split_whitespace().next());
        let asked = |video| output(moliceiro().args(["status", video, "--nats", &server.url()]));
        [video.map_or_else(Vec::new, asked), output(&mut doctor(&server.url()))].concat()
    };
    assert_seen("model missing on one detector", status);
    // Another detector that has it takes over.
    let _other = ready("detector", &server.url(), &["--models", "nanodet-int8"]);
    let is_done = || status().iter().any(|line| line.contains("done")).then_some(());
    assert!(eventually(is_done).is_some(), "{:#?}", status());
}

#[test]
fn settings_that_differ() {
    let server = Server::start();
    let _first = ready("aggregator", &server.url(), &[]);
    let other = ready("aggregator", &server.url(), &["--set", "streams.keep=1day"]);
    assert_seen("different settings", || other.stderr());
}

#[test]
fn a_firewall_that_drops_packets() {
    // A queue of connections that is full: the system drops the packets of those that follow.
    let loopback = Loopback::claim();
    let address: SocketAddr = loopback.port(0);
    let _listener = TcpListener::bind(address).unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok();
    let held: Vec<_> = (0..10_000).map_while(|_| connect()).collect();
    assert!(held.len() < 10_000, "the queue is never full");
    let url = format!("nats://{address}");
    let waiting = service("aggregator", &url, &[]);
    let report = output(&mut doctor(&url));
    assert_seen("firewall", || [waiting.stderr(), report.clone()].concat());
}

#[test]
fn a_clock_that_is_wrong() {
    let server = Server::start();
    // Debian's libfaketime, in the folder of this processor.
    let folders = fs::read_dir("/usr/lib").unwrap().flatten();
    let libraries = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    let library: Option<PathBuf> = libraries.into_iter().find(|path| path.exists());
    let library = library.expect("libfaketime is missing: run `make setup-tests`");
    let mut command = doctor(&server.url());
    command.env("LD_PRELOAD", library).env("FAKETIME", "+60s");
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let report = output(&mut command);
    assert_seen("clock", || report.clone());
}

#[test]
fn a_port_in_use() {
    let server = Server::start();
    let loopback = Loopback::claim();
    let _listener = TcpListener::bind(loopback.port(0)).unwrap();
    let address = loopback.port(0).to_string();
    let mut http = service("ingest", &server.url(), &["--listen", &address]);
    http.expect_code(1);
    let metrics = format!("metrics.listen={address}");
    let mut metrics = service("aggregator", &server.url(), &["--set", &metrics]);
    metrics.expect_code(1);
    assert_seen("port in use", || [http.stderr(), metrics.stderr()].concat());
}
