//! What GStreamer's messages mean for a video.

use gstreamer as gst;
use tracing::debug;

use crate::codecs;
use crate::error::DecodeError;
use crate::explain;

/// Formats whose demuxers are never plugged, because they would open the addresses that the file
/// names.
const PLAYLISTS: [&str; 4] =
    ["application/x-hls", "application/dash+xml", "application/vnd.ms-sstr+xml", "application/sdp"];

/// The meaning of an error message for the video called `name`.
pub(crate) fn decode_error(name: &str, message: &gst::message::Error) -> DecodeError {
    let (video, error) = (name.to_owned(), message.error());
    let reason = describe(&error, message.debug().as_deref());
    match (
        error.kind::<gst::StreamError>(),
        error.kind::<gst::ResourceError>(),
        error.kind::<gst::CoreError>(),
    ) {
        (Some(gst::StreamError::TypeNotFound | gst::StreamError::WrongType), ..) => {
            DecodeError::UnknownFormat { video }
        }
        (Some(gst::StreamError::CodecNotFound), ..)
        | (_, _, Some(gst::CoreError::MissingPlugin)) => {
            DecodeError::MissingPlugin { video, what: reason, package: None }
        }
        (Some(_), ..) => DecodeError::Damaged { video, reason },
        (_, Some(gst::ResourceError::NotFound), _) => DecodeError::NotFound { path: video },
        (_, Some(gst::ResourceError::OpenRead | gst::ResourceError::NotAuthorized), _) => {
            DecodeError::NotReadable { path: video, reason }
        }
        _ => DecodeError::Failed { video, reason },
    }
}

/// An error's text on one line, with the last line of its details, where elements put the cause.
pub(crate) fn describe(error: &gst::glib::Error, debug: Option<&str>) -> String {
    let text = error.message().lines().next().unwrap_or_default().trim_end_matches('.').to_owned();
    let detail = debug
        .and_then(|debug| debug.lines().skip(1).last())
        .map(|line| line.trim().trim_end_matches('.'));
    if let Some(sentence) = detail.and_then(sentence) {
        return sentence.to_owned();
    }
    match detail {
        Some(detail) if !detail.is_empty() && detail != text => format!("{text}: {detail}"),
        _ => text,
    }
}

/// GStreamer's commonest details, which speak of its own parts, in words.
fn sentence(detail: &str) -> Option<&'static str> {
    Some(match detail {
        "no known streams found" => "it has no stream in a format that GStreamer knows",
        "No pads created" => "it has no stream",
        "streaming stopped, reason error (-5)" => "its data cannot be processed",
        "streaming stopped, reason not-linked (-1)" => "it has no stream that can be used",
        explain::NOT_NEGOTIATED_DETAIL => explain::NOT_NEGOTIATED,
        _ => return None,
    })
}

/// Drops messages that nothing reads: the bus is unbounded.
pub(crate) fn drop_unread_messages(bus: &gst::Bus) {
    bus.set_sync_handler(|_, message| {
        if is_read(message) { gst::BusSyncReply::Pass } else { gst::BusSyncReply::Drop }
    });
}

fn is_read(message: &gst::MessageRef) -> bool {
    match message.view() {
        gst::MessageView::Error(_)
        | gst::MessageView::Eos(_)
        | gst::MessageView::StreamCollection(_) => true,
        gst::MessageView::Element(message) => {
            message.structure().is_some_and(|structure| structure.has_name("missing-plugin"))
        }
        gst::MessageView::Warning(message) => {
            let details = message.debug();
            debug!(warning = %message.error(), details = details.as_deref(), "GStreamer warning");
            false
        }
        _ => false,
    }
}

pub(crate) fn video_tracks(streams: &gst::StreamCollection) -> u32 {
    let is_video = |stream: &gst::Stream| stream.stream_type().contains(gst::StreamType::VIDEO);
    u32::try_from(streams.iter().filter(is_video).count()).unwrap_or(u32::MAX)
}

/// The media type of a playlist, if the missing plugin is one that would read it.
pub(crate) fn playlist(plugin: &gst::StructureRef) -> Option<String> {
    missing_format(plugin).filter(|format| PLAYLISTS.contains(&format.as_str()))
}

/// The error for a missing plugin, unless that is only needed for sound or text.
pub(crate) fn missing_plugin(name: &str, plugin: &gst::StructureRef) -> Option<DecodeError> {
    let video = name.to_owned();
    let caps = plugin.get::<gst::Caps>("detail").ok();
    let format = caps.as_ref().and_then(|caps| caps.structure(0));
    let is_not_video = |format: &gst::StructureRef| {
        ["audio/", "text/", "subpicture/", "closedcaption/"]
            .iter()
            .any(|kind| format.name().starts_with(kind))
    };
    match format {
        Some(format) if is_not_video(format) => None,
        Some(format) if codecs::is_encrypted(format) => Some(DecodeError::Encrypted { video }),
        Some(format) => {
            let described = || plugin.get::<String>("name").ok().and_then(codecs::described);
            let what = codecs::name(format).or_else(described);
            let what = what.unwrap_or_else(|| "an unknown codec".to_owned());
            let package = codecs::package(format);
            Some(DecodeError::MissingPlugin { video, what, package: package.map(Into::into) })
        }
        None => {
            let what = plugin.get::<String>("name").ok()?;
            Some(DecodeError::MissingPlugin { video, what, package: None })
        }
    }
}

fn missing_format(plugin: &gst::StructureRef) -> Option<String> {
    plugin
        .get::<gst::Caps>("detail")
        .ok()
        .and_then(|caps| Some(caps.structure(0)?.name().to_string()))
}
