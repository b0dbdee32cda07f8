//! The OpenAPI description is true: a generated client makes every request; and schemathesis makes
//! valid and invalid ones, and checks the answers.

use moliceiro_testing::ingest::IngestApi;
use moliceiro_testing::paths::{project, test_tool};
use moliceiro_testing::process::{self, Process};
use moliceiro_testing::server::Server;
use moliceiro_testing::video::short_video;
use std::path::Path;
use std::process::Command;

const PROGRAM: &str = "from schemathesis.cli import schemathesis; schemathesis()";

#[test]
fn a_generated_client_works_and_schemathesis_finds_no_answer_that_the_description_lacks() {
    let server = Server::start();
    let _others = ["aggregator", "detector"].map(|name| {
        Process::start(process::service(name).args([
            "--nats",
            &server.url(),
            "--set",
            "metrics.listen=off",
        ]))
    });
    let http = IngestApi::start(&server, &[]);
    // So that the list has a failed and a counted video.
    let id = http.upload(&["POST /videos?name=known"], b"not a video");
    assert_eq!(http.summary(&id)["state"], "failed");
    let folder = tempfile::tempdir().unwrap();
    let counted = http.upload(
        &["POST /videos?name=counted"],
        &std::fs::read(short_video(folder.path(), "a.mp4")).unwrap(),
    );
    assert_eq!(http.summary(&counted)["state"], "done");
    generated_client_makes_every_request(&http, &folder.path().join("a.mp4"));
    let folder = test_tool("schemathesis");
    let config = project().join("cli/tests/data/schemathesis.toml");
    // The events of an unfinished video do not end.
    let arguments = [
        "--max-examples",
        "30",
        "--seed",
        "1",
        "--exclude-path-regex",
        "events$",
        "--request-timeout",
        "30",
        "--no-color",
    ];
    let done = Command::new("python3")
        .args(["-c", PROGRAM, "--config-file"])
        .arg(config)
        .args(["run", &format!("http://{}/openapi.json", http.address)])
        .args(arguments)
        .env("PYTHONPATH", folder)
        .current_dir(tempfile::tempdir().unwrap().path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}\n{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("Stateful"), "{said}");
}

/// On the servers of the test above: starting others would take longer than this.
fn generated_client_makes_every_request(http: &IngestApi, video: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let data = project().join("cli/tests/data");
    let description = folder.path().join("openapi.json");
    std::fs::write(&description, http.get("/openapi.json").body).unwrap();
    let python = || {
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", test_tool("openapi-python-client")).current_dir(folder.path());
        command
    };
    let generator = "from openapi_python_client.cli import app; app()";
    succeeds(
        python()
            .args(["-c", generator, "generate", "--fail-on-warning", "--meta", "none"])
            .args(["--output-path", "generated", "--config"])
            .arg(data.join("openapi-python-client.yaml"))
            .arg("--path")
            .arg(&description),
    );
    succeeds(
        python()
            .arg(data.join("generated_client.py"))
            .arg(format!("http://{}", http.address))
            .args([folder.path(), video]),
    );
}

fn succeeds(command: &mut Command) {
    let done = command.output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&said));
}
