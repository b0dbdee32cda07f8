//! Random faults while videos are counted, several at once: each summary is the one of an
//! undisturbed run.
//!
//! `MOLICEIRO_SOAK_MINUTES` is how long faults are injected (1), `MOLICEIRO_SOAK_SEED` determines
//! faults and videos (11). `make soak` sets both.
//!
//! It is a binary of its own, because it can run for hours and prints what it does.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod faults;
mod videos;
mod world;

use std::io::Write;
use std::str::FromStr;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::time::sleep;

use crate::faults::Fault;
use crate::videos::Videos;
use crate::world::World;
use moliceiro_testing::HANG_GUARD;

const ROUND: Duration = Duration::from_millis(500);
/// The same in every run of the tests: they fail or pass for what changed.
const SEED: u64 = 11;

/// Writes to standard error directly: the test harness hides what a passing test prints.
pub fn say(line: &str) {
    std::io::stderr().write_all(format!("soak: {line}\n").as_bytes()).unwrap();
}

fn from_environment<T: FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is not a number")))
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_at_random_change_no_summary() {
    let minutes: u64 = from_environment("MOLICEIRO_SOAK_MINUTES").unwrap_or(1);
    let seed: u64 = from_environment("MOLICEIRO_SOAK_SEED").unwrap_or(SEED);
    say(&format!("make soak MINUTES={minutes} SEED={seed}"));
    let mut random = Rng::with_seed(seed);
    let mut videos = Videos::new(random.fork());
    let mut world = World::start(&mut random, videos.model()).await;

    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let mut next_fault = Instant::now();
    while Instant::now() < end {
        world.repair().await;
        videos.upload_some(&world).await;
        if Instant::now() >= next_fault {
            let fault = Fault::draw(&mut random);
            say(&format!("{fault:?}"));
            world.inject(fault, &videos).await;
            next_fault = Instant::now() + Duration::from_millis(random.u64(500..6000));
        }
        videos.check(&world, seed).await;
        sleep(ROUND).await;
    }
    say("no more faults");
    world.repair_all().await;
    let deadline = Instant::now() + 2 * HANG_GUARD;
    while videos.unfinished() > 0 || !world.is_empty().await {
        assert!(
            Instant::now() < deadline,
            "seed {seed}: unfinished: {}",
            videos.describe_unfinished(&world).await
        );
        world.repair().await;
        videos.check(&world, seed).await;
        sleep(ROUND).await;
    }
    say(&format!("{} videos, each as in an undisturbed run", videos.finished()));
    assert!(videos.finished() > 0);
}
