use std::fmt;
use std::sync::Arc;

/// What happens while a video is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeEvent {
    /// A frame was decoded, whether it was selected or not.
    FrameDecoded,
    /// A frame of a live source was dropped, because the frames before it were not taken in time.
    LiveFrameDropped,
}

type Callback = dyn Fn(DecodeEvent) + Send + Sync;

/// Receives each [`DecodeEvent`], on the thread that decodes: it must not block.
///
/// The default ignores them.
#[derive(Clone, Default)]
pub struct Observer(Option<Arc<Callback>>);

impl Observer {
    /// Calls `callback` with each event.
    pub fn new(callback: impl Fn(DecodeEvent) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(callback)))
    }

    pub(crate) fn report(&self, event: DecodeEvent) {
        if let Some(callback) = &self.0 {
            callback(event);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observer").field(&self.0.is_some()).finish()
    }
}
