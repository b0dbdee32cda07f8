//! Who may do what over HTTP, what is recorded of it, and how a command finds its server.

use std::fs;

use moliceiro_nats::messages::{AuditAction, AuditRecord};
use moliceiro_testing::accounts::ServerWithAccounts;
use moliceiro_testing::deployment::Deployment;
use moliceiro_testing::ingest::IngestApi;
use moliceiro_testing::process::{Process, moliceiro};
use moliceiro_testing::server::Server;
use moliceiro_testing::until;
use serde_json::json;

fn token(name: &str, scope: &str) -> String {
    format!("[[token]]\nname = {name:?}\nscope = {scope:?}\ntoken = \"{name}-secret\"\n")
}

fn bearer(name: &str) -> String {
    format!("authorization: Bearer {name}-secret")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_for_its_scope_until_its_file_changes_and_changes_are_recorded() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let [gate, wall, ana] =
        [("gate", "upload"), ("wall", "read"), ("ana", "admin")].map(|(n, s)| token(n, s));
    fs::write(&file, [&*gate, &*wall, &*ana].concat()).unwrap();
    let http = IngestApi::start(&server, &[&format!("http.tokens_file={}", file.display())]);
    let send = |name: &str, request: &str| http.send(&[request, &bearer(name)], b"not a video");

    http.send(&["GET /videos"], b"").is_problem(401, "http.tokens_file");
    for (name, request, needed) in [
        ("gate", "GET /videos", "read"),
        ("gate", "GET /models", "read"),
        ("gate", "DELETE /videos/a", "admin"),
        ("gate", "POST /videos/a/analyses", "read"),
        ("wall", "POST /videos", "upload"),
        ("wall", "POST /", "upload"),
        ("wall", "DELETE /videos/a", "admin"),
        ("wall", "POST /models", "admin"),
        ("wall", "DELETE /models/a", "admin"),
    ] {
        let expected =
            format!("the token {name} does not have the scope that this needs: {needed}");
        send(name, request).is_problem(403, &expected);
    }
    let video = http.upload(&["POST /videos?name=one", &bearer("gate")], b"not a video");
    assert_eq!(send("wall", "GET /videos").status, 200);
    let _aggregator = Deployment::new(server.url(), &[]).ready("aggregator");
    until("the video has ended", async || {
        let reply = send("ana", &format!("GET /videos/{video}"));
        (reply.status == 200 && reply.json()["summary"].is_object()).then_some(())
    })
    .await;
    let forget = format!("DELETE /videos/{video}?forget=true");
    assert_eq!(send("ana", &forget).status, 204);

    let mut command = moliceiro();
    let command = command.args(["audit", "--json", "--nats", &server.url()]);
    let printed: Vec<AuditRecord> = Process::start(command)
        .expect_code(0)
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let found: Vec<_> = printed
        .iter()
        .map(|record| {
            (&*record.who, record.action, record.video.as_ref().map(|video| video.as_str()))
        })
        .collect();
    assert_eq!(
        found,
        [("gate", AuditAction::Upload, Some(&*video)), ("ana", AuditAction::Delete, Some(&*video))]
    );
    http.process.wait_for_stderr("moliceiro_audit", 2);
    let log = http.process.stderr().join("\n");
    assert!(!log.contains("-secret"), "{log}");

    // A file that is not usable changes nothing; a token that is not in the next one is refused.
    fs::write(&file, "[[token]]\nname = 5\n").unwrap();
    http.process.wait_for_stderr("the tokens stay as they were", 1);
    assert_eq!(send("wall", "GET /videos").status, 200);
    fs::write(&file, &gate).unwrap();
    http.process.wait_for_stderr("read the tokens again", 1);
    send("wall", "GET /videos").is_problem(401, "http.tokens_file");
    assert_eq!(send("gate", "POST /videos").status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_of_the_nats_command_says_which_server_and_user() {
    let server = ServerWithAccounts::start();
    let _aggregator = server.ready("aggregator", &[]);
    let config = tempfile::tempdir().unwrap();
    let contexts = config.path().join("nats/context");
    fs::create_dir_all(&contexts).unwrap();
    let settings = server.settings("operator");
    let (user, address) = settings.url.rsplit_once('@').unwrap();
    let password = user.rsplit_once(':').unwrap().1;
    let context = |user: &str, password: &str| {
        json!({
            "description": "", "url": format!("nats://{address}"), "user": user,
            "password": password, "inbox_prefix": settings.inbox_prefix,
        })
        .to_string()
    };
    fs::write(contexts.join("ours.json"), context("operator", password)).unwrap();
    fs::write(contexts.join("wrong.json"), context("operator", "wrong")).unwrap();
    fs::write(contexts.join("proxy.json"), r#"{"socks_proxy": "socks5://a:1"}"#).unwrap();
    let status = |arguments: &[&str], environment: &[(&str, &str)], code: i32| {
        let mut command = moliceiro();
        command.arg("status").args(arguments).env("XDG_CONFIG_HOME", config.path());
        command.env_remove("NATS_CONTEXT").envs(environment.iter().copied());
        let mut process = Process::start(&mut command);
        process.expect_code(code);
        process.stderr().join("\n")
    };
    status(&["--context", "ours"], &[], 0);
    status(&[], &[("NATS_CONTEXT", "ours")], 0);
    // What is nearer to the command holds.
    let elsewhere = ("MOLICEIRO__NATS__URL", "nats://127.0.0.1:1");
    status(&["--context", "ours"], &[elsewhere], 0);
    status(&["--context", "ours"], &[("NATS_CONTEXT", "wrong")], 0);
    let error = status(&["--context", "wrong"], &[], 1);
    assert!(error.contains("refuses this user or password"), "{error}");
    assert!(!error.contains("wrong"), "{error}");
    let error = status(&["--context", "none"], &[], 64);
    assert!(error.contains("nats.context (from command line --context)"), "{error}");
    assert!(error.contains("none.json") && error.contains("nats context ls"), "{error}");
    let error = status(&[], &[("NATS_CONTEXT", "proxy")], 64);
    assert!(error.contains("socks_proxy") && error.contains("NATS_CONTEXT"), "{error}");
}
