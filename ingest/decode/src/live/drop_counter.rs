use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::observer::{DecodeEvent, Observer};

/// Counts the frames of a live source that were dropped. Clones share their count.
#[derive(Clone)]
pub(super) struct DropCounter {
    total: Arc<AtomicU64>,
    observer: Observer,
}

impl DropCounter {
    pub(super) fn new(total: Arc<AtomicU64>, observer: Observer) -> Self {
        Self { total, observer }
    }

    pub(super) fn count(&self) {
        self.total.fetch_add(1, Relaxed);
        self.observer.report(DecodeEvent::LiveFrameDropped);
    }

    pub(super) fn total(&self) -> u64 {
        self.total.load(Relaxed)
    }
}
