//! What an operator sees of a service from outside: health, readiness, metrics.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::process::Command;

use moliceiro_nats::{NatsSettings, Patience, connect};
use support::observed::Observed;
use support::{Process, Server, nats_server, program, project};

#[test]
fn a_service_without_a_server_is_alive_and_not_ready_and_says_why() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("nats://127.0.0.1:{port}");
    let services = ["ingest", "detector", "aggregator"]
        .map(|service| (service, Observed::start(service, &url)));
    for (service, observed) in &services {
        assert_eq!(observed.get("/healthz"), (200, r#"{"alive":true}"#.into()));
        observed
            .wait_until_not_ready(&format!("{service} connection"), "waiting for a NATS server");
    }
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = Command::new(nats_server());
        Process::start(
            command
                .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
                .arg(folder.path()),
        )
    };
    let server = start();
    for (_, observed) in &services {
        observed.wait_until_ready();
    }
    drop(server);
    for (service, observed) in &services {
        observed.wait_until_not_ready(&format!("{service} connection"), "reconnecting");
        assert_eq!(observed.get("/healthz").0, 200);
    }
    let _server = start();
    for (_, observed) in &services {
        observed.wait_until_ready();
    }
}

#[test]
fn streams_that_are_deleted_make_a_service_not_ready() {
    let server = Server::start();
    let detector = Observed::start("detector", &server.url());
    detector.wait_until_ready();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = connect(
            &NatsSettings { url: server.url(), credentials: None },
            "test",
            Patience::FailAtOnce,
        )
        .await
        .unwrap();
        async_nats::jetstream::new(client).delete_stream("FRAMES").await.unwrap();
    });
    detector.wait_until_not_ready("detector streams", "FRAMES");
}

#[test]
fn an_address_that_is_taken_is_told_with_the_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = Command::new(program("moliceiro-aggregator"));
    let mut process = Process::start(command.args(["--set", &format!("metrics.listen={address}")]));
    process.expect_code(1);
    let error = process.stderr().join("\n");
    assert!(error.contains(&address) && error.contains("metrics.listen"), "{error}");
}

#[test]
fn the_reference_of_metrics_is_what_the_code_exports() {
    let reference = std::fs::read_to_string(project().join("docs/metrics.md")).unwrap();
    let printed = Process::start(Command::new(program("moliceiro")).arg("metrics")).expect_code(0);
    assert!(
        printed.iter().map(String::as_str).eq(reference.lines()),
        "run: moliceiro metrics > docs/metrics.md"
    );
}

#[test]
fn every_metric_that_is_exported_is_in_the_reference_and_has_a_conventional_name() {
    let reference = std::fs::read_to_string(project().join("docs/metrics.md")).unwrap();
    let server = Server::start();
    for service in ["ingest", "detector", "aggregator"] {
        let observed = Observed::start(service, &server.url());
        observed.wait_until_ready();
        let (_, metrics) = observed.get("/metrics");
        let families: Vec<_> = metrics
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .collect();
        assert!(
            families.iter().any(|(name, _)| name.starts_with(&format!("moliceiro_{service}_"))),
            "{metrics}"
        );
        for (name, kind) in families.into_iter().filter(|(name, _)| !name.starts_with("process_")) {
            assert!(
                reference.contains(&format!("| `{name}` | {kind} |")),
                "{name} is not documented"
            );
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        }
    }
}
