//! What an operator wants to know about a server: who this connection is to it, its clock, its
//! streams, the work that nobody takes, and which services answer. Nothing is created or changed.

mod clock;
mod services;

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::consumer::Info;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{self, ErrorCode};
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use serde::Deserialize;

pub use clock::ClockDifference;
pub use services::{RunningService, running_services};

use crate::connect::OLDEST_SERVER;
use crate::storage::{Storage, StuckStream};
use crate::streams::{is_left, stream_names};
use crate::subjects::{ADVISORIES, FRAMES, RESULTS, UPLOADS};

const TIMEOUT: Duration = Duration::from_secs(5);
/// Streams with work that a service has to take.
const QUEUES: [&str; 4] = [UPLOADS, FRAMES, RESULTS, ADVISORIES];
/// Any user may ask who it is, unless its permissions leave this out.
const IDENTITY_SUBJECT: &str = "$SYS.REQ.USER.INFO";

/// The version of a `nats-server` program, such as `2.15.1`, and whether it is new enough.
pub fn program_version(program: &Path) -> io::Result<(String, bool)> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().last().map(|word| word.trim_start_matches('v'));
    let version = version.filter(|_| output.status.success() && text.contains("nats-server"));
    let version = version.ok_or_else(|| io::Error::other("it does not print a version"))?;
    let is_new = semver::Version::parse(version).map_or(true, |found| found >= OLDEST_SERVER);
    Ok((version.to_owned(), is_new))
}

/// Who this connection is to the server, and how far the clocks are apart.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The user's name; on servers without users, none.
    pub user: Option<String>,
    /// The account that it is in.
    pub account: String,
    /// What it may publish to, if that is restricted.
    pub publish: Option<Subjects>,
    /// What it may subscribe to, if that is restricted.
    pub subscribe: Option<Subjects>,
    /// The difference between the server's clock and this machine's.
    pub clock: Option<ClockDifference>,
}

/// Subjects that a user may use, and some of them that it may not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Subjects {
    /// Those allowed; empty where all are.
    pub allow: Vec<String>,
    /// Those denied.
    pub deny: Vec<String>,
}

impl Subjects {
    /// Whether the user may use a subject without wildcards.
    pub fn permit(&self, subject: &str) -> bool {
        let covered = |by: &[String]| by.iter().any(|pattern| covers(pattern, subject));
        (self.allow.is_empty() || covered(&self.allow)) && !covered(&self.deny)
    }
}

/// Whether a pattern, such as `a.*` or `a.>`, covers a subject.
fn covers(pattern: &str, subject: &str) -> bool {
    // A permission may name a queue group behind the subject.
    let mut parts = pattern.split_whitespace().next().unwrap_or_default().split('.');
    let mut tokens = subject.split('.');
    loop {
        match (parts.next(), tokens.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some(part), Some(token)) if part == "*" || part == token => {}
            _ => return false,
        }
    }
}

impl Identity {
    /// Whether the user may publish to a subject.
    pub fn may_publish(&self, subject: &str) -> bool {
        self.publish.as_ref().is_none_or(|subjects| subjects.permit(subject))
    }
}

#[derive(Deserialize)]
struct IdentityAnswer {
    server: AnsweringServer,
    data: UserData,
}

#[derive(Deserialize)]
struct AnsweringServer {
    time: Option<String>,
}

#[derive(Deserialize)]
struct UserData {
    user: Option<String>,
    account: String,
    permissions: Option<UserPermissions>,
}

#[derive(Deserialize)]
struct UserPermissions {
    publish: Option<Subjects>,
    subscribe: Option<Subjects>,
}

/// Asks the server who this connection is. `None` if the user may not ask.
pub async fn identify(client: &Client) -> Option<Identity> {
    let asked = clock::Asked::now();
    let request = client.request(IDENTITY_SUBJECT, Default::default());
    let answer = tokio::time::timeout(TIMEOUT, request).await.ok()?.ok()?;
    let time = asked.answered();
    let IdentityAnswer { server, data } = serde_json::from_slice(&answer.payload).ok()?;
    let (publish, subscribe) = match data.permissions {
        Some(UserPermissions { publish, subscribe }) => (publish, subscribe),
        None => (None, None),
    };
    let clock = server.time.and_then(|server| time.difference(&server));
    Some(Identity { user: data.user, account: data.account, publish, subscribe, clock })
}

/// A stream of the server.
#[derive(Clone, Debug)]
pub enum StreamState {
    /// No service has created it.
    Missing,
    /// This user may not ask.
    NotPermitted,
    /// The server does not answer, or refuses.
    Unavailable {
        /// Its reason.
        reason: String,
    },
    /// It exists.
    Exists(ExistingStream),
}

/// A stream that exists.
#[derive(Clone, Debug)]
pub struct ExistingStream {
    /// The messages in it.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The bytes that it may have, if that is limited.
    pub max_bytes: Option<u64>,
    /// Servers with a copy of it.
    pub replicas: usize,
    /// Those whose copy is not up to date.
    pub behind: Vec<String>,
    /// False while the servers elect one: the stream is unavailable.
    pub has_leader: bool,
    /// Why it stores nothing until the server is restarted, if so.
    pub stuck: Option<StuckStream>,
}

