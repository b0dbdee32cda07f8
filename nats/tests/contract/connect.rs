//! Every way of proving who one is, on real servers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use moliceiro_nats::messages::Upload;
use moliceiro_nats::{
    ConnectError, NatsSettings, Patience, Streams, StreamsSettings, connect, subjects,
};
use moliceiro_testing::accounts::server_command;
use moliceiro_testing::loopback::Loopback;
use moliceiro_testing::paths::{nats_server, project};
use moliceiro_testing::process::Process;
use nkeys::KeyPair;
use serde_json::{Value, json};

struct Site {
    loopback: Loopback,
    folder: tempfile::TempDir,
    server: Option<Process>,
}

impl Site {
    fn new() -> Self {
        Self { loopback: Loopback::claim(), folder: tempfile::tempdir().unwrap(), server: None }
    }

    /// Starts a server with this configuration besides its address and its store.
    fn start(mut self, configuration: &str) -> Self {
        let file = self.file("server.conf", configuration);
        let mut command = Command::new(nats_server());
        let address = self.loopback.port(0);
        command.arg("--config").arg(file).arg("--addr").arg(address.ip().to_string());
        command.arg("--port").arg(address.port().to_string());
        command.arg("--store_dir").arg(self.folder.path().join("store")).arg("--jetstream");
        let server = Process::start(&mut command);
        server.wait_for_stderr("Server is ready", 1);
        self.server = Some(server);
        self
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        fs::write(&file, text).unwrap();
        file
    }

    /// Certificates for the server's address, from the script for operators.
    fn certificates(&self) -> PathBuf {
        let folder = self.folder.path().join("certificates");
        let mut script = Command::new(project().join("nats/make-certificates"));
        script.arg(&folder).arg(self.loopback.port(0).ip().to_string());
        Process::start(&mut script).expect_code(0);
        folder
    }

    /// New certificates of the same authority.
    fn renew(&self, folder: &Path) {
        let mut script = Command::new(project().join("nats/make-certificates"));
        script.arg("--renew").arg(folder).arg(self.loopback.port(0).ip().to_string());
        Process::start(&mut script).expect_code(0);
    }

    fn settings(&self, scheme: &str) -> NatsSettings {
        NatsSettings::at(format!("{scheme}://{}", self.loopback.port(0)))
    }
}

async fn works(settings: &NatsSettings) {
    connect(settings, "test", Patience::FailAtOnce).await.unwrap();
}

async fn refusal(settings: &NatsSettings) -> ConnectError {
    connect(settings, "test", Patience::FailAtOnce).await.unwrap_err()
}

#[tokio::test]
async fn a_user_with_an_nkey() {
    let (user, other) = (KeyPair::new_user(), KeyPair::new_user());
    let site = Site::new()
        .start(&format!("authorization {{ users: [ {{ nkey: {} }} ] }}", user.public_key()));
    let nkey = |name: &str, text: &str| NatsSettings {
        nkey: Some(site.file(name, text)),
        ..site.settings("nats")
    };
    works(&nkey("seed", &format!("# mine\n{}\n", user.seed().unwrap()))).await;
    let error = refusal(&nkey("other", &other.seed().unwrap())).await;
    assert!(matches!(&error, ConnectError::Unauthorized { setting: "nats.nkey", .. }), "{error}");
    let error = refusal(&nkey("public", &user.public_key())).await;
    assert!(matches!(&error, ConnectError::File { setting: "nats.nkey", .. }), "{error}");
    let missing = NatsSettings { nkey: Some("/nonexistent".into()), ..site.settings("nats") };
    let error = refusal(&missing).await;
    assert!(error.to_string().starts_with("nats.nkey /nonexistent cannot be used"), "{error}");
}

