use std::fmt;
use std::sync::Arc;

/// An event while a video is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeEvent {
    /// A frame was decoded, whether it was selected or not.
    FrameDecoded,
    /// A frame of a live source was dropped, because the consumer was too slow.
    LiveFrameDropped,
}

type Callback = dyn Fn(DecodeEvent) + Send + Sync;

/// Receives each [`DecodeEvent`], on the thread that decodes. The callback must not block.
///
/// The default ignores events.
#[derive(Clone, Default)]
pub struct Observer(Option<Arc<Callback>>);

impl Observer {
    /// An observer that calls `callback` with each event.
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