/// The work of a consumer that no service takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UntakenWork {
    /// The stream.
    pub stream: &'static str,
    /// The consumer.
    pub consumer: String,
    /// The messages that wait.
    pub waiting: u64,
}

/// The streams, by name, with those of buckets and object stores; and work that nobody takes. What
/// the user may not ask is left out: the server would not answer. `api`: how the subjects of
/// requests to JetStream begin.
pub async fn inspect_streams(
    client: &Client,
    api: &str,
    identity: Option<&Identity>,
) -> (Vec<(String, StreamState)>, Vec<UntakenWork>) {
    let may_ask = |request: &str, stream: &str| {
        identity.is_none_or(|user| user.may_publish(&format!("{api}.{request}.{stream}")))
    };
    let mut jetstream = jetstream::with_prefix(client.clone(), api);
    jetstream.set_timeout(TIMEOUT);
    let asked = stream_names().into_iter().map(async |name| {
        let is_permitted = may_ask("STREAM.INFO", &name);
        let found = if is_permitted { Some(jetstream.get_stream(&name).await) } else { None };
        (name, found)
    });
    let answers = join_all(asked).await;
    let existing = answers.iter().filter_map(|(_, found)| found.as_ref()?.as_ref().ok());
    let may = |request, stream: &Stream| may_ask(request, &stream.cached_info().config.name);
    let probed = existing.clone().filter(|stream| {
        let is_bucket = stream.cached_info().config.deny_delete;
        may(if is_bucket { "STREAM.PURGE" } else { "STREAM.MSG.DELETE" }, stream)
    });
    let stuck = Storage::of(client.clone(), api, probed).check().await;
    let listed = existing.filter(|stream| may("CONSUMER.LIST", stream)).map(untaken);
    let untaken = join_all(listed).await.into_iter().flatten().collect();
    let states = answers.iter().map(|(name, found)| {
        let Some(found) = found else { return (name.clone(), StreamState::NotPermitted) };
        let state = match found {
            Ok(stream) => StreamState::Exists(ExistingStream::of(stream, &stuck)),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(reason)
                    if reason.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    StreamState::Missing
                }
                _ => StreamState::Unavailable { reason: error.to_string() },
            },
        };
        (name.clone(), state)
    });
    (states.collect(), untaken)
}

impl ExistingStream {
    fn of(stream: &Stream, stuck: &[StuckStream]) -> Self {
        let info = stream.cached_info();
        let cluster = info.cluster.as_ref();
        let behind = cluster.map_or_else(Vec::new, |cluster| {
            let replicas = cluster.replicas.iter();
            replicas.filter(|peer| !peer.current || peer.offline).map(|p| p.name.clone()).collect()
        });
        Self {
            messages: info.state.messages,
            bytes: info.state.bytes,
            max_bytes: u64::try_from(info.config.max_bytes).ok().filter(|max| *max > 0),
            replicas: info.config.num_replicas,
            behind,
            has_leader: cluster.is_none_or(|cluster| cluster.leader.is_some()),
            stuck: stuck.iter().find(|stuck| stuck.stream == info.config.name).cloned(),
        }
    }
}

async fn untaken(stream: &Stream) -> Vec<UntakenWork> {
    let name = &stream.cached_info().config.name;
    let Some(stream_name) = QUEUES.into_iter().find(|queue| queue == name) else { return vec![] };
    let listed = stream.consumers().try_collect::<Vec<Info>>();
    let Ok(Ok(consumers)) = tokio::time::timeout(TIMEOUT, listed).await else { return vec![] };
    let left = consumers.into_iter().filter(is_left);
    left.map(|info| UntakenWork {
        stream: stream_name,
        consumer: info.name,
        waiting: info.num_pending,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_read_as_the_server_reads_them() {
        let subjects = |allow: &[&str], deny: &[&str]| Subjects {
            allow: allow.iter().map(ToString::to_string).collect(),
            deny: deny.iter().map(ToString::to_string).collect(),
        };
        for (allow, deny, subject, is_permitted) in [
            (&[][..], &[][..], "a.b", true),
            (&["a.>"], &[], "a.b.c", true),
            (&["a.>"], &[], "a", false),
            (&["a.*"], &[], "a.b", true),
            (&["a.*"], &[], "a.b.c", false),
            (&["a.b"], &[], "a", false),
            (&["a.b queue"], &[], "a.b", true),
            (&[">"], &["a.*"], "a.b", false),
            (&[], &["a.*"], "b.a", true),
        ] {
            assert_eq!(subjects(allow, deny).permit(subject), is_permitted, "{allow:?} {deny:?}");
        }
    }

    #[test]
    fn only_nats_server_has_a_version() {
        assert!(program_version(Path::new("/bin/true")).is_err());
        assert!(program_version(Path::new("/nonexistent/nats-server")).is_err());
    }
}
