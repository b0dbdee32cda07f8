//! Lines and zones: drawn on a frame, asked about, and shown over time.

use moliceiro_testing::paths::sample;
use serde_json::{Value, json};

use super::{ENTER, RIGHT, Site, TAB, picture};
use crate::browser::Browser;

const SHIFT: &str = "\u{E008}";
const ESCAPE: &str = "\u{E00C}";
const LEFT: &str = "\u{E012}";
const UP: &str = "\u{E013}";
const DOWN: &str = "\u{E015}";
const DELETE: &str = "\u{E017}";
const BOARD: &str = "#board svg";

/// A page that shows a video of one person, with a frame to draw on.
async fn drawing_on(site: &Site, query: &str) -> (Browser, String) {
    let bytes = std::fs::read(sample("carphone_pristine.mp4")).unwrap();
    let id = site.http.upload(&[&format!("POST /videos?every=4&end=2{query}")], &bytes);
    let summary = site.http.summary(&id);
    assert_eq!(summary["tracks"]["person"], 1, "{summary}");
    let browser = Browser::open(&format!("{}#{id}", site.url())).await;
    browser.wait_for("!document.querySelector('#ask-card').hidden").await;
    (browser, id)
}

/// The texts in the list of lines and zones.
async fn texts(browser: &Browser) -> Vec<String> {
    let texts = "return [...document.querySelectorAll('#shapes input')].map(({ value }) => value)";
    serde_json::from_value(browser.script(texts).await).unwrap()
}

fn points(text: &str) -> Vec<[f64; 2]> {
    let (_, points) = text.split_once(": ").unwrap();
    let point = |point: &str| {
        let (x, y) = point.split_once(',').unwrap();
        [x.parse().unwrap(), y.parse().unwrap()]
    };
    points.split(' ').map(point).collect()
}

fn assert_near(text: &str, expected: &[[f64; 2]]) {
    let points = points(text);
    let near = |(a, b): (&[f64; 2], &[f64; 2])| (a[0] - b[0]).hypot(a[1] - b[1]) < 0.01;
    assert!(points.len() == expected.len() && points.iter().zip(expected).all(near), "{text}");
}

