//! The web page, in a real browser.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::browser::Browser;
use moliceiro_testing::ingest::IngestApi;
use moliceiro_testing::paths::sample;
use moliceiro_testing::process::{self, Process};
use moliceiro_testing::proxy::{Link, Proxy};
use moliceiro_testing::server::Server;
use moliceiro_testing::video::ffmpeg;
use serde_json::{Value, json};

/// The state of another video stays until this one is loaded, but is hidden.
const SHOWN_AND_DONE: &str = "!document.querySelector('#video').hidden \
    && document.querySelector('#state').textContent === 'done'";
const TAB: &str = "\u{E004}";
const RIGHT: &str = "\u{E014}";
const ENTER: &str = "\u{E007}";

/// The services behind the page.
struct Site {
    _services: [Process; 2],
    http: IngestApi,
    folder: tempfile::TempDir,
    _server: Server,
}

impl Site {
    fn start(settings: &[&str]) -> Self {
        let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
        let config = folder.path().join("moliceiro.toml");
        fs::write(&config, "[aggregator]\nalarms = [\"person >= 3\"]\n").unwrap();
        let services = ["aggregator", "detector"].map(|name| {
            let mut command = process::service(name);
            let process = Process::start(
                command.arg("--config").arg(&config).args(["--nats", &server.url()]),
            );
            process.wait_for_stderr("is ready", 1);
            process
        });
        Self {
            _services: services,
            http: IngestApi::start(&server, settings),
            folder,
            _server: server,
        }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.http.address)
    }

    /// The only video there is.
    fn video(&self) -> Value {
        let videos = self.http.get("/videos").json()["videos"].as_array().unwrap().clone();
        assert_eq!(videos.len(), 1, "{videos:?}");
        videos[0].clone()
    }
}

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

/// Takes screenshots for the documentation if `MOLICEIRO_SCREENSHOTS` names a folder.
async fn picture(browser: &Browser, name: &str) {
    if let Some(folder) = std::env::var_os("MOLICEIRO_SCREENSHOTS") {
        browser.script("scrollTo(0, 0)").await;
        // Animations end.
        tokio::time::sleep(Duration::from_secs(1)).await;
        browser.screenshot(&Path::new(&folder).join(name), false).await;
    }
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

    for (dark, name) in [(false, "page-light.png"), (true, "page-dark.png")] {
        browser.set_dark(dark).await;
        let barriers = browser.barriers().await;
        assert!(barriers.is_empty(), "dark: {dark}\n{}", barriers.join("\n"));
        picture(&browser, name).await;
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
        assert!(reached.len() < 20, "{reached:?}");
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

#[test]
fn the_page_is_for_browsers_and_loads_nothing_from_elsewhere() {
    let server = Server::start();
    let http = IngestApi::start(&server, &["http.tokens=correct-horse"]);
    let html = "accept: text/html,application/xhtml+xml,*/*;q=0.8";
    let page = http.send(&["GET /", html], b"");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';")
            && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let text = page.text();
    assert!(
        !text.contains("style=")
            && !text.contains("onclick")
            && !text.contains("<script>")
            && !text.contains("http:"),
        "{text}"
    );
    let parts: Vec<_> = text.split('"').filter(|part| part.starts_with("/page/")).collect();
    for part in parts.iter().chain(&["/page/api.js"]) {
        let file = http.get(part);
        let tag = file.header("etag").unwrap();
        assert_eq!((file.status, file.header("cache-control")), (200, Some("no-cache")), "{part}");
        let again = http.send(&[&format!("GET {part}"), &format!("if-none-match: {tag}")], b"");
        assert_eq!((again.status, again.body.len()), (304, 0), "{part}");
    }
    http.get("/page/../Cargo.toml").is_problem(404, "");
    http.send(&["GET /", "accept: */*"], b"").is_problem(401, "token");
    let curl = http.send(&["GET /", "accept: */*", "authorization: Bearer correct-horse"], b"");
    assert_eq!(curl.json()["videos"], "/videos");
}
