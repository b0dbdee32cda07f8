//! What the server does not permit a connection.
//!
//! It answers a request that is not permitted with an error about the connection. The request
//! itself only times out, which says nothing.

use async_nats::{Event, ServerError};
use thiserror::Error;
use tokio::sync::watch;

/// The server denies the user something that Moliceiro needs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the NATS server does not permit this user to {action} {subject:?}: add that to the \
     permissions of the user of nats.url"
)]
pub struct PermissionDenied {
    /// `publish to` or `subscribe to`.
    pub action: &'static str,
    /// The subject.
    pub subject: String,
}

/// Subjects that services answer on for NATS's own tools: nothing else depends on them.
const OPTIONAL: &str = "$SRV.";

/// Reports the first permission that is denied to any connection that has a clone of this.
#[derive(Clone, Debug, Default)]
pub struct Permissions {
    first_denied: watch::Sender<Option<PermissionDenied>>,
}

impl Permissions {
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

    pub(crate) fn observe(&self, event: &Event) {
        if let Event::ServerError(ServerError::Other(text)) = event
            && let Some(denied) = parse(text)
            && !denied.subject.starts_with(OPTIONAL)
        {
            self.first_denied.send_if_modified(|first| {
                let is_first = first.is_none();
                first.get_or_insert(denied);
                is_first
            });
        }
    }
}

/// Parses such as `Permissions Violation for Publish to "frames.a"`.
fn parse(text: &str) -> Option<PermissionDenied> {
    let lower = text.to_ascii_lowercase();
    let (action, at) =
        [("publish to", "for publish to "), ("subscribe to", "for subscription to ")]
            .into_iter()
            .find_map(|(action, mark)| Some((action, lower.find(mark)? + mark.len())))?;
    lower.contains("permissions violation").then_some(())?;
    let subject = text[at..].trim().trim_matches(['"', '\'']);
    Some(PermissionDenied { action, subject: subject.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_permission_that_is_denied_is_reported() {
        let permissions = Permissions::default();
        for text in [
            "Maximum Connections Exceeded",
            "Permissions Violation for Subscription to \"$SRV.PING\"",
            "Permissions Violation for Publish to \"$JS.API.STREAM.CREATE.FRAMES\"",
            "Permissions Violation for Subscription to \"results.>\"",
        ] {
            permissions.observe(&Event::ServerError(ServerError::Other(text.into())));
        }
        let denied = permissions.denied().await;
        assert_eq!(denied.action, "publish to");
        assert_eq!(denied.subject, "$JS.API.STREAM.CREATE.FRAMES");
        let subscription = parse("permissions violation for subscription to \"results.>\"");
        assert_eq!(subscription.unwrap().subject, "results.>");
    }
}
