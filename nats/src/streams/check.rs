use std::fmt::Debug;
use std::time::Duration;

use async_nats::jetstream::consumer::{self, pull};
use async_nats::jetstream::stream::Config;
use tracing::warn;

use super::StreamsError;
use crate::subjects::FRAMES;

/// The oldest server whose replicated work queues keep messages that ran out of deliveries
/// (<https://github.com/nats-io/nats-server/pull/7845>) and refuse the same messages on every
/// replica (<https://github.com/nats-io/nats-server/pull/7607>). Patch releases of 2.12 may have
/// both; which ones is unknown.
const OLDEST_REPLICATING: semver::Version = semver::Version::new(2, 14, 0);

/// Refuses a server whose replicated streams would lose frames.
pub(super) fn version(found: &str, replicas: usize) -> Result<(), StreamsError> {
    // A custom build may have a version that does not parse.
    match semver::Version::parse(found) {
        Ok(version) if replicas > 1 && version < OLDEST_REPLICATING => Err(StreamsError::TooOld {
            found: found.to_owned(),
            needed: OLDEST_REPLICATING.to_string(),
        }),
        _ => Ok(()),
    }
}

/// Refuses a stream whose configuration breaks a guarantee. Limits that differ are an operator's
/// choice: they are logged and kept.
pub(super) fn stream(what: &str, found: &Config, needed: &Config) -> Result<(), StreamsError> {
    let sorted = |subjects: &[String]| {
        let mut subjects = subjects.to_vec();
        subjects.sort();
        subjects
    };
    same(what, "subjects", &sorted(&found.subjects), &sorted(&needed.subjects))?;
    same(what, "retention", &found.retention, &needed.retention)?;
    // Frames that are lost are decoded again: their queue may be in memory.
    if needed.name == FRAMES {
        kept(what, "storage", &found.storage, &needed.storage);
    } else {
        same(what, "storage", &found.storage, &needed.storage)?;
    }
    same(what, "discard", &found.discard, &needed.discard)?;
    same(
        what,
        "discard_new_per_subject",
        &found.discard_new_per_subject,
        &needed.discard_new_per_subject,
    )?;
    same(what, "no_ack", &found.no_ack, &needed.no_ack)?;
    same(what, "sealed", &found.sealed, &needed.sealed)?;
    same(what, "deny_delete", &found.deny_delete, &needed.deny_delete)?;
    same(what, "deny_purge", &found.deny_purge, &needed.deny_purge)?;
    kept(what, "num_replicas", &found.num_replicas, &needed.num_replicas);
    kept(what, "max_bytes", &found.max_bytes, &needed.max_bytes);
    kept(
        what,
        "max_msgs_per_subject",
        &found.max_messages_per_subject.max(-1),
        &per_subject(needed.max_messages_per_subject),
    );
    kept(what, "max_age", &found.max_age, &needed.max_age);
    kept(what, "duplicate_window", &found.duplicate_window, &needed.duplicate_window);
    Ok(())
}

/// As [`stream`], for a consumer.
pub(super) fn consumer(
    what: &str,
    found: &consumer::Config,
    needed: &pull::Config,
) -> Result<(), StreamsError> {
    same(what, "ack_policy", &found.ack_policy, &needed.ack_policy)?;
    same(what, "deliver_subject", &found.deliver_subject, &None)?;
    same(what, "filter_subject", &found.filter_subject, &needed.filter_subject)?;
    same(what, "headers_only", &found.headers_only, &needed.headers_only)?;
    // With a backoff, its first step is the ack_wait.
    kept(what, "ack_wait", &found.ack_wait, &needed.ack_wait);
    kept(what, "max_deliver", &found.max_deliver, &needed.max_deliver);
    kept(what, "backoff", &found.backoff, &needed.backoff);
    Ok(())
}

/// Logs where a bucket's limits differ.
pub(super) fn bucket(what: &str, found: &Config, replicas: usize, max_age: Duration) {
    kept(what, "num_replicas", &found.num_replicas, &replicas);
    kept(what, "max_age", &found.max_age, &max_age);
}

/// The server reports -1 for a limit that is left out.
fn per_subject(limit: i64) -> i64 {
    if limit == 0 { -1 } else { limit }
}

fn same<T: PartialEq + Debug>(
    what: &str,
    field: &'static str,
    found: &T,
    needed: &T,
) -> Result<(), StreamsError> {
    if found == needed {
        return Ok(());
    }
    Err(StreamsError::Incompatible {
        what: what.to_owned(),
        field,
        found: format!("{found:?}"),
        needed: format!("{needed:?}"),
    })
}

fn kept<T: PartialEq + Debug>(what: &str, field: &'static str, found: &T, wanted: &T) {
    if found != wanted {
        warn!(
            what,
            field,
            ?found,
            ?wanted,
            "exists with another limit than in the settings; keeping it"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn a_server_that_loses_frames_of_replicated_queues_is_refused_and_only_for_those() {
        for (found, replicas, fits) in [
            ("2.11.0", 1, true),
            ("2.12.4", 3, false),
            ("2.14.0", 3, true),
            ("2.15.1", 5, true),
            ("own", 3, true),
        ] {
            assert_eq!(version(found, replicas).is_ok(), fits, "{found} with {replicas} replicas");
        }
    }
}
