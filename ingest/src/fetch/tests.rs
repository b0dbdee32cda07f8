#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Read;
use std::sync::{Arc, Mutex};

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::*;

const VIDEO: &[u8] = b"0123456789abcdefghij";

/// A server that sends each connection the next answer, then closes it. It records the requests.
struct Site {
    uri: Url,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Site {
    async fn start(answers: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/a.mp4", listener.local_addr().unwrap()).parse().unwrap();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let heard = requests.clone();
        tokio::spawn(async move {
            for answer in answers {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(connection.read_u8().await.unwrap());
                }
                heard.lock().unwrap().push(String::from_utf8(request).unwrap().to_lowercase());
                connection.write_all(&answer).await.unwrap();
                connection.shutdown().await.unwrap();
            }
            // Further connections get no answer.
            std::future::pending::<()>().await;
        });
        Self { uri, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    async fn fetch(&self) -> Result<Vec<u8>, FetchError> {
        fetch_within(&self.uri, 100).await
    }
}

async fn fetch_within(uri: &Url, max_bytes: u64) -> Result<Vec<u8>, FetchError> {
    let place = format!("http://{}/", uri.authority());
    let allowed = Allowed::new(&[place]).unwrap();
    let limits = Limits {
        folder: None,
        max_bytes,
        read_timeout: Duration::from_millis(500),
        first_pause: Duration::from_millis(5),
    };
    let mut file = fetch(uri, &allowed, &limits).await?;
    let mut bytes = Vec::new();
    std::io::Seek::rewind(&mut file).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    Ok(bytes)
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {head}\r\n\r\n").as_bytes(), body].concat()
}

/// The first bytes of the video, with the header for all of it.
fn first(n: usize, more: &str) -> Vec<u8> {
    answer(&format!("200 OK\r\nContent-Length: {}{more}", VIDEO.len()), &VIDEO[..n])
}

#[tokio::test]
async fn a_download_resumes_where_its_connection_was_lost() {
    let part = |from: usize, to: usize| {
        let (all, length) = (VIDEO.len(), VIDEO.len() - from);
        let head = format!(
            "206 Partial Content\r\nContent-Range: bytes {from}-{}/{all}\r\n\
             Content-Length: {length}",
            all - 1
        );
        answer(&head, &VIDEO[from..to])
    };
    let site = Site::start(vec![first(7, "\r\nETag: \"v1\""), part(7, 12), part(12, 20)]).await;
    assert_eq!(site.fetch().await.unwrap(), VIDEO);
    let requests = site.requests();
    assert!(!requests[0].contains("range:"), "{}", requests[0]);
    assert!(
        requests[1].contains("range: bytes=7-") && requests[1].contains("if-range: \"v1\""),
        "{}",
        requests[1]
    );
    assert!(requests[2].contains("range: bytes=12-"), "{}", requests[2]);
}

#[tokio::test]
async fn a_download_restarts_if_the_server_cannot_resume_or_the_file_has_changed() {
    let site = Site::start(vec![first(7, ""), first(12, ""), first(20, "")]).await;
    assert_eq!(site.fetch().await.unwrap(), VIDEO);
    assert!(
        site.requests().iter().all(|request| !request.contains("range:")),
        "nothing says that the bytes are the same"
    );
    let changed = answer("200 OK\r\nETag: \"v2\"\r\nContent-Length: 3", b"new");
    let site = Site::start(vec![first(7, "\r\nETag: \"v1\""), changed]).await;
    assert_eq!(site.fetch().await.unwrap(), b"new");
}

#[tokio::test]
async fn a_busy_server_is_retried_and_a_refusing_one_is_not() {
    let site = Site::start(vec![answer("503 Busy\r\nContent-Length: 0", b""), first(20, "")]).await;
    assert_eq!(site.fetch().await.unwrap(), VIDEO);
    for status in ["404 Not Found", "403 Forbidden"] {
        let site = Site::start(vec![answer(&format!("{status}\r\nContent-Length: 0"), b"")]).await;
        let error = site.fetch().await.unwrap_err();
        assert!(matches!(&error, FetchError::Status { .. }), "{error:?}");
        assert!(
            error.to_string().contains(status) && error.to_string().contains("a.mp4"),
            "{error}"
        );
        assert_eq!(site.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_missing_and_a_silent_server_are_errors() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = fetch_within(&format!("http://{free}/").parse().unwrap(), 100)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("refused") && error.contains("7 attempts"), "{error}");
    let error = Site::start(vec![]).await.fetch().await.unwrap_err().to_string();
    assert!(error.contains("in time"), "{error}");
}

#[tokio::test]
async fn a_redirect_leads_only_to_what_may_be_read() {
    let to =
        |place: &str| answer(&format!("302 Found\r\nLocation: {place}\r\nContent-Length: 0"), b"");
    let site = Site::start(vec![to("/b.mp4"), first(20, "")]).await;
    assert_eq!(site.fetch().await.unwrap(), VIDEO);
    assert!(site.requests()[1].starts_with("get /b.mp4 "));
    for (place, is_refused) in
        [("http://127.0.0.2:1/", true), ("file:///etc/passwd", false), ("obj://uploads/x", false)]
    {
        let error = Site::start(vec![to(place)]).await.fetch().await.unwrap_err();
        assert_eq!(matches!(error, FetchError::Redirect { .. }), is_refused, "{error:?}");
        assert_eq!(matches!(error, FetchError::RedirectLoop { .. }), !is_refused, "{error:?}");
    }
    let error = Site::start(vec![to("/a.mp4"); 10]).await.fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::RedirectLoop { .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_too_large_or_endless_is_not_downloaded() {
    let site = Site::start(vec![first(20, "")]).await;
    assert!(matches!(
        fetch_within(&site.uri, 19).await,
        Err(FetchError::TooLarge { max_bytes: 19, .. })
    ));
    let live = answer("200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=x", b"--x\r\n");
    assert!(matches!(Site::start(vec![live]).await.fetch().await, Err(FetchError::Live { .. })));
}
