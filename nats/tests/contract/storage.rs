//! What is noticed of a server that cannot write.

use moliceiro_nats::{Streams, StreamsError, StreamsSettings};
use moliceiro_testing::server::{RestartableServer, client};
use moliceiro_testing::small_disk::SmallDisk;
use moliceiro_testing::until;

/// More than there is space for behind what is stored already.
const PAYLOAD: usize = 100 << 10;

#[tokio::test]
async fn every_stream_and_bucket_that_a_full_disk_stopped_is_known_until_the_server_is_restarted() {
    let disk = SmallDisk::new(8);
    let (mounted, store) = disk.mount();
    let mut server = RestartableServer::start_on(&store);
    let client = client(&server.url()).await;
    let streams = Streams::open(client.clone(), &StreamsSettings::default(), 16).await.unwrap();
    let mut subjects = Vec::new();
    for name in streams.storage.names() {
        let stream = streams.jetstream.get_stream(name).await.unwrap();
        let of_all = stream.cached_info().config.subjects.iter();
        subjects.push(of_all.map(|all| all.replace(['*', '>'], "x")).next().unwrap());
    }
    assert_eq!(streams.storage.check().await, []);
    streams.check().await.unwrap();

    disk.fill(&mounted);
    assert_eq!(streams.storage.check().await, [], "nothing was written since");
    for subject in &subjects {
        client.publish(subject.clone(), vec![7; PAYLOAD].into()).await.unwrap();
    }
    let all_are_stuck = async || {
        let stuck = streams.storage.check().await;
        assert!(stuck.iter().all(|stuck| stuck.was_full()), "{stuck:?}");
        (stuck.len() == subjects.len()).then_some(())
    };
    until("all are stuck", all_are_stuck).await;
    assert!(matches!(streams.check().await, Err(StreamsError::Stuck(_))));

    disk.make_space(&mounted);
    assert_eq!(streams.storage.check().await.len(), subjects.len(), "it has to be restarted");
    server.kill_and_restart();
    let none_is_stuck = async || streams.storage.check().await.is_empty().then_some(());
    until("none is stuck", none_is_stuck).await;
    for subject in subjects {
        let stored = streams.jetstream.publish(subject, vec![7; PAYLOAD].into()).await.unwrap();
        stored.await.unwrap();
    }
}
