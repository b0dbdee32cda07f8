//! Whether the server can still write its streams.
//!
//! After an error of its disk, such as that it is full, nats-server (2.15.1) stores nothing in that
//! stream until it is restarted, even when there is space again. It neither acknowledges a message
//! nor refuses it, while everything else about the stream answers. What it answers with the error
//! is a request to delete a message, or, in buckets, which do not allow that, to purge a subject.
//! The requests here name what cannot exist. A purge would disturb consumers that read its subject,
//! so it is not used for other streams.
//!
//! In a cluster, a server whose disk is full takes part in no stream until it is restarted, and
//! tells clients nothing about it. The others store what they are sent, unless fewer than half are
//! left: then the stream has no leader.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use async_nats::Client;
use async_nats::connection::State;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::stream::{DeleteMessageErrorKind, PurgeErrorKind, Stream};
use futures_util::future::join_all;
use tracing::{info, warn};

use crate::permissions::Permissions;

const INTERVAL: Duration = Duration::from_secs(5);
/// Servers need less to elect another leader.
const ELECTION: Duration = Duration::from_secs(4);
/// A sequence that no message has.
const NO_MESSAGE: u64 = u64::MAX;
/// A subject that no bucket has.
const NO_SUBJECT: &str = "moliceiro.none";
/// With these words, the server's error of a failed write begins.
const WRITES: [&str; 5] = ["write ", "open ", "sync ", "fsync ", "truncate "];
/// The system's errors for a disk or a quota that is full.
const FULL: [&str; 3] = ["no space left on device", "disk quota exceeded", "file too large"];

/// A stream that stores nothing until the server is restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StuckStream {
    /// Its name.
    pub stream: String,
    /// Why.
    pub cause: Cause,
}

/// Why a stream stores nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The server could not write: the system's error.
    Write(String),
    /// Too few of the servers with its copies take part. These do not.
    NoLeader(Vec<String>),
}

impl StuckStream {
    /// True if the disk was full: free space and a restart help.
    pub fn was_full(&self) -> bool {
        matches!(&self.cause, Cause::Write(reason) if FULL.contains(&reason.as_str()))
    }
}

impl fmt::Display for StuckStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stream = &self.stream;
        match &self.cause {
            Cause::Write(reason) if self.was_full() => write!(
                f,
                "the NATS server's disk was full ({reason}): stream {stream} stores nothing until \
                 there is space and the server is restarted"
            ),
            Cause::Write(reason) => write!(
                f,
                "the NATS server cannot write its disk ({reason}): stream {stream} stores nothing \
                 until that is mended and the server is restarted"
            ),
            Cause::NoLeader(servers) => write!(
                f,
                "too few NATS servers take part in stream {stream}, which stores nothing: {} are \
                 down, or their disks were full; make space, and restart them",
                servers.join(", ")
            ),
        }
    }
}

/// Which streams of a server are stuck. Cheap to clone.
#[derive(Clone)]
pub struct Storage(Arc<Watched>);

struct Watched {
    client: Client,
    streams: Vec<Stream>,
    /// How the subjects of requests begin.
    api: String,
    permissions: OnceLock<Permissions>,
    /// The causes, by stream.
    stuck: Mutex<BTreeMap<String, Cause>>,
    /// Since when streams have no leader.
    leaderless: Mutex<BTreeMap<String, Instant>>,
}

