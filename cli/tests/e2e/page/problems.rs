//! What the page shows when something does not work.

use moliceiro_testing::paths::sample;
use moliceiro_testing::proxy::{Link, Proxy};
use moliceiro_testing::video::ffmpeg;

use super::{Site, picture};
use crate::browser::Browser;

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_why_a_video_cannot_be_counted() {
    let site = Site::start(&["http.upload_max_bytes=400000"]);
    let browser = Browser::open(&site.url()).await;
    let drop = "const data = new DataTransfer(); \
        data.items.add(new File(['This is not a video.'], 'notes.mp4')); \
        data.items.add(new File([], 'empty.mp4')); \
        const how = { dataTransfer: data, bubbles: true, cancelable: true }; \
        document.body.dispatchEvent(new DragEvent('drop', how));";
    browser.script(drop).await;
    browser.wait_for_state("failed").await;
    assert!(
        browser.text("#problem").await.contains("is not a video but a text"),
        "{}",
        browser.text("#problem").await
    );
    assert!(browser.is_visible("#problem").await && !browser.is_visible("#classes-title").await);
    browser
        .wait_for(
            "document.querySelector('#videos .problem')?.textContent \
                 .includes('is not a video but a text')",
        )
        .await;
    assert!(browser.text("#notice").await.contains("empty.mp4 is empty"));
    assert_eq!(browser.errors().await, Vec::<String>::new());
    assert!(browser.barriers().await.is_empty());

    browser.choose_files(&[sample("bikes.mp4")]).await;
    browser.wait_for("document.querySelector('#uploads .failed')").await;
    picture(&browser, "failed.png").await;
    let shown = browser.text("#uploads .failed").await;
    assert!(shown.contains("400000 bytes") && shown.contains("http.upload_max_bytes"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_can_be_cancelled_and_a_lost_connection_is_restored() {
    let site = Site::start(&[]);
    let proxy = Proxy::start(site.http.address.clone()).await;
    let browser = Browser::open(&format!("http://{}/", proxy.address)).await;
    let long = site.folder.path().join("long.mp4");
    ffmpeg(
        &["-stream_loop", "20", "-i", sample("bikes.mp4").to_str().unwrap(), "-c", "copy"],
        &long,
    );
    browser.choose_files(&[long]).await;
    browser.wait_for("document.querySelector('#bar').value > 0").await;
    proxy.set(Link::Down);
    browser
        .wait_for("document.querySelector('#notice').textContent.includes('is unreachable')")
        .await;
    let before = browser.text("#frames").await;
    proxy.set(Link::FAST);
    browser
        .wait_for(&format!("document.querySelector('#frames').textContent !== {before:?}"))
        .await;
    browser.wait_for("document.querySelector('#notice').hidden").await;

    browser.click("#cancel").await;
    browser.click("#cancel-dialog [value=yes]").await;
    browser.wait_for_state("cancelled").await;
    assert_eq!(site.video()["state"], "cancelled");
}
