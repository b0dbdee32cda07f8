use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use url::Url;

use crate::elements::element;

/// Bytes of one part. A JPEG within the limits is smaller.
const MAX_PART: u64 = 64 << 20;

/// Adds an HTTP client, and the demuxer of its parts. Returns the demuxer, whose pads are the
/// streams. `tail` receives the end of the response.
pub(super) fn add_source(
    pipeline: &gst::Pipeline,
    uri: &Url,
    timeout: Duration,
    tail: &Tail,
) -> Result<gst::Element, gst::glib::BoolError> {
    let source = element("souphttpsrc")
        .property("is-live", true)
        .property("do-timestamp", true)
        .property("retries", 0)
        .property("automatic-redirect", false)
        .property("timeout", u32::try_from(timeout.as_secs().max(1)).unwrap_or(30));
    let source = with_credentials(source, uri).build()?;
    let demuxer = element("multipartdemux").property("single-stream", true).build()?;
    pipeline.add_many([&source, &demuxer])?;
    source.link(&demuxer)?;
    tail.follow(&source);
    limit_parts(&source, &demuxer);
    Ok(demuxer)
}

/// Ends the source when a part exceeds [`MAX_PART`]: the demuxer buffers a part until it is
/// complete.
fn limit_parts(source: &gst::Element, demuxer: &gst::Element) {
    let part = Arc::new(AtomicU64::new(0));
    let (bytes, owner) = (part.clone(), source.downgrade());
    if let Some(pad) = source.static_pad("src") {
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let more = info.buffer().map_or(0, |buffer| buffer.size() as u64);
            let before = bytes.fetch_add(more, Relaxed);
            if before + more <= MAX_PART {
                return gst::PadProbeReturn::Ok;
            }
            if let Some(source) = owner.upgrade().filter(|_| before <= MAX_PART) {
                gst::element_error!(
                    source,
                    gst::ResourceError::Read,
                    ("a picture of more than {} MiB", MAX_PART >> 20)
                );
            }
            gst::PadProbeReturn::Drop
        });
    }
    demuxer.connect_pad_added(move |_, pad| {
        let part = part.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            part.store(0, Relaxed);
            gst::PadProbeReturn::Ok
        });
    });
}

/// Sets the address without its user and password, which are properties of their own.
fn with_credentials<'a>(
    source: gst::element_factory::ElementBuilder<'a>,
    uri: &Url,
) -> gst::element_factory::ElementBuilder<'a> {
    let decode =
        |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut bare = uri.clone();
    // Both fail only for URIs without a host, which have no credentials either.
    bare.set_username("").ok();
    bare.set_password(None).ok();
    let source = source.property("location", String::from(bare));
    match (uri.username(), uri.password()) {
        ("", None) => source,
        (user, password) => source
            .property("user-id", decode(user))
            .property("user-pw", decode(password.unwrap_or_default())),
    }
}

/// The last bytes of an HTTP response: only the close-delimiter (RFC 2046, 5.1.1) distinguishes an
/// end from a lost connection. Clones share the bytes.
#[derive(Clone, Default)]
pub(super) struct Tail(Arc<Mutex<Vec<u8>>>);

impl Tail {
    const BYTES: usize = 16;

    /// Whether the response ended with a close-delimiter, or had no bytes at all.
    pub(super) fn is_complete(&self) -> bool {
        let tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tail.is_empty() || tail.trim_ascii_end().ends_with(b"--")
    }

    fn follow(&self, source: &gst::Element) {
        let Some(pad) = source.static_pad("src") else { return };
        let tail = self.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(bytes) = info.buffer().and_then(|buffer| buffer.map_readable().ok()) {
                tail.append(&bytes);
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn append(&self, bytes: &[u8]) {
        let mut tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend_from_slice(&bytes[bytes.len().saturating_sub(Self::BYTES)..]);
        let surplus = tail.len().saturating_sub(Self::BYTES);
        tail.drain(..surplus);
    }
}