/// Asks on the page, and returns what the API answers to the same question.
async fn answer(site: &Site, browser: &Browser, id: &str) -> Value {
    browser.script("document.querySelector('#answer').replaceChildren()").await;
    browser.click("#ask").await;
    browser.wait_for("document.querySelector('#answer').children.length > 0").await;
    let (lines, zones): (Vec<_>, Vec<_>) =
        texts(browser).await.into_iter().partition(|text| points(text).len() == 2);
    let first = [&format!("POST /videos/{id}/analyses")[..], "Content-Type: application/json"];
    let body = json!({ "lines": lines, "zones": zones }).to_string();
    site.http.send(&first, body.as_bytes()).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn ways_crossings_and_occupancy_are_shown_over_time() {
    let site = Site::start(&[]);
    let bytes = std::fs::read(sample("bikes.mp4")).unwrap();
    // Somebody walks past a bicycle, from left to right.
    let places = "lines=gate%5Bperson%5D%40centre:+0.55,0.95+0.55,0.1&zones=wall%40centre:+\
                  0.45,0.05+0.95,0.05+0.95,0.9+0.45,0.9&alarms=person+crosses+gate";
    // The documentation shows the whole video.
    let is_shown = std::env::var_os("MOLICEIRO_SCREENSHOTS").is_some();
    let part = if is_shown { "" } else { "&start=7.48&end=9" };
    let post = format!("POST /videos?name=bikes.mp4{part}&{places}");
    let id = site.http.upload(&[&post], &bytes);
    let summary = site.http.summary(&id);
    let browser = Browser::open(&format!("{}#{id}", site.url())).await;
    browser.wait_for("document.querySelectorAll('#trends .trend').length === 2").await;
    let shown = site.http.get(&format!("/videos/{id}/tracks")).json();
    let [line, zone] = [&shown["timeline"]["lines"]["gate"], &shown["timeline"]["zones"]["wall"]];
    let numbers = |series: &Value| -> Vec<u64> { serde_json::from_value(series.clone()).unwrap() };
    let (inwards, out) = (numbers(&line["in"]), numbers(&line["out"]));
    assert!(inwards.iter().chain(&out).sum::<u64>() > 0, "{summary}");
    let sums = [inwards.iter().sum::<u64>(), out.iter().sum()];
    let expected = format!("Line gate: {} in (above), {} out (below)", sums[0], sums[1]);
    let most = numbers(&zone["most"]).into_iter().max().unwrap();
    let charts = browser.texts("#trends figcaption").await;
    assert_eq!(charts, [expected, format!("Zone wall: at most {most} at once")]);
    // A bar for each interval with crossings, and a table with the same numbers.
    let bars = "return document.querySelectorAll('#trends rect').length";
    let crossed = inwards.iter().chain(&out).filter(|n| **n > 0).count();
    assert_eq!(browser.script(bars).await, crossed);
    let column = async |chart: &str, n: u32| {
        let css = format!("#trends figure:{chart}-child td:nth-child({n})");
        browser.texts(&css).await.iter().map(|n| n.parse::<u64>().unwrap()).collect::<Vec<_>>()
    };
    for (n, sum) in [(3, sums[0]), (4, sums[1])] {
        let column = column("first", n).await;
        assert!(column.len() <= 32 && column.iter().sum::<u64>() == sum, "{column:?}");
    }
    assert_eq!(column("last", 4).await.into_iter().max(), Some(most));
    let ways = "return document.querySelectorAll('#map .way').length";
    let records = shown["records"].as_array().unwrap();
    assert_eq!(browser.script(ways).await, records.len());
    let cells = browser.texts("#places tbody tr:first-child > *").await;
    assert_eq!(cells[..2], ["gate", "person"], "{cells:?}");

    for (dark, name) in [(false, "page-light.png"), (true, "page-dark.png")] {
        browser.set_dark(dark).await;
        assert_eq!(browser.barriers().await, Vec::<String>::new(), "dark: {dark}");
        picture(&browser, name).await;
    }
    assert_eq!(browser.errors().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_and_zones_drawn_with_the_mouse_are_asked_about() {
    let site = Site::start(&[]);
    let (browser, id) = drawing_on(&site, "").await;
    browser.click("#draw-line").await;
    browser.click_at(BOARD, &[[0.2, 0.3], [0.8, 0.3]]).await;
    browser.click("#draw-line").await;
    browser.drag(BOARD, [0.5, 0.1], [0.5, 0.9]).await;
    browser.click("#draw-zone").await;
    let corners = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.95], [0.1, 0.95]];
    browser.click_at(BOARD, &corners).await;
    assert_eq!(texts(&browser).await.len(), 2, "the zone is not closed yet");
    browser.click_at(BOARD, &corners[..1]).await;
    let drawn = texts(&browser).await;
    assert!(drawn[0].starts_with("line-1: ") && drawn[2].starts_with("zone-1: "), "{drawn:?}");
    assert_near(&drawn[0], &[[0.2, 0.3], [0.8, 0.3]]);
    assert_near(&drawn[1], &[[0.5, 0.1], [0.5, 0.9]]);
    assert_near(&drawn[2], &corners);

    // A point is moved, and a line is deleted.
    browser.drag(BOARD, corners[3], [0.02, 0.99]).await;
    assert_near(&texts(&browser).await[2], &[corners[0], corners[1], corners[2], [0.02, 0.99]]);
    browser.click("#shapes li:nth-child(2) button").await;
    assert_eq!(texts(&browser).await.len(), 2);

    let expected = answer(&site, &browser, &id).await;
    assert_eq!(browser.text("#answer-tracks").await, "Different objects: 1 × person");
    let cells = browser.texts("#answer .places tbody tr:last-child > *").await;
    let most = expected["zones"]["zone-1"]["occupancy"]["most"].to_string();
    let zone = cells.iter().position(|cell| cell == "zone-1").unwrap();
    assert_eq!(cells[zone + 3], most, "{cells:?}");
    let charts = browser.texts("#answer .trend figcaption").await;
    assert_eq!(
        charts,
        [
            "Line line-1: 0 in (above), 0 out (below)",
            &format!("Zone zone-1: at most {most} at once")
        ]
    );
    assert_eq!(browser.barriers().await, Vec::<String>::new());
    assert_eq!(browser.errors().await, Vec::<String>::new());

    // The same for the next upload.
    browser.click("#use-places").await;
    let used = "return ['lines', 'zones'].map((name) => \
        document.querySelector(`#options [name=${name}]`).value)";
    assert_eq!(browser.script(used).await, json!(texts(&browser).await));
    assert!(browser.is_visible("#options").await);
    browser.script("document.querySelector('#options [name=end]').value = '1'").await;
    browser.choose_files(&[sample("carphone_pristine.mp4")]).await;
    browser.wait_for(&format!("location.hash.length > 1 && location.hash !== '#{id}'")).await;
    browser.wait_for("!document.querySelector('#places-card').hidden").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_line_or_a_zone_is_refused_at_its_text() {
    let site = Site::start(&[]);
    let places = "&lines=gate:+0.1,0.8+0.9,0.8&zones=seat:+0,0+1,0+1,1+0,1";
    let (browser, _) = drawing_on(&site, places).await;
    assert_eq!(texts(&browser).await, ["gate: 0.1,0.8 0.9,0.8", "seat: 0,0 1,0 1,1 0,1"]);
    for (place, text, reason) in [
        (1, "gate: 0.1,0.8 0.1,0.8", "has no length"),
        (1, "gate: 0.1,0.8 1.9,0.8", "is not from 0 to 1"),
        (2, "seat: 0,0 1,1 1,0 0,1", "cross or touch"),
        (2, "seat: 0,0 1,1", "3 to 64 points"),
    ] {
        let field = format!("#shapes li:nth-child({place}) input");
        let before = texts(&browser).await[place - 1].clone();
        let put = |text: &str| {
            format!(
                "const field = document.querySelector({field:?}); field.value = {text:?}; \
                 field.dispatchEvent(new Event('input', {{ bubbles: true }}))"
            )
        };
        browser.script(&put(text)).await;
        browser.click("#ask").await;
        browser.wait_for("document.querySelector('#shapes [aria-invalid=true]')").await;
        let shown = browser.text(&format!("#shapes li:nth-child({place}) .problem")).await;
        assert!(shown.contains(reason), "{text}: {shown}");
        let focused = "return document.activeElement.value";
        assert_eq!(browser.script(focused).await, text);
        assert!(!browser.is_visible("#ask-problem").await);
        assert_eq!(browser.barriers().await, Vec::<String>::new());
        browser.script(&put(&before)).await;
        let invalid = "return document.querySelectorAll('#shapes [aria-invalid]').length";
        assert_eq!(browser.script(invalid).await, 0, "until it is changed");
    }
    browser.choose("#ask-tracker", "none").await;
    browser.click("#ask").await;
    browser.wait_for("!document.querySelector('#ask-problem').hidden").await;
    let shown = browser.text("#ask-problem").await;
    assert!(shown.contains("need a tracker"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_and_zones_are_drawn_and_changed_with_the_keyboard() {
    let site = Site::start(&[]);
    let (browser, id) = drawing_on(&site, "").await;
    browser.script("document.querySelector('#draw-zone').focus()").await;
    browser.press(ENTER).await;
    assert_eq!(browser.script("return document.activeElement.role").await, "application");
    // From the middle to the upper left corner, and around.
    browser.press_with(SHIFT, &format!("{}{}", LEFT.repeat(4), UP.repeat(4))).await;
    browser.press(ENTER).await;
    browser.press_with(SHIFT, &RIGHT.repeat(8)).await;
    browser.press(ENTER).await;
    browser.press_with(SHIFT, &DOWN.repeat(9)).await;
    browser.press(ENTER).await;
    // A point that is removed.
    browser.press(&LEFT.repeat(3)).await;
    browser.press(&format!("{ENTER}{DELETE}")).await;
    browser.press_with(SHIFT, &LEFT.repeat(8)).await;
    browser.press(&format!("{ENTER}{ENTER}")).await;
    assert_eq!(texts(&browser).await, ["zone-1: 0.1,0.1 0.9,0.1 0.9,1 0.07,1"]);
    browser.wait_for("document.querySelector('#live').textContent.includes('zone-1')").await;
    // A line that is cancelled.
    browser.script("document.querySelector('#draw-line').focus()").await;
    browser.press(&format!("{ENTER}{ENTER}{LEFT}{ESCAPE}")).await;
    assert_eq!(texts(&browser).await.len(), 1);

    // The points have the focus one after another.
    browser.press(TAB).await;
    browser.press(TAB).await;
    let label = "return document.activeElement.getAttribute('aria-label')";
    let second = "zone-1, point 2 of 4: 90 % from the left, 10 % from the top";
    assert_eq!(browser.script(label).await, second);
    browser.press(&format!("{LEFT}{LEFT}{DOWN}")).await;
    assert_eq!(texts(&browser).await, ["zone-1: 0.1,0.1 0.88,0.11 0.9,1 0.07,1"]);
    browser.press(ESCAPE).await;
    assert_eq!(browser.script(label).await, second, "as before");
    browser.press(ENTER).await;
    assert_eq!(texts(&browser).await, ["zone-1: 0.1,0.1 0.9,0.1 0.9,0.55 0.9,1 0.07,1"]);
    browser.press(&format!("{TAB}{DELETE}")).await;
    assert_eq!(texts(&browser).await, ["zone-1: 0.1,0.1 0.9,0.1 0.9,1 0.07,1"]);
    assert_eq!(browser.barriers().await, Vec::<String>::new());

    let expected = answer(&site, &browser, &id).await;
    let mean = expected["timeline"]["zones"]["zone-1"]["mean"].as_array().unwrap();
    assert!(mean.iter().any(|mean| mean.as_f64() > Some(0.0)), "{expected}");
    let rows = "return document.querySelectorAll('#answer .trend tbody tr').length";
    assert_eq!(browser.script(rows).await, mean.len().div_ceil(mean.len().div_ceil(32)));

    // A zone of three points is deleted as a whole.
    browser.script("document.querySelector('#board circle').focus()").await;
    browser.press(&format!("{DELETE}{DELETE}")).await;
    assert!(texts(&browser).await.is_empty(), "{:?}", texts(&browser).await);
    assert_eq!(browser.errors().await, Vec::<String>::new());
}
