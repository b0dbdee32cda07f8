//! Videos over HTTP, from the upload to the summary, whichever process is killed in between.

use std::fs;

use moliceiro_testing::http::{FORM, Reply, form, form_with};
use moliceiro_testing::ingest::{IngestApi, stored_objects};
use moliceiro_testing::loopback::Loopback;
use moliceiro_testing::paths::sample;
use moliceiro_testing::process::{self, Process, run};
use moliceiro_testing::server::{RestartableServer, Server};
use moliceiro_testing::video::{file_uri, short_video};
use moliceiro_testing::{eventually, until};
use rustix::process::Signal;
use serde_json::json;
use url::Url;

fn service(name: &str, url: &str) -> Process {
    let process = Process::start(process::service(name).args([
        "--nats",
        url,
        "--set",
        "streams.upload_ack_wait=1s",
    ]));
    process.wait_for_stderr("is ready", 1);
    process
}

fn others(server: &Server) -> [Process; 2] {
    ["aggregator", "detector"].map(|name| service(name, &server.url()))
}

fn video() -> (tempfile::TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(short_video(folder.path(), "a.mp4")).unwrap();
    (folder, bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_with_two_files_is_counted_and_its_bytes_are_deleted() {
    let server = Server::start();
    let (_others, http) = (others(&server), IngestApi::start(&server, &[]));
    let bytes = fs::read(sample("carphone_pristine.mp4")).unwrap();
    let uploaded =
        http.send(&["POST /?every=10", FORM], &form(&[("one.mp4", &bytes), ("two.mp4", &bytes)]));
    assert_eq!(
        (uploaded.status, uploaded.header("location")),
        (202, Some("/videos")),
        "{}",
        uploaded.text()
    );
    let videos = uploaded.json()["videos"].as_array().unwrap().clone();
    let ids: Vec<_> = videos.iter().map(|video| video["id"].as_str().unwrap().to_owned()).collect();
    for (id, name) in ids.iter().zip(["one.mp4", "two.mp4"]) {
        let events = http.events(id);
        let (kind, summary) = events.last().unwrap();
        assert_eq!(
            (kind.as_str(), &summary["name"], &summary["state"], &summary["processed_frames"]),
            ("summary", &json!(name), &json!("done"), &json!(12))
        );
        let states: Vec<_> = events
            .iter()
            .filter(|(kind, _)| kind == "video")
            .map(|(_, video)| video["state"].clone())
            .collect();
        assert_eq!(states.last(), Some(&json!("done")), "{states:?}");
        let links =
            videos.iter().find(|video| video["id"] == **id).unwrap()["links"].as_object().unwrap();
        assert!(links.len() >= 3, "{links:?}");
        for (what, link) in links {
            assert_eq!(http.get(link.as_str().unwrap()).status, 200, "{what}");
        }
        let shown = http.get(&format!("/videos/{id}")).json();
        assert_eq!(
            (&shown["id"], &shown["frames"]["counted"], &shown["summary"]),
            (&json!(id), &json!(12), summary)
        );
    }

    let rows = http.get(&format!("/videos/{}/detections", ids[0]));
    assert_eq!(rows.header("content-type"), Some("application/x-ndjson"));
    let rows: Vec<serde_json::Value> =
        rows.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found: u64 = http.summary(&ids[0])["classes"]
        .as_object()
        .unwrap()
        .values()
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!(rows.len() as u64, found);
    assert!(
        rows.iter().all(|row| row["frame"].as_u64().unwrap() % 10 == 0
            && row["box"].as_array().unwrap().len() == 4),
        "{rows:?}"
    );
    let csv =
        http.send(&[&format!("GET /videos/{}/detections", ids[0]), "accept: text/csv"], b"").text();
    assert!(
        csv.starts_with("frame,time_s,label,score,left,top,right,bottom\n0,0,person,"),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), rows.len() + 1);
    http.send(&[&format!("GET /videos/{}/detections", ids[0]), "accept: text/html"], b"")
        .is_problem(406, "text/csv");

    let first = http.get("/videos?limit=1&state=done");
    let next = first.json()["next"].as_str().unwrap().to_owned();
    assert!(first.header("link").unwrap().contains(&format!("after={next}")));
    let second = http.get(&format!("/videos?limit=1&state=done&after={next}")).json();
    let listed = [first.json()["videos"][0]["id"].clone(), second["videos"][0]["id"].clone()];
    assert!(ids.iter().all(|id| listed.contains(&json!(id))), "{listed:?}");
    assert_eq!(
        (&second["next"], http.get("/videos?state=failed").json()),
        (&json!(null), json!({"videos": [], "next": null}))
    );
    http.send(&[&format!("DELETE /videos/{}", ids[0])], b"").is_problem(409, "done already");

    let jetstream = server.jetstream().await;
    until("uploaded bytes are deleted", async || {
        (stored_objects(&jetstream).await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_allowed_sources_are_read() {
    let server = Server::start();
    let samples = sample("bikes.mp4").parent().unwrap().to_owned();
    let (_others, http) = (
        others(&server),
        IngestApi::start(&server, &[&format!("ingest.allow={}", samples.display())]),
    );
    const JSON: &str = "content-type: application/json";
    let describe =
        |body: serde_json::Value| http.send(&["POST /videos", JSON], body.to_string().as_bytes());
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let address = format!("http://{}/", elsewhere.local_addr().unwrap());
    for uri in [
        "file:///etc/passwd",
        &address,
        &format!("file://{}/../../Cargo.toml", samples.display()),
        "ftp://x/",
    ] {
        describe(json!({ "uri": uri })).is_problem(403, "may not be read");
    }
    assert!(elsewhere.accept().is_err(), "it was refused before any connection");
    describe(json!({ "uri": "obj://uploads/nothing.mp4" })).is_problem(422, "does not exist");
    describe(json!({ "uri": 7 })).is_problem(422, "invalid type");
    describe(json!({ "uri": "file:///a", "id": "mine" })).is_problem(422, "id is chosen here");
    describe(json!({ "uri": "file:///a", "alarms": ["person"] })).is_problem(422, "alarm rule");
    http.send(&["POST /videos", JSON], b"{").is_problem(400, "JSON");
    let uri = Url::from_file_path(samples.join("carphone_pristine.mp4")).unwrap();
    let accepted = describe(json!({
        "uri": uri, "name": "harbour", "every": 40,
        "labels": ["person"], "alarms": ["person >= 1"]
    }));
    let id = accepted.json()["id"].as_str().unwrap().to_owned();
    let events = http.events(&id);
    assert_eq!(events.iter().filter(|(kind, _)| kind == "alarm").count(), 3, "{events:#?}");
    assert_eq!(events.last().unwrap().1["classes"], json!({ "person": 3 }));

    // The same for clients that publish without HTTP.
    let jetstream = server.jetstream().await;
    let publish = async |id: &str, uri: &str| {
        let upload = json!({ "id": id, "uri": uri }).to_string();
        jetstream.publish("videos.upload", upload.into()).await.unwrap().await.unwrap();
        let known = eventually(|| (http.get(&format!("/videos/{id}")).status == 200).then_some(()));
        known.expect("the video is known");
        http.summary(id)
    };
    let refused = publish("outside", "file:///etc/passwd").await;
    assert_eq!(refused["state"], "failed");
    assert!(refused["problem"].as_str().unwrap().contains("ingest.allow"), "{refused}");
    let missing = publish("missing", "obj://uploads/missing.mp4").await;
    assert!(missing["problem"].as_str().unwrap().contains("does not exist"), "{missing}");
    let store = jetstream.get_object_store("uploads").await.unwrap();
    store.put("a.mp4", &mut &video().1[..]).await.unwrap();
    assert_eq!(publish("put", "obj://uploads/a.mp4").await["processed_frames"], 10);
    assert!(store.info("a.mp4").await.is_ok_and(|info| !info.deleted), "objects of others stay");

    let bytes = video().1;
    let whole = store.put("damaged.mp4", &mut &bytes[..]).await.unwrap();
    let chunks = jetstream.get_stream("OBJ_uploads").await.unwrap();
    let chunk = format!("$O.uploads.C.{}", whole.nuid);
    let stored = chunks.get_last_raw_message_by_subject(&chunk).await.unwrap();
    assert_eq!(stored.payload.len(), bytes.len(), "it is in one chunk");
    assert!(chunks.delete_message(stored.sequence).await.unwrap());
    let mut damaged = bytes.to_vec();
    damaged[bytes.len() / 2] ^= 1;
    jetstream.publish(chunk, damaged.into()).await.unwrap().await.unwrap();
    let refused = publish("damaged", "obj://uploads/damaged.mp4").await;
    assert_eq!(refused["state"], "failed", "{refused}");
    let problem = refused["problem"].as_str().unwrap();
    assert!(problem.contains("damaged.mp4") && problem.contains("digest"), "{refused}");
    assert_eq!(publish("again", "obj://uploads/a.mp4").await["processed_frames"], 10);
}

#[test]
fn a_request_selects_the_frames_that_are_analysed() {
    let server = Server::start();
    let samples = sample("carphone_pristine.mp4").parent().unwrap().to_owned();
    let (_others, http) = (
        others(&server),
        IngestApi::start(&server, &[&format!("ingest.allow={}", samples.display())]),
    );
    let bytes = fs::read(sample("carphone_pristine.mp4")).unwrap();
    let id = http.upload(&["POST /videos?fps=1&start=1&end=3s"], &bytes);
    assert_eq!(http.summary(&id)["processed_frames"], 2);
    let shown = http.get(&format!("/videos/{id}")).json();
    assert_eq!([&shown["fps"], &shown["start"], &shown["end"]], [1.0, 1.0, 3.0]);
    let uri = file_uri(&sample("carphone_pristine.mp4"));
    let described = json!({ "uri": uri, "fps": 1, "start": 1, "end": 3 });
    let described = http.upload(
        &["POST /videos", "content-type: application/json"],
        described.to_string().as_bytes(),
    );
    assert_eq!(http.summary(&described)["processed_frames"], 2);
    // Fields of a form hold wherever they are.
    let fields = form_with(
        &[("every", "40")],
        &[("a.mp4", &bytes)],
        &[("alarms", "person >= 1"), ("name", "a\u{202e}b")],
    );
    let form = http.send(&["POST /?labels=person", FORM], &fields).json();
    let videos = form["videos"].as_array().unwrap();
    assert_eq!((videos.len(), &videos[0]["name"]), (1, &json!("a\\u{202e}b")), "{form}");
    let id = videos[0]["id"].as_str().unwrap();
    let summary = http.summary(id);
    assert_eq!(
        [&summary["processed_frames"], &summary["classes"], &summary["most_at_once"]],
        [&json!(3), &json!({ "person": 3 }), &json!({ "person": 1 })]
    );
    let shown = http.get(&format!("/videos/{id}")).json();
    assert_eq!(
        [&shown["labels"], &shown["rules"], &shown["alarms"]],
        [&json!(["person"]), &json!(["person >= 1"]), &json!(3)]
    );

    // Everything that is stored of it can be deleted.
    let delete = format!("DELETE /videos/{id}?forget=true");
    assert_eq!(http.send(&[&delete], b"").status, 204);
    for what in ["", "/summary", "/detections", "/stills", "/events"] {
        http.get(&format!("/videos/{id}{what}")).is_problem(404, "does not exist");
    }
    http.send(&[&delete], b"").is_problem(404, "does not exist");
    let listed = http.get("/videos").json()["videos"].as_array().unwrap().len();
    assert_eq!(listed, 2, "the others stay");
}

#[test]
fn an_ingest_killed_right_after_its_answer_loses_no_video() {
    let server = Server::start();
    let _others = others(&server);
    let http = IngestApi::start(&server, &[]);
    let id = http.upload(
        &["POST /videos?name=harbour"],
        &fs::read(sample("carphone_pristine.mp4")).unwrap(),
    );
    http.process.signal(Signal::KILL);
    let http = IngestApi::start(&server, &[]);
    let summary = http.summary(&id);
    assert_eq!(
        (&summary["name"], &summary["state"], &summary["processed_frames"]),
        (&json!("harbour"), &json!("done"), &json!(120))
    );
}

#[test]
fn an_ingest_and_a_server_killed_right_after_the_answer_lose_no_video() {
    let mut server = RestartableServer::start();
    let http = IngestApi::start_at(&server.url(), &[]);
    let id = http.upload(&["POST /videos?name=harbour"], &video().1);
    http.process.signal(Signal::KILL);
    server.kill_and_restart();
    let http = IngestApi::start_at(&server.url(), &[]);
    let _others = ["aggregator", "detector"].map(|name| service(name, &server.url()));
    let summary = http.summary(&id);
    assert_eq!(
        (&summary["name"], &summary["state"], &summary["processed_frames"]),
        (&json!("harbour"), &json!("done"), &json!(10))
    );
}

/// The states that a polling client sees.
#[test]
fn a_video_is_queued_decoded_and_counted_in_turn() {
    let server = Server::start();
    // First, because it creates the queue with its settings.
    let http = IngestApi::start(&server, &["ingest.videos=1", "streams.frames_max_per_video=20"]);
    let _aggregator = service("aggregator", &server.url());
    let until = |id: &str, state: &str| {
        let seen = || (http.get(&format!("/videos/{id}")).json()["state"] == state).then_some(());
        eventually(seen).unwrap_or_else(|| panic!("{}", http.get(&format!("/videos/{id}")).text()));
    };
    let whole = http.upload(&["POST /videos?name=whole"], &video().1);
    until(&whole, "counting");
    let long =
        http.upload(&["POST /videos?name=long&every=5"], &fs::read(sample("bikes.mp4")).unwrap());
    until(&long, "decoding");
    let waiting = http.upload(&["POST /videos?name=waiting"], &video().1);
    until(&waiting, "queued");
    let _detector = service("detector", &server.url());
    for (id, frames) in [(whole, 10), (long, 50), (waiting, 10)] {
        let summary = http.summary(&id);
        assert_eq!(
            (&summary["state"], &summary["processed_frames"]),
            (&json!("done"), &json!(frames))
        );
    }
}

#[test]
fn the_same_content_with_the_same_idempotency_key_is_the_same_video() {
    let server = Server::start();
    let _others = others(&server);
    let (one, other) = (IngestApi::start(&server, &[]), IngestApi::start(&server, &[]));
    let (_folder, bytes) = video();
    const KEY: &str = "idempotency-key: 7f3a";
    let id = one.upload(&["POST /videos", KEY], &bytes);
    assert_eq!(other.upload(&["POST /videos", KEY], &bytes), id, "another ingest knows the key");
    other.send(&["POST /videos", KEY], b"another content").is_problem(422, "Idempotency-Key");
    one.send(&["POST /videos", "idempotency-key: a b"], &bytes).is_problem(400, "Idempotency-Key");
    assert_eq!(one.summary(&id)["processed_frames"], 10);
    assert_eq!(one.upload(&["POST /videos", KEY], &bytes), id, "also after its end");
    assert_ne!(one.upload(&["POST /videos"], &bytes), id);
    let ids: Vec<_> = std::thread::scope(|scope| {
        let uploads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| one.upload(&["POST /videos", "idempotency-key: race"], &bytes)))
            .collect();
        uploads.into_iter().map(|upload| upload.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn a_form_and_a_description_repeated_with_their_key_are_the_same_videos() {
    let server = Server::start();
    let (folder, bytes) = video();
    let http = IngestApi::start(&server, &[&format!("ingest.allow={}", folder.path().display())]);
    let both = |second: &[u8]| {
        http.send(
            &["POST /", FORM, "idempotency-key: form"],
            &form(&[("a.mp4", &bytes), ("b.mp4", second)]),
        )
    };
    let ids = |reply: Reply| {
        let videos = reply.json()["videos"].as_array().unwrap().clone();
        videos.into_iter().map(|video| video["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = ids(both(&bytes));
    assert_eq!(first.len(), 2);
    assert_ne!(first[0], first[1], "each file of a form is a video");
    assert_eq!(ids(both(&bytes)), first);
    both(b"another content").is_problem(422, "Idempotency-Key");

    let uri = Url::from_file_path(folder.path().join("a.mp4")).unwrap();
    let describe = |every: u64| {
        let request =
            ["POST /videos", "content-type: application/json", "idempotency-key: description"];
        http.send(&request, json!({ "uri": uri, "every": every }).to_string().as_bytes())
    };
    let id = |reply: Reply| reply.json()["id"].as_str().unwrap().to_owned();
    let described = id(describe(2));
    assert!(!first.contains(&described));
    assert_eq!(id(describe(2)), described);
    describe(3).is_problem(422, "Idempotency-Key");
}

#[test]
fn content_that_is_sent_again_with_its_key_after_its_video_was_deleted_is_a_new_video() {
    let server = Server::start();
    let _others = others(&server);
    let (folder, bytes) = video();
    let http = IngestApi::start(&server, &[&format!("ingest.allow={}", folder.path().display())]);
    let uri = Url::from_file_path(folder.path().join("a.mp4")).unwrap();
    let description = json!({ "uri": uri }).to_string().into_bytes();
    let sends: [(&[&str], &[u8]); 2] = [
        (&["POST /videos", "idempotency-key: bytes"], &bytes),
        (&["POST /videos", "content-type: application/json", "idempotency-key: uri"], &description),
    ];
    for (request, content) in sends {
        let deleted = http.upload(request, content);
        http.summary(&deleted);
        let delete = format!("DELETE /videos/{deleted}?forget=true");
        assert_eq!(http.send(&[&delete], b"").status, 204);
        let id = http.upload(request, content);
        assert_ne!(id, deleted);
        assert_eq!(http.upload(request, content), id, "the key stands for the new video");
        assert_eq!(http.summary(&id)["processed_frames"], 10);
    }
}

#[test]
fn a_cancelled_video_is_not_decoded_further() {
    let server = Server::start();
    let _aggregator = service("aggregator", &server.url());
    let http = IngestApi::start(&server, &["streams.frames_max_per_video=8"]);
    let id = http.upload(&["POST /videos"], &fs::read(sample("bikes.mp4")).unwrap());
    let path = format!("/videos/{id}");
    http.send(&[&format!("DELETE {path}?forget=true")], b"").is_problem(409, "cancel it first");
    assert_eq!(http.send(&[&format!("DELETE {path}")], b"").status, 202);
    let cancelled = || (http.get(&path).json()["state"] == "cancelled").then_some(());
    eventually(cancelled).expect("it is cancelled");
    http.send(&[&format!("DELETE {path}")], b"").is_problem(409, "cancelled already");
    http.process.wait_for_stderr("the video is cancelled", 1);
    for unknown in [
        "GET /videos/nobody",
        "DELETE /videos/nobody",
        "GET /videos/nobody/events",
        "GET /videos/nobody/detections",
        "GET /videos/a%20b",
    ] {
        http.send(&[unknown], b"").is_problem(404, "does not exist");
    }
}

#[test]
fn fifty_uploads_at_the_same_time_are_all_counted() {
    let server = Server::start();
    let _others = others(&server);
    let http = IngestApi::start(&server, &[]);
    let (_folder, bytes) = video();
    let upload = |n: usize| http.upload(&[&format!("POST /videos?every=10&name={n}.mp4")], &bytes);
    let ids: Vec<_> = std::thread::scope(|scope| {
        let uploads: Vec<_> = (0..50).map(|n| scope.spawn(move || upload(n))).collect();
        uploads.into_iter().map(|upload| upload.join().unwrap()).collect()
    });
    for id in &ids {
        let summary = http.summary(id);
        assert_eq!(
            (&summary["state"], &summary["processed_frames"]),
            (&json!("done"), &json!(1)),
            "{summary}"
        );
    }
}

#[test]
fn moliceiro_run_accepts_uploads_with_listen() {
    let folder = tempfile::tempdir().unwrap();
    let loopback = Loopback::claim();
    let address = loopback.port(0).to_string();
    let mut process =
        Process::start(run(&folder.path().join("data")).args(["--json", "--listen", &address]));
    process.wait_for_stderr("accepting videos on", 1);
    let (_videos, bytes) = video();
    let ask = |header: &str, body: &[u8]| {
        let mut stream = std::net::TcpStream::connect(&address).ok()?;
        let head = format!(
            "POST /videos?name=a HTTP/1.0\r\n{header}content-length: {}\r\n\r\n",
            body.len()
        );
        std::io::Write::write_all(&mut stream, &[head.as_bytes(), body].concat()).ok()?;
        Reply::read(stream).ok()
    };
    let reply = eventually(|| ask("", &bytes));
    assert_eq!(reply.unwrap().status, 202);
    let printed = process.wait_for_stdout(1);
    assert!(printed[0].contains("\"processed_frames\":10"), "{printed:?}");
    // Files that were not given on the command line.
    let uri = file_uri(&sample("bikes.mp4"));
    let refused =
        ask("content-type: application/json\r\n", json!({ "uri": uri }).to_string().as_bytes());
    refused.unwrap().is_problem(403, "ingest.allow");
    process.signal(Signal::INT);
    process.expect_code(130);
}
