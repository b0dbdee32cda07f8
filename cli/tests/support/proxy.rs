//! A TCP proxy that is slow, resets connections, or lets nobody through.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// What the proxy does to those who come through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Passes everything on after a while.
    Fair { latency: Duration },
    /// Ends every connection, and takes no new one.
    Cut,
}

pub struct Proxy {
    pub address: std::net::SocketAddr,
    weather: watch::Sender<Weather>,
}

impl Proxy {
    pub async fn start(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (weather, watched) = watch::channel(Weather::Fair { latency: Duration::ZERO });
        let to = Arc::new(to);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, to.clone(), watched.clone()));
            }
        });
        Self { address, weather }
    }

    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Ends every connection that there is.
    pub fn reset(&self) {
        let before = *self.weather.borrow();
        self.weather.send_replace(Weather::Cut);
        self.weather.send_replace(before);
    }
}

async fn pass(client: TcpStream, to: Arc<String>, mut weather: watch::Receiver<Weather>) {
    let Weather::Fair { latency } = *weather.borrow_and_update() else { return };
    let Ok(server) = TcpStream::connect(to.as_str()).await else { return };
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    tokio::select! {
        () = pump(from_client, to_server, latency) => {}
        () = pump(from_server, to_client, latency) => {}
        // Any change of weather ends what was there before it.
        _ = weather.changed() => {}
    }
}

/// Delays what goes through without making it any narrower.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, latency: Duration) {
    let (queue, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let read = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(n) = from.read(&mut buffer).await {
            if n == 0 || queue.send((Instant::now() + latency, buffer[..n].to_vec())).await.is_err()
            {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, bytes)) = queued.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}
