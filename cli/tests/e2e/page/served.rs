//! The page's files.

use moliceiro_testing::ingest::IngestApi;
use moliceiro_testing::server::Server;

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
