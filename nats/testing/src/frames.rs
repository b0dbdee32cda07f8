//! Frames, as an ingest publishes them.

use moliceiro_nats::messages::{Color, Encoding, Frame, Letterbox, Matrix, ModelId, Size, VERSION};
use moliceiro_nats::{Streams, VideoId, subjects};

/// Publishes a grey frame of this size.
pub async fn publish_grey(
    streams: &Streams,
    model: &ModelId,
    video: &VideoId,
    index: u64,
    size: Size,
) {
    let frame = Frame {
        version: VERSION,
        video: video.clone(),
        index,
        pts: None,
        decoded_at: None,
        encoding: Encoding::I420,
        size,
        letterbox: Letterbox { source: size, left: 0, top: 0, content: size },
        color: Color { matrix: Matrix::Bt709, full_range: false },
        pixels: vec![128; size.i420_len().unwrap()],
    };
    let id = subjects::frame_message_id(video, index);
    let subject = subjects::frames(model, video);
    streams.publisher.publish(&subject, &id, frame.to_cbor().into()).await.unwrap();
}
