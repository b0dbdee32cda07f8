use super::{VideoError, Videos};
use crate::{VideoId, subjects};

impl Videos<'_> {
    /// Deletes everything that is stored of a video that has ended. Its entry is the last, so that
    /// a deletion that fails can be repeated.
    ///
    /// A result that arrives later changes nothing: without an entry, aggregators drop it.
    pub async fn forget(self, video: &VideoId) -> Result<(), VideoError> {
        let streams = self.streams;
        let marked = streams.requests.put(forgotten_key(video), Default::default()).await;
        marked.map_err(|source| VideoError::unavailable(video.as_str(), source))?;
        for (stream, subject) in [
            (&streams.frames, subjects::frames_of(video)),
            (&streams.results, subjects::results(video)),
            (&streams.results, subjects::detections(video)),
            (&streams.summaries, subjects::summary(video)),
            (&streams.summaries, subjects::alarms(video)),
            (&streams.tracks, subjects::tracks(video)),
            (&streams.stills, subjects::stills(video)),
            (&streams.dead, subjects::dead(video)),
        ] {
            let purged = stream.purge().filter(subject).await;
            purged.map_err(|source| VideoError::unavailable(video.as_str(), source))?;
        }
        let folded = streams.folds.purge(video.as_str()).await;
        folded.map_err(|source| VideoError::unavailable(video.as_str(), source))?;
        let removed = streams.objects.remove(video.as_str()).await;
        removed.map_err(|source| VideoError::unavailable(video.as_str(), source))?;
        let deleted = streams.videos.purge(video.as_str()).await;
        deleted.map_err(|source| VideoError::unavailable(video.as_str(), source))
    }

    /// Whether a video of this id was [forgotten](Self::forget) lately. What is sent again is then
    /// a new video: the server drops messages of the same video for a while.
    pub async fn was_forgotten(self, video: &VideoId) -> Result<bool, VideoError> {
        let found = self.streams.requests.get(forgotten_key(video)).await;
        let found = found.map_err(|source| VideoError::unavailable(video.as_str(), source))?;
        Ok(found.is_some())
    }
}

/// No digest of an idempotency key has a dot.
fn forgotten_key(video: &VideoId) -> String {
    format!("forgotten.{video}")
}
