//! The server: whether it can be used, and how its streams are.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream;
use moliceiro_nats::inspection::{
    ClockDifference, ExistingStream, Identity, RunningService, StreamState, Subjects, UntakenWork,
    identify, inspect_streams, running_services,
};
use moliceiro_nats::subjects::{ADVISORIES, FRAMES, UPLOADS};
use moliceiro_nats::{
    ConnectError, NatsSettings, Patience, Permissions, StreamsSettings, connect_reporting,
};
use moliceiro_service::Settings;

use super::report::Report;
use crate::version::VERSION;

const NOT_PERMITTED: &str = "not checked: this user may not ask";
const MIB: u64 = 1 << 20;
/// From here on, times in summaries and ages of messages are visibly wrong.
const NOTICEABLE: Duration = Duration::from_secs(1);
/// From here on, it is unknown whether a detector is there (`DetectorsConsumer::is_unserved`).
const HARMFUL: Duration = Duration::from_secs(5);
/// A stream with this part of its bytes is full, in hundredths.
const FULL: u64 = 95;
/// The name by which aggregators answer.
const AGGREGATOR: &str = "moliceiro";
/// The name by which detectors answer.
const DETECTOR: &str = "moliceiro-detector";

/// Checks a server. Services are expected on one that is `shared`.
pub(super) fn check(
    nats: &NatsSettings,
    settings: &Settings,
    shared: bool,
    report: &mut Report,
) -> anyhow::Result<()> {
    let streams = settings.section()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(Box::pin(check_connected(nats, &streams, shared, report)));
    Ok(())
}

async fn check_connected(
    nats: &NatsSettings,
    streams: &StreamsSettings,
    shared: bool,
    report: &mut Report,
) {
    let permissions = Permissions::default();
    let connecting =
        connect_reporting(nats, "moliceiro-doctor", Patience::FailAtOnce, &permissions);
    let client = match connecting.await {
        Ok(client) => client,
        Err(error) => return refused(&error, report),
    };
    let info = client.server_info();
    report.ok("server", format!("{} {} answers", info.server_name, info.version));
    report.ok("JetStream", "enabled");
    let identity = identify(&client).await;
    match &identity {
        Some(identity) => {
            check_user(identity, report);
            check_clock(identity.clock, report);
        }
        None => report.warning(
            "user",
            "the server does not say who this user is, so clocks are not compared",
            "permit it to publish to $SYS.REQ.USER.INFO",
        ),
    }
    let may = |subject| identity.as_ref().is_none_or(|user| user.may_publish(subject));
    if may("$JS.API.INFO") {
        check_store(&client, report).await;
    } else {
        report.ok("store", NOT_PERMITTED);
    }
    let (found, untaken) = inspect_streams(&client, &streams.api(), identity.as_ref()).await;
    let are_used = check_streams(&found, streams, report);
    check_work(&untaken, report);
    if shared && !may("$SRV.PING") {
        report.ok("services", NOT_PERMITTED);
    } else if shared {
        check_services(&running_services(&client).await, are_used, report);
    }
    if let Ok(denied) = tokio::time::timeout(Duration::ZERO, permissions.denied()).await {
        let found = format!("it may not {} {}", denied.action, denied.subject);
        report.warning("user", found, "without it, this is not a full check");
    }
}

fn refused(error: &ConnectError, report: &mut Report) {
    let found = error.to_string();
    match error {
        ConnectError::NoJetStream { .. } => report.problem("JetStream", found, ""),
        ConnectError::Unauthorized { .. } => report.problem("user", found, ""),
        ConnectError::Refused { .. } => report.problem(
            "server",
            found,
            "start nats-server there, correct --nats or nats.url, or open the port in the firewall",
        ),
        _ => report.problem("server", found, ""),
    }
}

fn check_user(identity: &Identity, report: &mut Report) {
    let name = identity.user.as_deref().unwrap_or("no user");
    let mut found = format!("{name} in account {}", identity.account);
    let both = [("publish to", &identity.publish), ("subscribe to", &identity.subscribe)];
    for (action, subjects) in both {
        match subjects {
            Some(subjects) => found += &format!("; may {action} {}", listed(subjects)),
            None => found += &format!("; may {action} everything"),
        }
    }
    report.ok("user", found);
}

fn listed(Subjects { allow, deny }: &Subjects) -> String {
    let mut text = if allow.is_empty() { "everything".to_owned() } else { allow.join(" ") };
    if !deny.is_empty() {
        text += &format!(" except {}", deny.join(" "));
    }
    text
}

fn check_clock(clock: Option<ClockDifference>, report: &mut Report) {
    let Some(ClockDifference { at_least, is_ahead }) = clock else { return };
    let seconds = at_least.as_secs_f64();
    let side = if is_ahead { "ahead of" } else { "behind" };
    let found = format!("the server's clock is at least {seconds:.1} s {side} this machine's");
    let advice = "synchronise both, for example with chrony or systemd-timesyncd";
    if at_least >= HARMFUL {
        report.problem("clock", found, advice);
    } else if at_least >= NOTICEABLE {
        report.warning("clock", found, advice);
    } else {
        report.ok("clock", "this machine's and the server's agree");
    }
}

