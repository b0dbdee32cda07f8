//! Which crate may depend on which; `docs/architecture.md` has the table and the reasons.

use crate::metadata::Metadata;

/// An engine knows no NATS client, no async runtime and no metrics registry.
const ENGINES: [&str; 5] = [
    "moliceiro-messages",
    "moliceiro-containers",
    "moliceiro-decode",
    "moliceiro-vision",
    "moliceiro-analytics",
];
const NOT_IN_ENGINES: [&str; 5] =
    ["async-nats", "tokio", "prometheus", "moliceiro-nats", "moliceiro-service"];

/// The crates of each service: they meet in `moliceiro-nats`, and in the folding of stored results,
/// which everyone who reads them may do (`moliceiro-replay`, and its engine `moliceiro-analytics`).
const SERVICES: [&[&str]; 3] = [
    &["moliceiro-ingest", "moliceiro-api", "moliceiro-decode", "moliceiro-containers"],
    &["moliceiro-detector", "moliceiro-vision"],
    &["moliceiro-aggregator"],
];

const GSTREAMER: &str = "gstreamer";
const ONNX_RUNTIME: &str = "ort";

/// Fails if `package` is built from a crate with one of these names, or with one of them before a
/// dash.
fn assert_does_not_reach(metadata: &Metadata, package: &str, forbidden: &[&str]) {
    for reached in metadata.reached_from(package) {
        let name = reached.name.as_str();
        let is_forbidden = forbidden.iter().any(|forbidden| {
            name == *forbidden
                || matches!(*forbidden, GSTREAMER | ONNX_RUNTIME)
                    && name.strip_prefix(forbidden).is_some_and(|rest| rest.starts_with('-'))
        });
        assert!(!is_forbidden, "{package} must not depend on {name}");
    }
}

#[test]
fn engines_know_no_client_no_runtime_and_no_metrics() {
    let metadata = Metadata::get();
    for engine in ENGINES {
        assert_does_not_reach(metadata, engine, &NOT_IN_ENGINES);
    }
}

#[test]
fn services_do_not_depend_on_each_other() {
    let metadata = Metadata::get();
    for service in SERVICES {
        let others: Vec<&str> = SERVICES
            .iter()
            .filter(|other| **other != service)
            .copied()
            .flatten()
            .copied()
            .collect();
        for package in service {
            assert_does_not_reach(metadata, package, &others);
        }
    }
}

#[test]
fn gstreamer_and_onnx_runtime_stay_with_the_services_that_need_them() {
    let metadata = Metadata::get();
    for package in ["moliceiro-nats", "moliceiro-service", "moliceiro-aggregator", "moliceiro-api"]
    {
        assert_does_not_reach(metadata, package, &[GSTREAMER, ONNX_RUNTIME]);
    }
    assert_does_not_reach(metadata, "moliceiro-ingest", &[ONNX_RUNTIME]);
    assert_does_not_reach(metadata, "moliceiro-detector", &[GSTREAMER]);
}

#[test]
fn what_tests_need_is_not_in_the_programs() {
    assert_does_not_reach(Metadata::get(), "moliceiro", &["moliceiro-testing"]);
}
