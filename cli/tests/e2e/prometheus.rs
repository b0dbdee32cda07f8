//! Dashboards and alerts, on a real Prometheus that scrapes a real run.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use moliceiro_testing::deployment::Deployment;
use moliceiro_testing::eventually;
use moliceiro_testing::http;
use moliceiro_testing::loopback::Loopback;
use moliceiro_testing::observed::ObservedService;
use moliceiro_testing::paths::{project, test_tool};
use moliceiro_testing::process::Process;
use moliceiro_testing::server::Server;
use moliceiro_testing::until;
use serde_json::Value;
use tempfile::TempDir;
use url::form_urlencoded;

const DASHBOARDS: [&str; 3] = ["pipeline", "detector", "videos"];

fn tool(name: &str) -> PathBuf {
    test_tool("bin").join(name)
}

fn dashboard(name: &str) -> Value {
    let text = std::fs::read_to_string(
        project().join("grafana/dashboards").join(name).with_extension("json"),
    )
    .unwrap();
    serde_json::from_str(&text).unwrap()
}

/// All panels of all dashboards except rows, with the dashboard's name.
fn panels() -> Vec<(&'static str, Value)> {
    let of = |name| {
        dashboard(name)["panels"]
            .as_array()
            .unwrap()
            .clone()
            .into_iter()
            .map(move |panel| (name, panel))
    };
    DASHBOARDS.into_iter().flat_map(of).filter(|(_, panel)| panel["type"] != "row").collect()
}

