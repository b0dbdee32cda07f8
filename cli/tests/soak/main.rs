//! Faults drawn at random while videos are counted, one after the other and several at once: each
//! summary is the one of a run in which nothing goes wrong.
//!
//! `MOLICEIRO_SOAK_MINUTES` says how long (3), `MOLICEIRO_SOAK_SEED` what is drawn (at random).
//! `make soak` sets both.

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

/// On standard error, past the test harness, which keeps what a passing test prints.
pub fn say(line: &str) {
    std::io::stderr().write_all(format!("soak: {line}\n").as_bytes()).unwrap();
}

fn from_environment<T: FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_at_random_change_no_summary() {
    let minutes: u64 = from_environment("MOLICEIRO_SOAK_MINUTES").unwrap_or(3);
    let seed: u64 =
        from_environment("MOLICEIRO_SOAK_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    say(&format!("make soak MINUTES={minutes} SEED={seed}"));
    let mut random = Rng::with_seed(seed);
    let mut videos = Videos::new(random.fork());
    let mut world = World::start(&mut random, videos.model()).await;

    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let mut next_fault = Instant::now();
    while Instant::now() < end {
        world.mend().await;
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
    world.mend_all().await;
    let deadline = Instant::now() + 2 * HANG_GUARD;
    while videos.unfinished() > 0 || !world.is_empty().await {
        assert!(
            Instant::now() < deadline,
            "seed {seed}: left over are {}",
            videos.left_over(&world).await
        );
        world.mend().await;
        videos.check(&world, seed).await;
        sleep(ROUND).await;
    }
    say(&format!("{} videos, each as without faults", videos.finished()));
    assert!(videos.finished() > 0);
}