/// A JWT of NATS (its ADR-14), as `nsc` makes it.
fn jwt(issuer: &KeyPair, subject: &KeyPair, name: &str, claims: &Value) -> String {
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = encoded(&json!({"typ": "JWT", "alg": "ed25519-nkey"}));
    let body = encoded(&json!({
        "jti": name, "iat": 1_700_000_000, "iss": issuer.public_key(),
        "sub": subject.public_key(), "name": name, "nats": claims,
    }));
    let signed = format!("{head}.{body}");
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

#[tokio::test]
async fn a_user_with_a_credentials_file() {
    let (operator, account) = (KeyPair::new_operator(), KeyPair::new_account());
    let (system, user) = (KeyPair::new_account(), KeyPair::new_user());
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1,
        "consumer": -1,
    });
    let claims = |kind: &str| json!({"type": kind, "version": 2, "limits": limits});
    let of_operator = jwt(&operator, &operator, "O", &json!({"type": "operator", "version": 2}));
    let of_account = jwt(&operator, &account, "A", &claims("account"));
    let of_system = json!({"type": "account", "version": 2});
    let of_system = jwt(&operator, &system, "SYS", &of_system);
    let site = Site::new().start(&format!(
        "operator: {of_operator}\nsystem_account: {system}\nresolver: MEMORY\n\
         resolver_preload: {{ {account}: {of_account}, {system}: {of_system} }}",
        account = account.public_key(),
        system = system.public_key(),
    ));
    let user_claims = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1});
    let of_user = jwt(&account, &user, "U", &user_claims);
    let credentials = |name: &str, seed: &str| {
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{of_user}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        NatsSettings { credentials: Some(site.file(name, &text)), ..site.settings("nats") }
    };
    works(&credentials("user.creds", &user.seed().unwrap())).await;
    let other = KeyPair::new_user().seed().unwrap();
    let error = refusal(&credentials("other.creds", &other)).await;
    assert!(
        matches!(&error, ConnectError::Unauthorized { setting: "nats.credentials", .. }),
        "{error}"
    );
}

fn with_certificates(settings: NatsSettings, folder: &Path, client: bool) -> NatsSettings {
    NatsSettings {
        tls_ca: Some(folder.join("ca.pem")),
        tls_certificate: client.then(|| folder.join("client.pem")),
        tls_key: client.then(|| folder.join("client.key")),
        ..settings
    }
}

#[tokio::test]
async fn a_private_authority_and_client_certificates() {
    for first in [false, true] {
        let site = Site::new();
        let folder = site.certificates();
        let file = |name: &str| folder.join(name).display().to_string();
        let before = ["ca.pem", "server.pem"].map(|name| fs::read(file(name)).unwrap());
        site.renew(&folder);
        let after = ["ca.pem", "server.pem"].map(|name| fs::read(file(name)).unwrap());
        assert!(before[0] == after[0] && before[1] != after[1]);
        let site = site.start(&format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true, \
             handshake_first: {first} }}",
            file("server.pem"),
            file("server.key"),
            file("ca.pem"),
        ));
        let settings = NatsSettings { tls_first: first, ..site.settings("tls") };
        works(&with_certificates(settings.clone(), &folder, true)).await;
        for refused in [settings.clone(), with_certificates(settings, &folder, false)] {
            let error = refusal(&refused).await;
            assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
        }
    }
}

#[tokio::test]
async fn an_inbox_prefix_is_used_for_every_answer() {
    let site = Site::new().start(
        "authorization { users: [ { user: a, password: a, permissions: \
         { publish: \">\", subscribe: [\"_INBOX.mine.>\"] } } ] }",
    );
    let settings = NatsSettings {
        user: Some("a".into()),
        password: Some("a".to_owned().into()),
        inbox_prefix: Some("_INBOX.mine".into()),
        ..site.settings("nats")
    };
    let client = connect(&settings, "test", Patience::FailAtOnce).await.unwrap();
    let streams = Streams::open(client, &StreamsSettings::default(), 4).await.unwrap();
    let upload = Upload::of("file:///a.mp4".parse().unwrap());
    let payload = moliceiro_nats::messages::to_json(&upload).into();
    streams.publisher.publish(subjects::UPLOAD_SUBJECT, "1", payload).await.unwrap();
    assert_eq!(streams.videos().queued_uploads().await.unwrap().len(), 1);
    streams.requests.put("key", "value".into()).await.unwrap();
    assert_eq!(streams.requests.get("key").await.unwrap().unwrap(), "value");
}