fn queries(panel: &Value) -> Vec<String> {
    panel["targets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect()
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A Prometheus that scrapes services every second.
struct Prometheus {
    address: String,
    _process: Process,
    _folder: TempDir,
    _loopback: Loopback,
}

impl Prometheus {
    fn start(services: &[(&str, &ObservedService)], rules: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("rules.yml"), rules).unwrap();
        let mut config = String::from(
            "global: { scrape_interval: 1s, evaluation_interval: 1s }\nrule_files: [rules.yml]\n\
             scrape_configs:\n- job_name: moliceiro\n  static_configs:\n",
        );
        for (service, observed) in services {
            writeln!(
                config,
                "  - targets: [\"{}\"]\n    labels: {{ service: {service} }}",
                observed.address
            )
            .unwrap();
        }
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let loopback = Loopback::claim();
        let address = loopback.port(0).to_string();
        let mut command = Command::new(tool("prometheus"));
        command
            .arg("--config.file")
            .arg(file)
            .arg("--storage.tsdb.path")
            .arg(folder.path().join("data"));
        let process = Process::start(command.arg(format!("--web.listen-address={address}")));
        process.wait_for_stderr("Server is ready to receive web requests", 1);
        Self { address, _process: process, _folder: folder, _loopback: loopback }
    }

    fn ask(&self, path: &str) -> Value {
        let answer = http::get(&self.address, path).json();
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// The current values of a query.
    fn query(&self, query: &str) -> Vec<f64> {
        let query: String =
            form_urlencoded::Serializer::new(String::new()).append_pair("query", query).finish();
        let result =
            self.ask(&format!("/api/v1/query?{query}"))["result"].as_array().unwrap().clone();
        result.iter().map(|series| series["value"][1].as_str().unwrap().parse().unwrap()).collect()
    }

    /// The state of an alert: `None` when its condition does not hold.
    fn alert(&self, name: &str) -> Option<String> {
        let alerts = self.ask("/api/v1/alerts")["alerts"].as_array().unwrap().clone();
        let alert = alerts.into_iter().find(|alert| alert["labels"]["alertname"] == name)?;
        Some(alert["state"].as_str().unwrap().to_owned())
    }

    async fn wait_for_alert(&self, name: &str, state: Option<&str>) {
        until(&format!("{name} is {state:?}"), async || {
            (self.alert(name).as_deref() == state).then_some(())
        })
        .await;
    }
}

fn rules() -> String {
    std::fs::read_to_string(project().join("grafana/prometheus/rules/moliceiro.yml")).unwrap()
}

/// The rules, with seconds instead of minutes.
fn impatient_rules() -> String {
    ["1m", "2m", "5m"].iter().fold(rules(), |rules, minutes| {
        rules
            .replace(&format!("for: {minutes}\n"), "for: 2s\n")
            .replace(&format!("[{minutes}]"), "[5s]")
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_every_panel_has_data_and_every_rule_is_evaluated() {
    let server = Server::start();
    let url = server.url();
    let services = ["ingest", "detector", "aggregator"]
        .map(|service| (service, ObservedService::start(service, &url)));
    for (_, observed) in &services {
        observed.wait_until_ready();
    }
    let prometheus = Prometheus::start(
        &services.each_ref().map(|(service, observed)| (*service, observed)),
        &rules(),
    );
    // What happened before the first scrape does not show in a rate.
    eventually(|| (prometheus.query("sum(up{job=\"moliceiro\"})") == [3.0]).then_some(()))
        .expect("all are scraped");
    let site = Deployment::new(url, &[]);
    site.upload("carphone").await;
    site.summaries(1).await;
    let counted = || {
        (prometheus.query("sum(moliceiro_aggregator_latency_seconds_count)") == [120.0])
            .then_some(())
    };
    eventually(counted).expect("the whole run is scraped");
    let twice = || {
        let rate = prometheus.query("rate(moliceiro_detector_detections_total[1m])");
        (!rate.is_empty()).then_some(())
    };
    eventually(twice).expect("what was found is scraped twice");

    let mut empty = Vec::new();
    for (dashboard, panel) in panels() {
        for query in queries(&panel) {
            let query = query
                .replace("$__rate_interval", "1m")
                .replace("$__range", "10m")
                .replace("$instance", ".*");
            let values = prometheus.query(&query);
            if values.is_empty() || values.iter().all(|value| !value.is_finite()) {
                empty.push(format!("{dashboard}: {}: {query}: {values:?}", panel["title"]));
            }
        }
    }
    assert!(empty.is_empty(), "no data for {empty:#?}");
    for name in DASHBOARDS {
        let dashboard = dashboard(name);
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        for variable in variables.iter().filter(|variable| variable["type"] == "query") {
            let query = variable["query"]["query"].as_str().unwrap();
            let metric = query.strip_prefix("label_values(").unwrap().split(',').next().unwrap();
            assert!(
                !prometheus.query(&format!("group by (instance) ({metric})")).is_empty(),
                "{name}: {query}"
            );
        }
    }

    let rules = || {
        let groups = prometheus.ask("/api/v1/rules")["groups"].as_array().unwrap().clone();
        let rules: Vec<Value> =
            groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect();
        rules.iter().all(|rule| rule["health"] != "unknown").then_some(rules)
    };
    let rules = eventually(rules).expect("all rules are evaluated");
    assert!(rules.len() >= 8, "{rules:#?}");
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule:#?}");
        assert_eq!(rule["state"], "inactive", "nothing is wrong: {rule:#?}");
        let runbook = rule["annotations"]["runbook"].as_str().unwrap();
        let anchor = runbook.rsplit_once("docs/observability.md#").unwrap().1;
        let heading = format!("### {}", anchor.replace('-', " "));
        let guide = std::fs::read_to_string(project().join("docs/observability.md"))
            .unwrap()
            .to_lowercase();
        assert!(guide.contains(&heading), "docs/observability.md lacks {heading:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_fires_when_the_detectors_stop_and_clears_when_they_are_back() {
    const ALERT: &str = "MoliceiroNoDetector";
    let server = Server::start();
    let url = server.url();
    let start = |service: &str| {
        ObservedService::start_with(service, &url, &["--set", "streams.frames_max_per_video=20"])
    };
    let [ingest, aggregator] = ["ingest", "aggregator"].map(start);
    let mut detector = start("detector");
    for observed in [&ingest, &aggregator, &detector] {
        observed.wait_until_ready();
    }
    let prometheus = Prometheus::start(
        &[("ingest", &ingest), ("aggregator", &aggregator), ("detector", &detector)],
        &impatient_rules(),
    );
    let site = Deployment::new(url.clone(), &[]);
    site.upload("first").await;
    site.summaries(1).await;
    prometheus.wait_for_alert(ALERT, None).await;

    detector.process.signal(rustix::process::Signal::TERM);
    detector.process.expect_code(0);
    site.upload("second").await;
    prometheus.wait_for_alert(ALERT, Some("firing")).await;

    let _back = start("detector");
    prometheus.wait_for_alert(ALERT, None).await;
    assert_eq!(site.summaries(2).await.len(), 2);
}

#[test]
fn promtool_accepts_configurations_and_rules_and_sees_each_alert_fire_and_clear() {
    let folder = project().join("grafana/prometheus");
    succeeds(
        Command::new(tool("promtool"))
            .args(["check", "config", "--lint-fatal"])
            .arg(folder.join("prometheus.yml")),
    );
    succeeds(
        Command::new(tool("promtool"))
            .args(["check", "config"])
            .arg(folder.join("prometheus-many.yml")),
    );
    succeeds(
        Command::new(tool("promtool"))
            .args(["check", "rules", "--lint-fatal"])
            .arg(folder.join("rules/moliceiro.yml")),
    );
    succeeds(
        Command::new(tool("promtool"))
            .args(["test", "rules"])
            .arg(folder.join("tests/moliceiro.yml")),
    );
    let tests = std::fs::read_to_string(folder.join("tests/moliceiro.yml")).unwrap();
    for alert in
        rules().lines().filter_map(|line| line.trim().strip_prefix("- alert: ").map(str::to_owned))
    {
        let cases = tests.matches(&format!("alertname: {alert}")).count();
        assert!(cases >= 3, "{alert} is not tested before, during and after its condition");
    }
}

#[test]
fn dashboards_conform_to_the_schema_of_grafana() {
    let files = DASHBOARDS
        .map(|name| project().join("grafana/dashboards").join(name).with_extension("json"));
    let check = |files: &[PathBuf]| {
        let mut command = Command::new(tool("node"));
        command
            .arg(project().join("grafana/schema/check.mjs"))
            .arg(project().join(".deps-tests/schema"))
            .args(files);
        command
    };
    succeeds(&mut check(&files));

    // The check itself must be able to fail.
    let folder = tempfile::tempdir().unwrap();
    let wrong = |from: &str, to: &str| {
        let text = std::fs::read_to_string(&files[0]).unwrap();
        assert!(text.contains(from), "{from}");
        let file = folder.path().join("wrong.json");
        std::fs::write(&file, text.replace(from, to)).unwrap();
        assert!(!check(&[file]).output().unwrap().status.success(), "{to} is accepted");
    };
    wrong("\"absolute\"", "\"absolut\"");
    wrong("\"schemaVersion\": 39", "\"schemaVersion\": \"39\"");
    wrong("\"graphMode\"", "\"graphModus\"");
}

#[test]
fn every_panel_has_a_description_a_unit_and_existing_metrics() {
    let reference = std::fs::read_to_string(project().join("docs/metrics.md")).unwrap();
    let mut titles = BTreeSet::new();
    for (dashboard, panel) in panels() {
        let title = panel["title"].as_str().unwrap();
        let what = format!("{dashboard}: {title}");
        assert!(
            panel["description"].as_str().is_some_and(|text| text.len() > 10),
            "{what} has no description"
        );
        assert!(
            panel["fieldConfig"]["defaults"]["unit"].as_str().is_some_and(|unit| !unit.is_empty()),
            "{what} has no unit"
        );
        assert!(
            titles.insert((dashboard, title.to_owned(), panel["type"].to_string())),
            "{what} exists twice"
        );
        let queries = queries(&panel);
        assert!(!queries.is_empty(), "{what} has no query");
        for metric in queries.iter().flat_map(|query| metrics(query)) {
            assert!(is_exported(&reference, &metric), "{what}: nothing exports {metric}");
        }
    }
    for metric in metrics(&rules()) {
        assert!(
            is_exported(&reference, &metric),
            "an alert queries {metric}, which nothing exports"
        );
    }
}

/// The names of our own metrics in a query.
fn metrics(query: &str) -> Vec<String> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("moliceiro_")).map(str::to_owned).collect()
}

fn is_exported(reference: &str, metric: &str) -> bool {
    let histogram =
        ["_bucket", "_sum", "_count"].iter().find_map(|suffix| metric.strip_suffix(suffix));
    let named = |name: &str, kind: &str| reference.contains(&format!("| `{name}` | {kind}"));
    named(metric, "") || histogram.is_some_and(|name| named(name, "histogram"))
}
