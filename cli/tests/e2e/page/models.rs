//! What the web page shows of models, in a real browser.

use moliceiro_testing::deployment::{Deployment, VIDEO};
use moliceiro_testing::ingest::IngestApi;
use moliceiro_testing::paths::sample;
use moliceiro_testing::server::Server;

use crate::browser::Browser;

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_what_a_video_waits_for_and_compares_its_models() {
    let server = Server::start();
    let site = Deployment::new(server.url(), &[]);
    let _aggregator = site.ready("aggregator");
    let _only_one = site.start_with("detector", &["--models", "nanodet"]);
    let ingest = IngestApi::start(&server, &[]);
    let bytes = std::fs::read(sample(VIDEO)).unwrap();
    let first = ingest.upload(&["POST /videos?every=20&models=nanodet,nanodet-int8"], &bytes);
    let second = format!("{first}-by-nanodet-int8");
    let browser = Browser::open(&format!("http://{}/#{second}", ingest.address)).await;
    browser.wait_for("!document.querySelector('#waiting').hidden").await;
    let waiting = browser.text("#waiting").await;
    assert_eq!(waiting, "Waiting: no detector serves the model nanodet-int8.");
    assert!(!browser.is_visible("#compare-card").await);

    let _all = site.ready("detector");
    browser.wait_for_state("done").await;
    ingest.summary(&first);
    // The first analysis was finished before the second: so it is compared at once.
    browser.wait_for("document.querySelector('#compared').children.length > 0").await;
    assert!(!browser.is_visible("#waiting").await);
    assert_eq!(browser.text("#compare-first").await, "nanodet-int8");
    assert_eq!(browser.text("#compare-second").await, "nanodet");
    let compared =
        ingest.get(&format!("/videos/{first}/compare?models=nanodet-int8,nanodet")).json();
    let labels: Vec<_> = compared["classes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|class| class["label"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(browser.texts("#compared th").await, labels);
    let number = |of: usize| compared["classes"][0]["objects"][of].to_string();
    let cells = browser.texts("#compared tr:first-child td").await;
    assert_eq!(cells[..2], [number(0), number(1)], "{compared}");
    assert_eq!(browser.barriers().await, Vec::<String>::new());
    assert_eq!(browser.errors().await, Vec::<String>::new());
}
