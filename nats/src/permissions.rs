//! What the server does not permit a connection.
//!
//! It answers a request that is not permitted with an error about the connection. The request
//! itself only times out, which says nothing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::{Event, ServerError};
use thiserror::Error;
use tokio::sync::watch;
use tracing::error;

/// The server denies the user something that Moliceiro needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
#[error("the NATS server does not permit {who} to {action} {subject:?}: {}", self.advice())]
pub struct PermissionDenied {
    /// The user, and the service or command, such as `user ingest (moliceiro-ingest)`.
    pub who: String,
    /// `publish to` or `subscribe to`.
    pub action: &'static str,
    /// The subject.
    pub subject: String,
}

impl PermissionDenied {
    fn advice(&self) -> &'static str {
        if self.subject.contains(".API.STREAM.CREATE.") {
            "start an aggregator, which creates what is missing, or add that to the user's \
             permissions"
        } else {
            "add that to the user's permissions"
        }
    }
}

/// Subjects that services answer on for NATS's own tools, and those that say that a model was added:
/// nothing else depends on them.
const OPTIONAL: [&str; 2] = ["$SRV.", "$O.models.M.>"];
/// A subject may contain a video's id: not all are remembered.
const MOST_REMEMBERED: usize = 100;

/// Reports what is denied to any connection that has a clone of this.
#[derive(Clone, Debug, Default)]
pub struct Permissions {
    first_denied: watch::Sender<Option<PermissionDenied>>,
    known: Arc<Mutex<Known>>,
    logs: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Known {
    denied: BTreeSet<PermissionDenied>,
    optional: BTreeSet<String>,
}

impl Permissions {
    /// Logs each denial from now on, for a service: a command ends with the first one.
    pub fn log(&self) {
        self.logs.store(true, Ordering::Relaxed);
    }

    /// Waits until a permission is denied.
    pub async fn denied(&self) -> PermissionDenied {
        let mut first_denied = self.first_denied.subscribe();
        loop {
            if let Some(denied) = first_denied.borrow_and_update().clone() {
                return denied;
            }
            if first_denied.changed().await.is_err() {
                unreachable!("`self` holds the sender");
            }
        }
    }

    /// Whether publishing to this subject was denied.
    pub fn is_denied(&self, subject: &str) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.denied.iter().any(|of| of.action == PUBLISH && of.subject == subject)
    }

    /// The user may do without publishing to this subject: a denial is not reported.
    pub(crate) fn tolerate(&self, subject: String) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).optional.insert(subject);
    }

    /// Notes the event if it is a denial of something to `who`. Each is reported once.
    pub(crate) fn observe(&self, event: &Event, who: &str) -> bool {
        let Event::ServerError(ServerError::Other(text)) = event else { return false };
        let Some((action, subject)) = parse(text) else { return false };
        let denied = PermissionDenied { who: who.to_owned(), action, subject };
        let is_reported = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let is_optional = OPTIONAL.iter().any(|of| denied.subject.starts_with(of))
                || known.optional.contains(&denied.subject);
            let is_new =
                known.denied.len() < MOST_REMEMBERED && known.denied.insert(denied.clone());
            is_new && !is_optional
        };
        if is_reported {
            if self.logs.load(Ordering::Relaxed) {
                error!("{denied}");
            }
            self.first_denied.send_if_modified(|first| {
                let is_first = first.is_none();
                first.get_or_insert(denied);
                is_first
            });
        }
        true
    }
}

const PUBLISH: &str = "publish to";

/// Parses such as `Permissions Violation for Publish to "frames.a"`: the action and the subject.
fn parse(text: &str) -> Option<(&'static str, String)> {
    let lower = text.to_ascii_lowercase();
    let (action, at) = [(PUBLISH, "for publish to "), ("subscribe to", "for subscription to ")]
        .into_iter()
        .find_map(|(action, mark)| Some((action, lower.find(mark)? + mark.len())))?;
    lower.contains("permissions violation").then_some(())?;
    let subject = text.get(at..)?.trim().trim_matches(['"', '\'']);
    Some((action, subject.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_permission_that_is_denied_is_reported() {
        let permissions = Permissions::default();
        permissions.tolerate("$JS.API.STREAM.PURGE.KV_videos".into());
        let observe = |text: &str| {
            let event = Event::ServerError(ServerError::Other(text.into()));
            permissions.observe(&event, "user ingest (moliceiro-ingest)")
        };
        assert!(!observe("Maximum Connections Exceeded"));
        for text in [
            "Permissions Violation for Subscription to \"$SRV.PING\"",
            "Permissions Violation for Publish to \"$JS.API.STREAM.PURGE.KV_videos\"",
            "Permissions Violation for Publish to \"$JS.API.STREAM.INFO.FRAMES\"",
            "Permissions Violation for Subscription to \"results.>\"",
        ] {
            assert!(observe(text), "{text}");
        }
        let denied = permissions.denied().await;
        assert_eq!(
            denied.to_string(),
            "the NATS server does not permit user ingest (moliceiro-ingest) to publish to \
             \"$JS.API.STREAM.INFO.FRAMES\": add that to the user's permissions"
        );
        assert!(permissions.is_denied("$JS.API.STREAM.PURGE.KV_videos"));
        assert!(!permissions.is_denied("results.>"), "that is a subscription");
        let subscription = parse("permissions violation for subscription to \"results.>\"");
        assert_eq!(subscription.unwrap(), ("subscribe to", "results.>".to_owned()));
    }
}