/// The bytes that the server keeps for this account.
async fn check_store(client: &Client, report: &mut Report) {
    let account = match jetstream::new(client.clone()).query_account().await {
        Ok(account) => account,
        Err(error) => {
            let found = format!("the server does not say how full its store is: {error}");
            return report.warning("store", found, "permit the user to publish to $JS.API.INFO");
        }
    };
    let used = account.storage / MIB;
    let Some(limit) = account.limits.max_storage.and_then(|max| u64::try_from(max).ok()) else {
        return report.ok("store", format!("{used} MiB used"));
    };
    let found = format!("{used} of {} MiB used", limit / MIB);
    if account.storage.saturating_mul(100) >= limit.saturating_mul(FULL) {
        report.problem("store", found, "raise the account's max_file or max_storage");
    } else {
        report.ok("store", found);
    }
}

/// False if no service has created them yet.
fn check_streams(
    found: &[(String, StreamState)],
    settings: &StreamsSettings,
    report: &mut Report,
) -> bool {
    const CHECK: &str = "streams";
    let mut existing = Vec::new();
    let (mut missing, mut hidden) = (Vec::new(), Vec::new());
    // Mostly all for the same reason.
    let mut unavailable: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, state) in found {
        match state {
            StreamState::Exists(stream) => existing.push((name, stream)),
            StreamState::Missing => missing.push(name.as_str()),
            StreamState::NotPermitted => hidden.push(name.as_str()),
            StreamState::Unavailable { reason } => {
                unavailable.entry(reason).or_default().push(name)
            }
        }
    }
    for (reason, names) in unavailable {
        let found = format!("unavailable: {} ({reason})", names.join(", "));
        let advice = "check the server's log, and the permissions of this user";
        report.problem(CHECK, found, advice);
    }
    if !hidden.is_empty() {
        let hidden = hidden.join(", ");
        report.ok(CHECK, format!("not checked: this user may not ask about {hidden}"));
    }
    if existing.is_empty() {
        if missing.len() == found.len() {
            let needed = settings.reserved_bytes() / MIB;
            report.ok(
                CHECK,
                format!("none yet: the first service creates them, and needs {needed} MiB"),
            );
        }
        return false;
    }
    let messages: u64 = existing.iter().map(|(_, stream)| stream.messages).sum();
    let bytes: u64 = existing.iter().map(|(_, stream)| stream.bytes).sum();
    let count = existing.len();
    report.ok(CHECK, format!("{count} with {messages} messages, {} MiB", bytes / MIB));
    if !missing.is_empty() {
        let found = format!("{} missing", missing.join(", "));
        report.warning(CHECK, found, "start a service: it creates them again");
    }
    for (name, stream) in existing {
        check_stream(name, stream, report);
    }
    true
}

fn check_stream(name: &str, stream: &ExistingStream, report: &mut Report) {
    const CHECK: &str = "streams";
    if let Some(stuck) = &stream.stuck {
        report.problem(CHECK, stuck.to_string(), "");
    }
    if !stream.has_leader {
        let advice = "start the missing servers: more than half of them are needed";
        report.problem(CHECK, format!("{name} has no leader"), advice);
    }
    if !stream.behind.is_empty() {
        let behind = stream.behind.join(", ");
        let found = format!("{name}: of {} copies, not up to date: {behind}", stream.replicas);
        report.warning(CHECK, found, "start these servers, or wait until they have caught up");
    }
    let is_full = stream
        .max_bytes
        .is_some_and(|max| stream.bytes.saturating_mul(100) >= max.saturating_mul(FULL));
    if is_full {
        let found = format!("{name} is full ({} MiB)", stream.bytes / MIB);
        let advice = if name == FRAMES {
            "ingests wait for detectors: start more of these if that is too slow"
        } else {
            "docs/running.md says which setting of [streams] makes it larger"
        };
        report.warning(CHECK, found, advice);
    }
}

fn check_work(untaken: &[UntakenWork], report: &mut Report) {
    for UntakenWork { stream, consumer, waiting } in untaken {
        let (what, service) = match *stream {
            UPLOADS => ("videos wait, and no ingest takes them".to_owned(), "ingest"),
            FRAMES => (format!("frames wait for {consumer}, and nobody takes them"), "detector"),
            ADVISORIES => {
                ("failed frames wait, and no aggregator takes them".to_owned(), "aggregator")
            }
            _ => ("results wait, and no aggregator takes them".to_owned(), "aggregator"),
        };
        let advice = match *stream {
            FRAMES => "start a moliceiro-detector that serves the model".to_owned(),
            _ => format!("start moliceiro-{service}"),
        };
        report.warning("work", format!("{waiting} {what}"), advice);
    }
}

fn check_services(services: &[RunningService], are_used: bool, report: &mut Report) {
    const CHECK: &str = "services";
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for RunningService { name, version } in services {
        *counts.entry((kind(name), version)).or_default() += 1;
    }
    let found: Vec<_> =
        counts.iter().map(|((kind, version), count)| format!("{count} {kind} {version}")).collect();
    if !found.is_empty() {
        report.ok(CHECK, found.join(", "));
    }
    // A server that nobody has used yet does not miss any.
    for (name, work) in [(AGGREGATOR, "count"), (DETECTOR, "find objects")] {
        if are_used && !services.iter().any(|service| service.name == name) {
            let kind = kind(name);
            let advice = format!("start moliceiro-{kind}: it has to {work}");
            report.warning(CHECK, format!("no {kind} answers"), advice);
        }
    }
    if let Some(other) = services.iter().find(|service| service.version != VERSION) {
        let found = format!(
            "a {} is version {}, this program is {VERSION}",
            kind(&other.name),
            other.version
        );
        report.warning(CHECK, found, "upgrade all to the same version");
    }
}

fn kind(name: &str) -> &str {
    match name {
        AGGREGATOR => "aggregator",
        DETECTOR => "detector",
        other => other,
    }
}
