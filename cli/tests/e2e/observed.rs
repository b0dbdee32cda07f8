//! What an operator sees of a service from outside: health, readiness, metrics.

use moliceiro_testing::observed::ObservedService;
use moliceiro_testing::paths::project;
use moliceiro_testing::process::{self, Process, moliceiro};
use moliceiro_testing::server::{RestartableServer, Server};

#[test]
fn a_service_without_a_server_is_alive_but_not_ready_with_a_reason() {
    let mut server = RestartableServer::down();
    let url = server.url();
    let services = ["ingest", "detector", "aggregator"]
        .map(|service| (service, ObservedService::start(service, &url)));
    for (service, observed) in &services {
        assert_eq!(observed.get("/healthz"), (200, r#"{"alive":true}"#.into()));
        observed
            .wait_until_not_ready(&format!("{service} connection"), "waiting for a NATS server");
    }
    server.restart();
    for (_, observed) in &services {
        observed.wait_until_ready();
    }
    server.kill();
    for (service, observed) in &services {
        observed.wait_until_not_ready(&format!("{service} connection"), "reconnecting");
        assert_eq!(observed.get("/healthz").0, 200);
    }
    server.restart();
    for (_, observed) in &services {
        observed.wait_until_ready();
    }
}

#[test]
fn a_deleted_stream_makes_a_service_not_ready() {
    let server = Server::start();
    let detector = ObservedService::start("detector", &server.url());
    detector.wait_until_ready();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = server.client().await;
        async_nats::jetstream::new(client).delete_stream("FRAMES").await.unwrap();
    });
    detector.wait_until_not_ready("detector streams", "FRAMES");
}

#[test]
fn a_metrics_address_in_use_is_reported_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = process::service("aggregator");
    let mut process = Process::start(command.args(["--set", &format!("metrics.listen={address}")]));
    process.expect_code(1);
    let error = process.stderr().join("\n");
    assert!(error.contains(&address) && error.contains("metrics.listen"), "{error}");
}

#[test]
fn the_metrics_reference_is_what_the_code_exports() {
    let reference = std::fs::read_to_string(project().join("docs/metrics.md")).unwrap();
    let printed = Process::start(moliceiro().arg("metrics")).expect_code(0);
    assert!(
        printed.iter().map(String::as_str).eq(reference.lines()),
        "run: moliceiro metrics > docs/metrics.md"
    );
}

#[test]
fn every_exported_metric_is_in_the_reference_with_a_conventional_name() {
    let reference = std::fs::read_to_string(project().join("docs/metrics.md")).unwrap();
    let server = Server::start();
    for service in ["ingest", "detector", "aggregator"] {
        let observed = ObservedService::start(service, &server.url());
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
