//! Whatever happens to the server and the network, the summary is the one of an undisturbed run.

use std::time::Duration;

use moliceiro_testing::deployment::{Deployment, VIDEO};
use moliceiro_testing::proxy::Link;
use moliceiro_testing::server::{RestartableServer, Server};
use tokio::time::sleep;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_and_restarted_on_its_store_twice() {
    unharmed_by_a_server_killed_twice("streams.frames_max_per_video=8").await;
}

/// What the server had in memory is decoded again.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_its_frames_in_memory_killed_and_restarted_twice() {
    unharmed_by_a_server_killed_twice("streams.frames_storage=memory").await;
}

async fn unharmed_by_a_server_killed_twice(setting: &str) {
    let mut server = RestartableServer::start();
    let site = Deployment::new(server.url(), &["--set", setting]);
    let [_aggregator, detector, _ingest] =
        ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    for done in [20, 60] {
        detector.wait_for_stderr("frame done", done);
        server.kill_and_restart();
    }
    site.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_for_a_minute() {
    let mut server = RestartableServer::start();
    let site = Deployment::new(server.url(), &["--set", "streams.frames_max_per_video=8"]);
    let mut all = ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    all[1].wait_for_stderr("frame done", 20);
    server.kill();
    sleep(Duration::from_secs(60)).await;
    assert!(
        all.iter_mut().all(|service| service.ended().is_none()),
        "a service did not wait for the server"
    );
    server.restart();
    site.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_down_for_ten_seconds() {
    let server = Server::start();
    let (proxy, site) =
        Deployment::behind_proxy(&server.url(), &["--set", "streams.frames_max_per_video=8"]).await;
    let [_aggregator, detector, _ingest] =
        ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    detector.wait_for_stderr("frame done", 20);
    proxy.set(Link::Down);
    sleep(Duration::from_secs(10)).await;
    proxy.set(Link::FAST);
    site.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_latency_of_200_milliseconds_with_resets() {
    let server = Server::start();
    let (proxy, site) = Deployment::behind_proxy(&server.url(), &[]).await;
    proxy.set(Link::Up { latency: Duration::from_millis(200) });
    let [_aggregator, detector, _ingest] =
        ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    for done in [10, 40, 70] {
        detector.wait_for_stderr("frame done", done);
        proxy.reset();
    }
    site.assert_unharmed().await;
}
