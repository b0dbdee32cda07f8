use url::Url;

/// Where a live source is.
#[derive(Clone, Debug)]
pub enum LiveOrigin {
    /// `rtsp://` or `rtsps://`
    Rtsp(Url),
    /// A sequence of JPEGs in one HTTP response that does not end (`multipart/x-mixed-replace`).
    Mjpeg(Url),
}
