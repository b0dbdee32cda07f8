//! The page without a mouse.

use moliceiro_testing::paths::sample;

use super::{ENTER, RIGHT, Site, TAB};
use crate::browser::Browser;

#[tokio::test(flavor = "multi_thread")]
async fn everything_on_the_page_can_be_done_with_the_keyboard() {
    let site = Site::start(&[]);
    let browser = Browser::open(&site.url()).await;
    browser.press(TAB).await;
    assert_eq!(browser.focus().await, "skip");
    for expected in ["Moliceiro", "files", "every"] {
        browser.press(TAB).await;
        assert_eq!(browser.focus().await, expected);
    }
    browser.press("\u{E00D}").await;
    browser.script("document.activeElement.select()").await;
    browser.press("40").await;
    browser.choose_files(&[sample("carphone_pristine.mp4")]).await;
    browser.wait_for_state("done").await;
    browser.wait_for("document.querySelectorAll('#intervals tr').length === 3").await;
    assert_eq!(
        (site.video()["every"].clone(), browser.text("#frames").await),
        (40.into(), "3".to_owned())
    );
    browser
        .wait_for(
            "document.querySelector('#live').textContent \
                 .includes('carphone_pristine.mp4: done, 3 frames counted')",
        )
        .await;

    // Skip the list, and step through the video.
    browser.script("document.querySelector('#skip').focus()").await;
    browser.press(ENTER).await;
    browser.wait_for("document.activeElement.id === 'detail'").await;
    let mut reached = Vec::new();
    while reached.last().is_none_or(|last: &String| last != "Summary, JSON") {
        browser.press(TAB).await;
        reached.push(browser.focus().await);
        assert!(reached.len() < 30, "{reached:?}");
        if reached.last().is_some_and(|last| last == "position") {
            browser.press(RIGHT).await;
            assert!(
                browser.text("#readout").await.contains("frame 40: 1 × person"),
                "{}",
                browser.text("#readout").await
            );
        }
    }
    assert!(
        ["class", "position", "Show as a table", "Detections, CSV"]
            .iter()
            .all(|wanted| reached.iter().any(|id| id == wanted)),
        "{reached:?}"
    );
    assert_eq!(browser.errors().await, Vec::<String>::new());
}
