//! A TCP proxy that delays, resets or refuses connections.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// The state of the network between the proxy's two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Each byte arrives this much later.
    Up { latency: Duration },
    /// Ends every connection, and accepts no new one.
    Down,
}

impl Link {
    pub const FAST: Self = Self::Up { latency: Duration::ZERO };
}

pub struct Proxy {
    pub address: std::net::SocketAddr,
    link: watch::Sender<Link>,
}

impl Proxy {
    pub async fn start(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (link, watched) = watch::channel(Link::FAST);
        let to = Arc::new(to);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, to.clone(), watched.clone()));
            }
        });
        Self { address, link }
    }

    /// Changes the link, which ends every open connection.
    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }

    /// Ends every open connection, and accepts new ones.
    pub fn reset(&self) {
        let before = *self.link.borrow();
        self.link.send_replace(Link::Down);
        self.link.send_replace(before);
    }
}

async fn pass(client: TcpStream, to: Arc<String>, mut link: watch::Receiver<Link>) {
    let Link::Up { latency } = *link.borrow_and_update() else { return };
    let Ok(server) = TcpStream::connect(to.as_str()).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pump(from_client, to_server, latency) => {}
        () = pump(from_server, to_client, latency) => {}
        _ = link.changed() => {}
    }
}

/// Delays what passes without reducing the throughput.
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
