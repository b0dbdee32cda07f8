//! The counts of a video, while it is counted and after.

use std::collections::BTreeMap;

use moliceiro_testing::paths::sample;
use serde_json::{Value, json};

use super::{Site, picture};
use crate::browser::Browser;

fn grouped(n: u64) -> String {
    if n < 1000 { n.to_string() } else { format!("{},{:03}", n / 1000, n % 1000) }
}

async fn only_asks(browser: &Browser, host: &str) {
    let requests = browser.requests().await;
    assert!(requests.len() > 10, "{requests:?}");
    let foreign: Vec<_> =
        requests.iter().filter(|url| url.has_host() && !url.as_str().starts_with(host)).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_chosen_on_the_page_is_counted_on_the_page() {
    // Smaller frames do not show the model three persons at once.
    let site = Site::start(&["ingest.width=416", "ingest.height=416"]);
    let browser = Browser::open(&site.url()).await;
    browser.wait_for("!document.querySelector('#empty').hidden").await;
    assert!(browser.text("#curl").await.contains(&site.http.address));
    browser.choose_files(&[sample("bikes.mp4")]).await;
    browser
        .wait_for(
            "document.querySelector('#bar').value > 0 \
             && document.querySelector('#classes').children.length > 0",
        )
        .await;
    assert!(browser.is_visible("#cancel").await);
    browser.wait_for_state("done").await;
    browser.wait_for("document.querySelectorAll('#stills img').length === 8").await;

    let video = site.video();
    let classes: BTreeMap<String, u64> =
        serde_json::from_value(video["summary"]["classes"].clone()).unwrap();
    let number = |path: &str| grouped(video.pointer(path).unwrap().as_u64().unwrap());
    assert_eq!(browser.text("#name").await, "bikes.mp4");
    assert_eq!(browser.text("#frames").await, number("/frames/counted"));
    assert_eq!(browser.text("#objects").await, grouped(classes.values().sum()));
    assert_eq!(browser.text("#alarm-count").await, number("/alarms"));
    let shown: BTreeMap<String, u64> = browser
        .texts("#classes th")
        .await
        .into_iter()
        .zip(browser.texts("#classes td:nth-child(3)").await.iter().map(|n| n.parse().unwrap()))
        .collect();
    assert_eq!(shown, classes);
    assert!(!browser.is_visible("#cancel").await && !browser.is_visible("#progress").await);

    let id = video["id"].as_str().unwrap();
    // The axis has the length of the whole video while a part of it is counted.
    let extent = "const { extent } = await import('/page/line.js'); \
        const of = (total, summary, frames, times) => \
            extent({ frames: { total }, every: 2, summary }, frames, times); \
        return [of(5, null, [0, 2, 4], [0, 1, 2]), of(5, {}, [0, 2, 4], [0, 1, 2]), \
            of(5, null, [0, 4], null), of(null, null, [0, 2], [5, 6]), of(9, null, [0], [0])]";
    let extent = browser.script(&format!("return (async () => {{ {extent} }})()")).await;
    assert_eq!(extent, json!([[0, 4], [0, 2], [0, 8], [5, 6], [0, 0.1]]));

    let ndjson = site.http.get(&format!("/videos/{id}/detections")).text();
    let rows: Vec<Value> = ndjson.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let persons = |frame: u64| {
        rows.iter().filter(|row| row["frame"] == frame && row["label"] == "person").count()
    };
    let most = (0..250).map(persons).max().unwrap();
    let at_once: BTreeMap<String, usize> = browser
        .texts("#classes th")
        .await
        .into_iter()
        .zip(browser.texts("#classes td:nth-child(4)").await.iter().map(|n| n.parse().unwrap()))
        .collect();
    assert_eq!(at_once["person"], most);
    let different: u64 = browser
        .texts("#classes td:last-child")
        .await
        .iter()
        .map(|n| n.parse::<u64>().unwrap())
        .sum();
    let tracks = video["summary"]["tracks"].as_object().unwrap();
    let all: u64 = tracks.values().filter_map(Value::as_u64).sum();
    assert_eq!(different, all, "different objects");
    assert_eq!(
        serde_json::to_value(at_once).unwrap(),
        video["summary"]["most_at_once"],
        "beside the sum"
    );
    let most_shown =
        browser.texts("#intervals td:nth-child(3)").await.iter().map(|n| n.parse().unwrap()).max();
    assert_eq!(most_shown, Some(most), "of the class that is shown at first");
    browser.choose("#class", "car").await;
    let cars = |frame: u64| {
        rows.iter().filter(|row| row["frame"] == frame && row["label"] == "car").count()
    };
    let most_shown =
        browser.texts("#intervals td:nth-child(3)").await.iter().map(|n| n.parse().unwrap()).max();
    assert_eq!(most_shown, (0..250).map(cars).max(), "of another class");
    browser.choose("#class", "person").await;
    let alarms: Vec<_> = (0..250).filter(|frame| persons(*frame) >= 3).collect();
    let first = browser.texts("#alarms li").await[0].clone();
    assert!(
        first.starts_with(&format!("Frame {} at ", alarms[0]))
            && first.ends_with("3 × person (person >= 3)"),
        "{first}"
    );
    let marked: u64 = browser
        .texts("#intervals td:nth-child(5)")
        .await
        .iter()
        .map(|n| n.parse::<u64>().unwrap())
        .sum();
    assert_eq!(grouped(marked), number("/alarms"));

    let stills = site.http.get(&format!("/videos/{id}/stills")).json();
    let stills = stills["stills"].as_array().unwrap();
    let with_objects = |frame: u64| rows.iter().any(|row| row["frame"] == frame);
    let kept: Vec<_> = stills.iter().map(|still| still["frame"].as_u64().unwrap()).collect();
    assert!(
        stills
            .iter()
            .all(|still| (&still["width"], &still["height"]) == (&640.into(), &272.into()))
    );
    assert!(kept.iter().filter(|frame| with_objects(**frame)).count() >= 8, "{kept:?}");
    let captions = browser.texts("#stills figcaption").await;
    let frame = |text: &String| text.split(' ').nth(1).unwrap().parse::<u64>().unwrap();
    let shown: Vec<_> = captions.iter().map(frame).collect();
    assert!(shown.is_sorted() && shown.iter().all(|frame| kept.contains(frame)), "{captions:?}");
    assert!(shown.iter().all(|frame| with_objects(*frame)), "they are preferred: {captions:?}");
    let drawn = rows.iter().filter(|row| shown.contains(&row["frame"].as_u64().unwrap())).count();
    assert_eq!(
        browser.script("return document.querySelectorAll('#stills rect').length").await,
        drawn
    );
    let whole = browser
        .script(
            "return [...document.querySelectorAll('#stills img')] \
                 .every((i) => i.naturalWidth === 608)",
        )
        .await;
    assert_eq!(whole, true);

    browser.click("[data-kind=csv]").await;
    let csv = browser.saved("bikes.csv").await;
    assert_eq!(csv.lines().count(), rows.len() + 1, "{csv}");
    browser.click("[data-kind=ndjson]").await;
    assert_eq!(browser.saved("bikes.ndjson").await, ndjson);
    browser.click("[data-kind=text]").await;
    assert!(browser.saved("bikes.txt").await.contains("\nProcessed frames: 250\n"));

    for dark in [false, true] {
        browser.set_dark(dark).await;
        let barriers = browser.barriers().await;
        assert!(barriers.is_empty(), "dark: {dark}\n{}", barriers.join("\n"));
    }
    phone(&browser).await;
    assert_eq!(browser.errors().await, Vec::<String>::new());
    only_asks(&browser, &site.url()).await;
}

/// The same video on a phone.
async fn phone(browser: &Browser) {
    let size = json!({ "width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true });
    browser.dev_tools("Emulation.setDeviceMetricsOverride", size).await;
    let rows = "const figures = [...document.querySelectorAll('#stills figure')]; \
        return new Set(figures.map((figure) => figure.offsetTop)).size";
    assert_eq!(browser.script(rows).await, 4, "two pictures in a row");
    let lines = "const range = document.createRange(); \
        range.selectNodeContents(document.querySelector('#speed')); \
        return range.getClientRects().length";
    assert_eq!(browser.script(lines).await, 1, "a number and its unit are on one line");
    let overflow = "return document.documentElement.scrollWidth - innerWidth";
    assert_eq!(browser.script(overflow).await, 0);
    assert!(browser.barriers().await.is_empty());
    picture(browser, "phone.png").await;
}
