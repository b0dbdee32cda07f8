//! Which URIs may be read. Without a list, anyone who can submit a URI could make this program open
//! any file and any address.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use moliceiro_nats::messages::shown_uri;
use moliceiro_nats::objects;
use thiserror::Error;
use url::Url;

/// A URI that may not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{uri} may not be read: {reason}")]
pub struct Refused {
    uri: String,
    reason: &'static str,
}

const OUTSIDE: &str = "the setting ingest.allow does not include it";
const NOT_LOCAL: &str = "it does not name a file of this machine";

/// An entry of the setting that is neither an absolute path nor the beginning of a URI.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is neither an absolute path nor the beginning of a URI")]
pub(crate) struct InvalidEntry(pub(crate) String);

/// The folders, files and URI prefixes that may be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowed {
    paths: Arc<[PathBuf]>,
    prefixes: Vec<Url>,
}

impl Allowed {
    /// Parses the setting `ingest.allow`.
    pub(crate) fn new(entries: &[String]) -> Result<Self, InvalidEntry> {
        let (mut paths, mut prefixes) = (Vec::new(), Vec::new());
        for entry in entries {
            let path = match Url::parse(entry) {
                Ok(url) if url.scheme() == "file" => url.to_file_path().ok(),
                Ok(url) => {
                    prefixes.push(url);
                    continue;
                }
                Err(_) => Some(PathBuf::from(entry)),
            };
            match path.filter(|path| path.is_absolute() && is_plain(path)) {
                Some(path) => paths.push(path),
                None => return Err(InvalidEntry(entry.clone())),
            }
        }
        Ok(Self { paths: paths.into(), prefixes })
    }

    /// The URI to open for `uri`, if that may be read: symbolic links of a file are resolved. Opens
    /// nothing.
    pub(crate) async fn check(&self, uri: &Url) -> Result<Url, Refused> {
        let refused = |reason| Refused { uri: shown_uri(uri), reason };
        match uri.scheme() {
            objects::SCHEME => Ok(uri.clone()),
            "file" => {
                let path = uri.to_file_path().map_err(|()| refused(NOT_LOCAL))?;
                let path = self.check_path(&path).await.ok_or_else(|| refused(OUTSIDE))?;
                Url::from_file_path(path).map_err(|()| refused(NOT_LOCAL))
            }
            _ if self.prefixes.iter().any(|prefix| begins_with(uri, prefix)) => {
                // A fragment is not sent to a server, and parsers disagree on where it starts: what
                // follows it could be taken for the host.
                let mut uri = uri.clone();
                uri.set_fragment(None);
                Ok(uri)
            }
            _ => Err(refused(OUTSIDE)),
        }
    }

    /// The URI to open for `to`, to which the allowed `from` redirects. If the setting has the
    /// whole address `from`, it means what is behind it: `to` may then be anything on the same
    /// host.
    pub(crate) async fn check_redirect(&self, from: &Url, mut to: Url) -> Result<Url, Refused> {
        let checked = self.check(&to).await;
        if checked.is_ok() || !self.prefixes.contains(from) || !is_same_host(from, &to) {
            return checked;
        }
        to.set_fragment(None);
        if to.username().is_empty() && to.password().is_none() {
            // They fail for URIs that cannot have them; this one can, as `from` can.
            to.set_username(from.username()).ok();
            to.set_password(from.password()).ok();
        }
        Ok(to)
    }

    /// On one thread for the whole check: `moliceiro run` allows each of its videos, and a thread
    /// for each of those would cost memory.
    async fn check_path(&self, path: &Path) -> Option<PathBuf> {
        let (paths, path) = (self.paths.clone(), path.to_owned());
        tokio::task::spawn_blocking(move || check_path(&paths, path)).await.ok().flatten()
    }
}

