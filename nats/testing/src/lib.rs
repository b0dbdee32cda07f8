//! Real servers, clusters, proxies and events for tests.
//!
//! Nothing here is simulated. From the machine up:
//!
//! 1. [`paths`] finds the programs, samples and tools that `make setup` and cargo put in place.
//! 2. [`loopback`] reserves an address, so that a port is never free between choosing and using it.
//! 3. [`process`] runs a program, collects what it prints, and kills it with the test.
//! 4. [`server`] (`Server`, and `RestartableServer` to kill and restart) and [`cluster`] run
//!    nats-server, also with [`accounts`] and on a [`small_disk`]; [`proxy`] stands between it and its clients.
//! 5. [`deployment`] runs Moliceiro's services on a server; [`observed`] and [`ingest`] reach them
//!    over [`http`]; [`duplicates`] and [`events`] send what no service would.
//! 6. [`video`] and [`models`] make what the services work on.
//!
//! Everything a test starts ends with the value that stands for it. Tests wait for conditions:
//! [`eventually`] and the waiting methods fail after [`HANG_GUARD`], which is only there so that a
//! hanging test ends.
#![allow(missing_docs, reason = "the names say it; what they do not say is documented")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "an error here fails the test that called"
)]

pub mod accounts;
pub mod cluster;
pub mod deployment;
pub mod duplicates;
pub mod events;
pub mod frames;
pub mod http;
pub mod ingest;
pub mod loopback;
pub mod models;
pub mod observed;
pub mod paths;
pub mod process;
pub mod proxy;
pub mod server;
pub mod small_disk;
pub mod video;

use std::thread;
use std::time::{Duration, Instant};

/// Far longer than anything takes, also on a busy machine.
pub const HANG_GUARD: Duration = Duration::from_secs(300);

const POLL: Duration = Duration::from_millis(20);

/// Polls until `check` returns something; `None` after [`HANG_GUARD`].
pub fn eventually<T>(mut check: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + HANG_GUARD;
    loop {
        match check() {
            Some(found) => return Some(found),
            None if Instant::now() >= deadline => return None,
            None => thread::sleep(POLL),
        }
    }
}

/// Polls until `check` returns something; panics with `what` after [`HANG_GUARD`].
pub async fn until<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + HANG_GUARD;
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not after {HANG_GUARD:?}");
        tokio::time::sleep(POLL).await;
    }
}