#[tokio::test]
async fn streams_in_the_domain_of_another_server() {
    let hub = Loopback::claim();
    let site = Site::new();
    let hub_config = site.file(
        "hub.conf",
        &format!(
            "jetstream {{ domain: hub, store_dir: {:?} }}\nleafnodes {{ listen: \"{}\" }}",
            site.folder.path().join("hub"),
            hub.port(1)
        ),
    );
    let mut command = Command::new(nats_server());
    let address = hub.port(0);
    command.arg("--config").arg(hub_config).arg("--addr").arg(address.ip().to_string());
    let hub_server = Process::start(command.arg("--port").arg(address.port().to_string()));
    hub_server.wait_for_stderr("Server is ready", 1);
    let site = site.start(&format!(
        "server_name: leaf\nleafnodes {{ remotes: [ {{ url: \"nats://{}\" }} ] }}\n\
         jetstream {{ domain: leaf }}",
        hub.port(1)
    ));
    hub_server.wait_for_stderr("Leafnode connection created", 1);
    let client = connect(&site.settings("nats"), "test", Patience::FailAtOnce).await.unwrap();
    let settings = StreamsSettings { domain: Some("hub".into()), ..StreamsSettings::default() };
    let streams = Streams::open(client, &settings, 4).await.unwrap();
    let payload = "file:///a.mp4".into();
    streams.publisher.publish(subjects::UPLOAD_SUBJECT, "1", payload).await.unwrap();
    assert_eq!(streams.videos().queued_uploads().await.unwrap().len(), 1);
    streams.requests.put("key", "value".into()).await.unwrap();
    assert_eq!(streams.requests.get("key").await.unwrap().unwrap(), "value");
    let at_hub = NatsSettings::at(format!("nats://{}", hub.port(0)));
    let client = connect(&at_hub, "test", Patience::FailAtOnce).await.unwrap();
    let there = Streams::open_existing(client, &StreamsSettings::default(), 4).await.unwrap();
    assert_eq!(there.uploads.get_info().await.unwrap().state.messages, 1);
}

/// A configuration for operators with its blocks for TLS, and certificates from this folder.
fn with_tls(text: &str, certificates: &Path) -> String {
    let is_of_tls = |line: &str| {
        ["tls {", "}", "    cert_file:", "    key_file:", "    ca_file:"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    let line = |line: &str| match line.trim_start().strip_prefix("# ") {
        Some(text) if is_of_tls(text) => text.to_owned(),
        _ => line.to_owned(),
    };
    let lines: Vec<_> = text.lines().map(line).collect();
    lines.join("\n").replace("/etc/moliceiro", certificates.to_str().unwrap())
}

#[tokio::test]
async fn a_cluster_with_certificates_on_both_ports() {
    const NODES: usize = 3;
    let nodes = [(); NODES].map(|()| Loopback::claim());
    let folder = tempfile::tempdir().unwrap();
    let certificates = folder.path().join("certificates");
    let mut script = Command::new(project().join("nats/make-certificates"));
    script.arg(&certificates);
    script.args(nodes.iter().map(|node| node.port(0).ip().to_string()));
    Process::start(&mut script).expect_code(0);
    let config = folder.path().join("cluster.conf");
    let text = fs::read_to_string(project().join("nats/cluster.conf")).unwrap();
    fs::write(&config, with_tls(&text, &certificates)).unwrap();
    let start = |node: usize| {
        let store = folder.path().join(node.to_string());
        let mut command = server_command(&config, &store, &nodes[node]);
        command
            .env("MOLICEIRO_NODE", format!("node-{node}"))
            .env("MOLICEIRO_USER", "moliceiro")
            .env("MOLICEIRO_PASSWORD", "secret")
            .env("MOLICEIRO_ROUTE_USER", "route")
            .env("MOLICEIRO_ROUTE_PASSWORD", "other")
            .env("MOLICEIRO_CLUSTER_LISTEN", nodes[node].port(1).to_string());
        for (number, other) in (1..).zip(&nodes) {
            let route = format!("tls://route:other@{}", other.port(1));
            command.env(format!("MOLICEIRO_ROUTE_{number}"), route);
        }
        Process::start(&mut command)
    };
    let servers: Vec<_> = (0..NODES).map(start).collect();
    servers.iter().for_each(|server| server.wait_for_stderr("Server is ready", 1));
    let settings = NatsSettings {
        user: Some("moliceiro".into()),
        password: Some("secret".to_owned().into()),
        tls_ca: Some(certificates.join("ca.pem")),
        ..NatsSettings::at(format!("tls://{}", nodes[0].port(0)))
    };
    let client = connect(&settings, "test", Patience::FailAtOnce).await.unwrap();
    let replicated = StreamsSettings { replicas: NODES, ..StreamsSettings::default() };
    let streams = Streams::wait_for(client, &replicated, 4).await.unwrap();
    let payload = "file:///a.mp4".into();
    streams.publisher.publish(subjects::UPLOAD_SUBJECT, "1", payload).await.unwrap();
    assert_eq!(streams.uploads.get_info().await.unwrap().state.messages, 1);
    let stranger = NatsSettings { password: Some("wrong".to_owned().into()), ..settings };
    assert!(matches!(refusal(&stranger).await, ConnectError::Unauthorized { .. }));
}
