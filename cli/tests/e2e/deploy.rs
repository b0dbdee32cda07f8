//! What is in `deploy/`: it conforms to its schemas, names only what exists, and its commands count a
//! video. Its packages, units and containers are tried by `scripts/test-dist`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use moliceiro_testing::paths::{program, project, test_tool};

fn script(name: &str, arguments: &[&str]) -> Command {
    test_tool("deploy/node_modules");
    let mut command = Command::new("python3");
    command.arg(project().join("scripts/deploy").join(name)).args(arguments);
    command.arg("--program").arg(program("moliceiro"));
    command
}

/// Two lists of what was printed would not say which is which.
fn text(output: &Output) -> String {
    let of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    of(&output.stdout) + &of(&output.stderr)
}

fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

#[test]
fn units_containers_and_manifests_are_valid_and_name_what_exists() {
    succeeds(&mut script("check.py", &[]));
}

#[test]
fn a_mistake_in_any_of_them_is_refused() {
    // In which file, what it has, what it should not have, and a part of what is said about it.
    let mistakes = [
        ("kubernetes/detector.yaml", "replicas: 2", "replicas: two", "spec/replicas"),
        ("kubernetes/detector.yaml", "readinessProbe:", "readynessProbe:", "readynessProbe"),
        ("kubernetes/detector.yaml", "NATS__USER", "NATS__USR", "unknown setting nats.usr"),
        ("kubernetes/detector.yaml", "--sessions", "--session", "no option --session"),
        ("kubernetes/detector.yaml", "_DETECTOR_PASSWORD", "_PASSWORD", "does not exist"),
        ("kubernetes/detector.yaml", "containerPort: 9470", "containerPort: 9472", "has port 9470"),
        ("kubernetes/service-monitors.yaml", "interval:", "intervall:", "spec/endpoints/0"),
        ("kubernetes/service-monitors.yaml", "interval: 5s", "interval: 5", "interval must be"),
        ("kubernetes/network-policies.yaml", "nats\n", "nuts\n", "selects no pod"),
        ("kubernetes/server.conf", "max_payload:", "max_payloads:", "unknown field"),
        ("kubernetes/moliceiro.toml", "replicas = 3", "replicas = 2", "streams.replicas"),
        ("kubernetes/moliceiro.toml", "ca.crt", "ca.pem", "ca.pem is not mounted"),
        ("kubernetes/moliceiro.toml", "tls://", "nats://", "without TLS"),
        ("kubernetes/nats.yaml", "tls://", "nats://", "without TLS"),
        ("kubernetes/server.conf", "nats/tls.key", "nats/key", "nats/key"),
        (
            "kubernetes/kustomization.yaml",
            "     moliceiro-nats-2.",
            "  other.",
            "no certificate is",
        ),
        ("kubernetes/kustomization.yaml", "tls/server.key", "tls/server.kay", "server.kay"),
        ("kubernetes/alerts.yaml", "for: 1m", "for: 2m", "run scripts/deploy/alerts.py"),
        ("keda/scaled-object.yaml", "pollingInterval:", "pollInterval:", "pollInterval"),
        ("keda/scaled-object.yaml", "_detector_seconds", "_seconds_of_one", "there is no metric"),
        (
            "keda/scaled-object.yaml",
            "Ref:\n    name: moliceiro-",
            "Ref:\n    name: ",
            "is no detector",
        ),
        ("keda/kustomization.yaml", "op: remove", "op: test", "testing value"),
        ("compose.yml", "read_only:", "readonly:", "readonly"),
        ("compose.yml", "INGEST__SPOOL", "INGEST__SPOOLS", "unknown setting ingest.spools"),
        ("compose.yml", "./containers/", "./container/", "there is no ./container/"),
        ("containers/Containerfile", "USER 10001:10001", "USER root", "as root"),
        ("systemd/moliceiro-nats.service", "ProtectHome", "ProtectHomes", "Unknown key"),
        ("systemd/moliceiro-ingest.service", "NoNewPrivileges=yes\n", "", "more than 1.6"),
        ("systemd/moliceiro-detector@.service", "SESSIONS", "SESSION", "detector.session"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for (file, right, wrong, said) in mistakes {
        for part in ["deploy", "grafana", "nats"] {
            copy(&project().join(part), &root.join(part));
        }
        let path = root.join("deploy").join(file);
        let content = fs::read_to_string(&path).unwrap();
        assert!(content.contains(right), "{file} has no {right:?}");
        fs::write(&path, content.replace(right, wrong)).unwrap();
        let checks = match file.split(['/', '.']).next().unwrap() {
            "systemd" => "units",
            "keda" => "kubernetes",
            other => other,
        };
        let output = script("check.py", &[checks, "--root", root.to_str().unwrap()]).output();
        let output = output.unwrap();
        let printed = text(&output);
        assert!(
            output.status.code() == Some(1) && printed.contains(said),
            "{wrong:?} in {file}: {said:?} is not in {printed}"
        );
    }
}

/// The files of a folder and of those below it, without the code of a crate.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_file() {
            fs::copy(&path, target).unwrap();
        } else if !["src", "tests", "messages", "testing", "node_modules"]
            .iter()
            .any(|skipped| path.ends_with(skipped))
        {
            copy(&path, &target);
        }
    }
}

#[test]
fn the_commands_of_the_compose_file_count_a_video() {
    assert!(succeeds(&mut script("run.py", &["compose"])).contains("3 frames are counted"));
}

#[test]
fn the_commands_on_kubernetes_count_a_video_with_three_servers_and_a_user_each() {
    if !project().join(".deps-tests/bin/kubectl").exists() {
        assert_ne!(std::env::consts::ARCH, "x86_64", "run `make setup-tests`");
        return;
    }
    assert!(succeeds(&mut script("run.py", &["kubernetes"])).contains("3 frames are counted"));
}
