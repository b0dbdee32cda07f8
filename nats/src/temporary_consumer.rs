use async_nats::jetstream::stream::Stream;
use tokio::runtime::Handle;
use tracing::debug;

/// A consumer that is deleted when this is dropped. The server would keep it for half a minute or
/// longer, which adds up where many readers read for a moment.
pub struct TemporaryConsumer {
    stream: Stream,
    name: String,
}

impl TemporaryConsumer {
    /// The consumer of `stream` with this name.
    pub fn new(stream: &Stream, name: &str) -> Self {
        Self { stream: stream.clone(), name: name.to_owned() }
    }
}

impl Drop for TemporaryConsumer {
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else { return };
        let (stream, name) = (self.stream.clone(), std::mem::take(&mut self.name));
        runtime.spawn(async move {
            if let Err(error) = stream.delete_consumer(&name).await {
                // An ordered consumer has another name after a reconnect.
                debug!(name, %error, "a consumer stays on the server until it expires");
            }
        });
    }
}
