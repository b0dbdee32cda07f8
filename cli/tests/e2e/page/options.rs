//! The options of an upload, tokens, and counting a video again.

use moliceiro_testing::paths::sample;
use serde_json::Value;

use super::{ENTER, Site, picture};
use crate::browser::Browser;

/// The state of another video stays until this one is loaded, but is hidden.
const SHOWN_AND_DONE: &str = "!document.querySelector('#video').hidden \
    && document.querySelector('#state').textContent === 'done'";

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_a_video_is_counted_again_with_other_options_and_deleted() {
    let site = Site::start(&["http.tokens=correct-horse"]);
    let browser = Browser::open(&site.url()).await;
    browser.wait_for("document.querySelector('#token-dialog').open").await;
    assert!(browser.barriers().await.is_empty());
    browser.keys("#token", &format!("wrong-horse{ENTER}")).await;
    browser.wait_for("!document.querySelector('#token-problem').hidden").await;
    browser.keys("#token", &format!("correct-horse{ENTER}")).await;
    browser
        .wait_for(
            "!document.querySelector('#empty').hidden \
             && !document.querySelector('#no-videos').hidden",
        )
        .await;
    // All options of an upload.
    browser.script("document.querySelector('#every').value = 40").await;
    browser.click(".options summary").await;
    browser.keys("#options [name=labels]", "person").await;
    browser.keys("#options [name=alarms]", "person >= 1").await;
    browser.choose_files(&[sample("carphone_pristine.mp4")]).await;
    browser.wait_for_state("done").await;
    browser.wait_for("document.querySelectorAll('#stills img').length === 3").await;
    assert_eq!(browser.text("#alarm-count").await, "3");
    assert_eq!(browser.texts("#classes th").await, ["person"]);
    browser.click("[data-kind=json]").await;
    let summary: Value =
        serde_json::from_str(&browser.saved("carphone_pristine.json").await).unwrap();
    assert_eq!(summary["processed_frames"], 3);

    // Again, with another option: this tab still has the file.
    let first = browser.script("return location.hash").await;
    browser.click("#again").await;
    browser.wait_for("document.querySelector('#again-dialog').open").await;
    assert!(!browser.is_visible("#again-source").await);
    picture(&browser, "again.png").await;
    assert!(browser.barriers().await.is_empty(), "{:?}", browser.barriers().await);
    browser.keys("#again-options [name=end]", "2").await;
    browser.click("#again-dialog [value=yes]").await;
    browser.wait_for(&format!("location.hash !== {first}")).await;
    browser.wait_for(SHOWN_AND_DONE).await;
    assert_eq!(
        [browser.text("#frames").await, browser.text("#alarm-count").await],
        ["2", "2"],
        "with the other options of the first time"
    );

    // A new tab does not have it, and the server has deleted it.
    browser.script("location.reload()").await;
    browser.wait_for(SHOWN_AND_DONE).await;
    browser.click("#again").await;
    browser.wait_for("document.querySelector('#again-dialog').open").await;
    assert!(browser.text("#again-reason").await.contains("Choose the file again"));
    browser.keys("#again-file", sample("carphone_pristine.mp4").to_str().unwrap()).await;
    let second = browser.script("return location.hash").await;
    browser.click("#again-dialog [value=yes]").await;
    browser.wait_for(&format!("location.hash !== {second}")).await;
    browser.wait_for(SHOWN_AND_DONE).await;
    assert_eq!(browser.text("#name").await, "carphone_pristine.mp4");

    browser.wait_for("document.querySelectorAll('#videos li').length === 3").await;
    let third = browser.script("return location.hash").await;
    browser.click("#delete").await;
    browser.click("#delete-dialog [value=yes]").await;
    browser.wait_for("document.querySelectorAll('#videos li').length === 2").await;
    browser.wait_for(&format!("location.hash !== {third}")).await;
    assert_eq!(browser.texts("#links span").await[0], "State and counts");
}
