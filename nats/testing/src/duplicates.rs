//! Sends every message between the services a second time, a little later and in another order.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Message};
use fastrand::Rng;
use futures_util::StreamExt;
use futures_util::stream::select_all;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const MARK: &str = "Echo";
const ID: &str = "Nats-Msg-Id";
/// How many messages are held back; any of them may be the next.
const HELD: usize = 16;
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Duplicates uploads, frames and results until it is aborted. A duplicate has its own message id,
/// so the server does not drop it.
pub async fn duplicate_messages(client: Client, mut random: Rng) -> JoinHandle<()> {
    let mut subscriptions = Vec::new();
    for subject in ["videos.upload", "frames.*.*", "results.*", "detections.*"] {
        subscriptions.push(client.subscribe(subject).await.unwrap());
    }
    client.flush().await.unwrap();
    tokio::spawn(async move {
        let mut messages = select_all(subscriptions);
        let mut held: Vec<Message> = Vec::new();
        loop {
            match timeout(LONGEST_PAUSE, messages.next()).await {
                Ok(Some(message)) if is_duplicate(&message) => continue,
                Ok(Some(message)) => held.push(message),
                Ok(None) => return,
                Err(_) => {}
            }
            if held.is_empty() || held.len() < HELD && random.bool() {
                continue;
            }
            let Message { subject, payload, headers, .. } =
                held.swap_remove(random.usize(..held.len()));
            let mut marked = HeaderMap::new();
            marked.insert(MARK, "1");
            if let Some(id) = headers.as_ref().and_then(|headers| headers.get(ID)) {
                marked.insert(ID, format!("{id}/echo"));
            }
            // Publishing fails while a server restarts: then the duplicate is lost.
            client.publish_with_headers(subject, marked, payload).await.ok();
        }
    })
}

fn is_duplicate(message: &Message) -> bool {
    message.headers.as_ref().is_some_and(|headers| headers.get(MARK).is_some())
}

/// A generator whose seed is printed, so that a failure can be repeated.
pub fn seeded() -> Rng {
    let random = Rng::new();
    println!("seed {}", random.get_seed());
    random
}