impl Storage {
    /// Of these streams.
    pub(crate) fn of<'a>(
        client: Client,
        api: &str,
        streams: impl IntoIterator<Item = &'a Stream>,
    ) -> Self {
        let streams = streams.into_iter().cloned().collect();
        let (api, permissions) = (api.to_owned(), OnceLock::new());
        let (stuck, leaderless) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Watched { client, streams, api, permissions, stuck, leaderless }))
    }

    /// Does not check the streams that this connection may not delete from. Only for those in
    /// `needed` it is reported that it may not.
    pub fn tolerate(&self, permissions: &Permissions, needed: &[&str]) {
        let is_optional = |stream: &&Stream| !needed.contains(&&*stream.cached_info().config.name);
        let single = self.0.streams.iter().filter(|stream| !is_replicated(stream));
        for stream in single.filter(is_optional) {
            permissions.tolerate(self.probe_subject(stream));
        }
        // A second service of the same process has a storage of its own.
        self.0.permissions.set(permissions.clone()).ok();
    }

    fn probe_subject(&self, stream: &Stream) -> String {
        let config = &stream.cached_info().config;
        let request = if config.deny_delete { "PURGE" } else { "MSG.DELETE" };
        format!("{}.STREAM.{request}.{}", self.0.api, config.name)
    }

    /// Checks now, and logs what has changed. Takes a few seconds at most. What cannot be checked
    /// stays as it was.
    pub async fn check(&self) -> Vec<StuckStream> {
        if self.0.client.connection_state() != State::Connected {
            return self.stuck();
        }
        let checks = self.0.streams.iter().map(|stream| async move {
            let name = &stream.cached_info().config.name;
            if is_replicated(stream) {
                return (name, self.probe_leader(stream).await);
            }
            let permissions = self.0.permissions.get();
            if permissions.is_some_and(|of| of.is_denied(&self.probe_subject(stream))) {
                return (name, Answer::None);
            }
            (name, probe(stream).await)
        });
        for (stream, found) in join_all(checks).await {
            match found {
                Answer::Stores => self.stores(stream),
                Answer::Stuck(cause) => self.sticks(stream, cause),
                Answer::None => {}
            }
        }
        self.stuck()
    }

    /// The stuck streams, as of the last check.
    pub fn stuck(&self) -> Vec<StuckStream> {
        let stuck = self.0.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |(stream, cause): (&String, &Cause)| StuckStream {
            stream: stream.clone(),
            cause: cause.clone(),
        };
        stuck.iter().map(of).collect()
    }

    /// All streams that are watched.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.streams.iter().map(|stream| stream.cached_info().config.name.as_str())
    }

    /// Checks every few seconds, until this and all its clones are dropped.
    pub fn watch(&self) -> impl Future<Output = ()> + Send + use<> {
        let watched = Arc::downgrade(&self.0);
        async move {
            loop {
                tokio::time::sleep(INTERVAL).await;
                let Some(watched) = watched.upgrade() else { return };
                Self(watched).check().await;
            }
        }
    }

    fn stores(&self, stream: &str) {
        let mut stuck = self.0.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        if stuck.remove(stream).is_some() {
            info!(stream, "the NATS server stores in the stream again");
        }
    }

    /// A write to find out whether one is possible would be written to each of the servers.
    async fn probe_leader(&self, stream: &Stream) -> Answer {
        let Ok(info) = stream.get_info().await else {
            // What was seen before the connection was lost is no part of this election.
            self.leaderless().remove(&stream.cached_info().config.name);
            return Answer::None;
        };
        let name = info.config.name;
        let Some(cluster) = info.cluster.filter(|cluster| cluster.leader.is_none()) else {
            self.leaderless().remove(&name);
            return Answer::Stores;
        };
        let since = *self.leaderless().entry(name).or_insert_with(Instant::now);
        if since.elapsed() < ELECTION {
            return Answer::None;
        }
        let absent = cluster.replicas.into_iter().filter(|peer| peer.offline || !peer.current);
        let absent: Vec<_> = absent.map(|peer| peer.name).collect();
        // All of them take part in a long election.
        if absent.is_empty() { Answer::None } else { Answer::Stuck(Cause::NoLeader(absent)) }
    }

    fn leaderless(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.0.leaderless.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sticks(&self, stream: &str, cause: Cause) {
        let found = StuckStream { stream: stream.to_owned(), cause };
        let mut stuck = self.0.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        if stuck.insert(found.stream.clone(), found.cause.clone()).is_none() {
            warn!(stream, "{found}");
        }
    }
}

enum Answer {
    Stores,
    Stuck(Cause),
    /// The connection is lost, or the stream does not exist.
    None,
}

fn is_replicated(stream: &Stream) -> bool {
    stream.cached_info().config.num_replicas > 1
}

async fn probe(stream: &Stream) -> Answer {
    let refusal = if stream.cached_info().config.deny_delete {
        match stream.purge().filter(NO_SUBJECT).await {
            Ok(_) => return Answer::Stores,
            Err(error) => match error.kind() {
                PurgeErrorKind::JetStream(refusal) => refusal,
                _ => return Answer::None,
            },
        }
    } else {
        match stream.delete_message(NO_MESSAGE).await {
            Ok(_) => return Answer::Stores,
            Err(error) => match error.kind() {
                DeleteMessageErrorKind::JetStream(refusal) => refusal,
                _ => return Answer::None,
            },
        }
    };
    match write_error(&refusal.to_string()) {
        Some(reason) => Answer::Stuck(Cause::Write(reason.to_owned())),
        None if refusal.error_code() == ErrorCode::STREAM_MESSAGE_DELETE_FAILED => Answer::Stores,
        None => Answer::None,
    }
}

/// The system's error, if a write failed: of `write PATH: ERROR (code …)`, the end.
fn write_error(answer: &str) -> Option<&str> {
    let text = answer.rsplit_once(" (code ").map_or(answer, |(text, _)| text);
    let is_write = WRITES.iter().any(|operation| text.starts_with(operation));
    text.rsplit_once(": ").map(|(_, error)| error).filter(|_| is_write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failed_writes_are_reported_and_paths_are_not() {
        for (answer, reason) in [
            ("stream store EOF (code 500, error code 10057)", None),
            ("no message found (code 500, error code 10057)", None),
            ("message delete not permitted: by the stream (code 500, error code 10057)", None),
            (
                "write /data (code 1)/A/1.blk: file too large (code 500, error code 10057)",
                Some("file too large"),
            ),
            (
                "write /data/a: b/A/1.blk: no space left on device (code 500, error code 10057)",
                Some("no space left on device"),
            ),
            (
                "write /data/A/1.blk: input/output error (code 500, error code 10057)",
                Some("input/output error"),
            ),
        ] {
            assert_eq!(write_error(answer), reason, "{answer}");
        }
        let stuck =
            |reason: &str| StuckStream { stream: "A".into(), cause: Cause::Write(reason.into()) };
        assert!(stuck("no space left on device").was_full());
        assert!(!stuck("input/output error").was_full());
    }
}
