//! Scrapes metrics as Prometheus does.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing::warn;

const INTERVAL: Duration = Duration::from_secs(1);

/// Scrapes every endpoint once a second, forever.
pub(crate) async fn every_second(endpoints: Vec<SocketAddr>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        for endpoint in &endpoints {
            match metrics(*endpoint).await {
                Ok(text) if text.contains("moliceiro_") => {}
                Ok(text) => {
                    warn!(%endpoint, answer = text.lines().next(), "the answer has no metrics")
                }
                Err(error) => warn!(%endpoint, %error, "cannot scrape metrics"),
            }
        }
    }
}

/// The answer to `GET /metrics`, headers included.
pub(crate) async fn metrics(endpoint: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(endpoint).await?;
    stream
        .write_all(
            format!("GET /metrics HTTP/1.1\r\nHost: {endpoint}\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        )
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