/// Both the path as written and the path it resolves to must be inside: one of them alone would
/// miss a file that does not exist, or a link that leads out.
fn check_path(allowed: &[PathBuf], path: PathBuf) -> Option<PathBuf> {
    if !is_plain(&path) {
        return None;
    }
    let resolve = |allowed: &PathBuf| allowed.canonicalize().unwrap_or_else(|_| allowed.clone());
    let real = path.canonicalize();
    let as_written: Vec<_> = allowed.iter().filter(|entry| path.starts_with(entry)).collect();
    if let Ok(real) = &real
        && as_written.iter().any(|entry| real.starts_with(resolve(entry)))
    {
        return Some(real.clone());
    }
    let resolved: Vec<_> = allowed.iter().map(resolve).collect();
    if as_written.is_empty() && !resolved.iter().any(|entry| path.starts_with(entry)) {
        return None;
    }
    match real {
        Ok(real) => resolved.iter().any(|entry| real.starts_with(entry)).then_some(real),
        // Decoding reports that it does not exist.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(path),
        Err(_) => None,
    }
}

fn is_plain(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

/// The same host and port, or HTTPS on the default port instead of HTTP.
fn is_same_host(from: &Url, to: &Url) -> bool {
    let place = |url: &Url| (url.scheme().to_owned(), url.port_or_known_default());
    let (before, after) = (place(from), place(to));
    let is_upgrade = before == ("http".into(), Some(80)) && after == ("https".into(), Some(443));
    from.host_str().is_some() && from.host_str() == to.host_str() && (before == after || is_upgrade)
}

/// Compares whole path segments, and everything before the path.
fn begins_with(uri: &Url, prefix: &Url) -> bool {
    let place = |url: &Url| {
        (
            url.scheme().to_owned(),
            url.host_str().map(str::to_owned),
            url.port_or_known_default(),
            url.username().to_owned(),
            url.password().map(str::to_owned),
        )
    };
    let wanted = prefix.path().trim_end_matches('/');
    let rest = uri.path().strip_prefix(wanted);
    place(uri) == place(prefix) && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_allowed(entries: &[&str], uri: &str) -> bool {
        let entries: Vec<_> = entries.iter().map(|e| (*e).to_owned()).collect();
        Allowed::new(&entries).unwrap().check(&Url::parse(uri).unwrap()).await.is_ok()
    }

    #[tokio::test]
    async fn only_uploads_may_be_read_by_default() {
        assert!(is_allowed(&[], "obj://uploads/a.mp4").await);
        for uri in ["file:///etc/passwd", "http://127.0.0.1/", "rtsp://camera/1", "data:,x"] {
            assert!(!is_allowed(&[], uri).await, "{uri}");
        }
    }

    #[tokio::test]
    async fn no_path_leads_out_of_an_allowed_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        let (inside, outside) = (path.join("in"), path.join("out"));
        for folder in [&inside, &outside] {
            std::fs::create_dir(folder).unwrap();
            std::fs::write(folder.join("a.mp4"), "x").unwrap();
        }
        std::os::unix::fs::symlink(outside.join("a.mp4"), inside.join("link.mp4")).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("folder")).unwrap();
        std::os::unix::fs::symlink(inside.join("a.mp4"), inside.join("near.mp4")).unwrap();
        std::os::unix::fs::symlink(&inside, path.join("way")).unwrap();
        let allow = inside.to_str().unwrap();
        let uri = |path: &str| format!("file://{allow}/{path}");
        for path in ["a.mp4", "near.mp4", "missing.mp4", "x/../a.mp4"] {
            assert!(is_allowed(&[allow], &uri(path)).await, "{path}");
        }
        for path in [
            "link.mp4",
            "folder/a.mp4",
            "../out/a.mp4",
            "%2e%2e/out/a.mp4",
            "..%2fout/a.mp4",
            "../inner.mp4",
            "../missing.mp4",
        ] {
            assert!(!is_allowed(&[allow], &uri(path)).await, "{path}");
        }
        assert!(!is_allowed(&[allow], "file://otherhost/etc/passwd").await);
        let way = path.join("way");
        assert!(
            is_allowed(&[way.to_str().unwrap()], &format!("file://{}/a.mp4", way.display())).await,
            "a link to the folder itself"
        );
        let file = inside.join("a.mp4");
        assert!(is_allowed(&[file.to_str().unwrap()], &uri("a.mp4")).await);
        assert!(!is_allowed(&[file.to_str().unwrap()], &uri("b.mp4")).await);
    }

    #[tokio::test]
    async fn an_address_is_allowed_by_whole_segments() {
        let allow = ["http://cam.example:81/live/"];
        for uri in [
            "http://cam.example:81/live/1",
            "http://cam.example:81/live",
            "http://CAM.example:81/live/a/b?x=1",
        ] {
            assert!(is_allowed(&allow, uri).await, "{uri}");
        }
        for uri in [
            "http://cam.example/live/1",
            "https://cam.example:81/live/1",
            "http://cam.example:81/lively",
            "http://cam.example:81/live/../x",
            "http://me@cam.example:81/live/1",
            "http://cam.example.org:81/live/1",
        ] {
            assert!(!is_allowed(&allow, uri).await, "{uri}");
        }
    }

    #[tokio::test]
    async fn an_address_that_is_allowed_as_a_whole_may_redirect_on_its_host() {
        let uri = |text: &str| Url::parse(text).unwrap();
        let entries = ["http://me:pw@host/a.mp4", "http://host:81/b.mp4", "http://host/folder/"];
        let allowed = Allowed::new(&entries.map(str::to_owned)).unwrap();
        for (from, to, opened) in [
            ("http://me:pw@host/a.mp4", "http://host/x?y#z", Some("http://me:pw@host/x?y")),
            ("http://me:pw@host/a.mp4", "https://host/x", Some("https://me:pw@host/x")),
            ("http://me:pw@host/a.mp4", "http://host:81/x", None),
            ("http://me:pw@host/a.mp4", "http://other/x", None),
            ("http://host:81/b.mp4", "http://host:81/x", Some("http://host:81/x")),
            ("http://host:81/b.mp4", "https://host/x", None),
            ("http://host/folder/c.mp4", "http://host/folder/x", Some("http://host/folder/x")),
            ("http://host/folder/c.mp4", "http://host/x", None),
        ] {
            let checked = allowed.check_redirect(&uri(from), uri(to)).await;
            assert_eq!(checked.ok().map(String::from).as_deref(), opened, "{from} to {to}");
        }
    }

    #[tokio::test]
    async fn what_is_opened_is_what_was_checked() {
        let allowed =
            Allowed::new(&["rtsp://camera/".into(), "http://cam.example/".into()]).unwrap();
        for (uri, opened) in [
            ("rtsp://camera#:x@elsewhere/", "rtsp://camera"),
            ("rtsp://camera/live?a=b#@elsewhere/", "rtsp://camera/live?a=b"),
            ("http://cam.example/a#b", "http://cam.example/a"),
        ] {
            assert_eq!(allowed.check(&Url::parse(uri).unwrap()).await.unwrap().as_str(), opened);
        }
        for uri in [
            "rtsp://camera@elsewhere/",
            "rtsp://camera:x@elsewhere/",
            "rtsp://camera%23:x@elsewhere/",
        ] {
            assert!(allowed.check(&Url::parse(uri).unwrap()).await.is_err(), "{uri}");
        }
    }

    #[tokio::test]
    async fn a_refusal_hides_the_password() {
        let uri = Url::parse("rtsp://me:secret@camera/").unwrap();
        let refused = Allowed::default().check(&uri).await.unwrap_err().to_string();
        assert!(refused.contains("camera") && !refused.contains("secret"), "{refused}");
    }

    #[test]
    fn an_entry_is_an_absolute_path_or_begins_a_uri() {
        for entry in ["data", "../x", "/data/../x", "file://host/x"] {
            assert_eq!(Allowed::new(&[entry.into()]).unwrap_err(), InvalidEntry(entry.into()));
        }
    }
}
