use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use url::Url;

use crate::elements::element;

/// Adds a client that requests only video, over TCP. Returns the element whose pads are the
/// streams.
pub(super) fn add_source(
    pipeline: &gst::Pipeline,
    uri: &Url,
    timeout: Duration,
) -> Result<gst::Element, gst::glib::BoolError> {
    let source = element("rtspsrc")
        .property("location", uri.as_str())
        .property_from_str("protocols", "tcp")
        .property("tcp-timeout", u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX))
        .build()?;
    refuse_redirects(&source, uri);
    source.connect("select-stream", false, |values| {
        let format = values.get(2).and_then(|caps| caps.get::<gst::Caps>().ok());
        let is_video = format
            .and_then(|caps| Some(caps.structure(0)?.get::<String>("media").ok()? == "video"));
        Some(is_video.unwrap_or(true).to_value())
    });
    pipeline.add(&source)?;
    Ok(source)
}

/// `rtspsrc` follows a redirect by itself, to any address. It has connected there when this refuses
/// to send a request: permission for one address is not permission for another.
fn refuse_redirects(source: &gst::Element, uri: &Url) {
    let requested = uri.to_string();
    source.connect("before-send", false, move |values| {
        let source = values.first()?.get::<gst::Element>().ok()?;
        let is_same = source
            .property::<Option<String>>("location")
            .is_some_and(|location| location == requested);
        if !is_same {
            gst::element_error!(
                source,
                gst::ResourceError::NotAuthorized,
                ("the server redirects to another address, which is not followed")
            );
        }
        Some(is_same.to_value())
    });
}
