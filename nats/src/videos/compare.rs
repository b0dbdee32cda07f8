use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;

use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;

use super::{RerunError, VideoError, Videos};
use crate::VideoId;
use crate::detections::{DetectionsError, detections};
use crate::messages::{ModelId, VideoEntry, VideoState};

/// How the analyses of a video by two models differ.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Comparison {
    /// The two analyses.
    pub analyses: [ComparedAnalysis; 2],
    /// Each class that one of them found.
    pub classes: Vec<ComparedClass>,
}

/// One of two analyses.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ComparedAnalysis {
    /// The video that has it.
    pub id: VideoId,
    /// Its model.
    pub model: ModelId,
    /// Frames that are analysed.
    pub frames: u64,
    /// Time that detectors spent on each, in milliseconds.
    pub average_processing_ms: f64,
}

/// The objects of a class in two analyses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ComparedClass {
    /// The class.
    pub label: String,
    /// How many objects each found, in all frames together.
    pub objects: [u64; 2],
    /// In how many frames their numbers differ.
    pub frames: u64,
}

/// Why analyses cannot be compared.
#[derive(Debug, Error)]
pub enum CompareError {
    /// It was never analysed by this model.
    #[error(
        "{video} is not analysed by {model}: `moliceiro rerun {video} --model {model}` does it"
    )]
    Missing {
        /// The video.
        video: VideoId,
        /// The model.
        model: ModelId,
    },
    /// It does not have a summary yet.
    #[error("the analysis {video} is not finished: it is {state}")]
    Unfinished {
        /// The video that has the analysis.
        video: VideoId,
        /// Its state.
        state: VideoState,
    },
    /// The analysis cannot be found.
    #[error(transparent)]
    Find(#[from] RerunError),
    /// Its results cannot be read.
    #[error(transparent)]
    Read(#[from] DetectionsError),
}

/// Numbers of objects of each class.
type Counts = BTreeMap<String, u64>;

impl Videos<'_> {
    /// All analyses of the same video as this one, by their models; itself among them.
    pub async fn analyses(self, video: &VideoId) -> Result<Vec<VideoEntry>, VideoError> {
        let (mut entries, mut all) = (pin!(self.entries()), BTreeMap::new());
        while let Some(entry) = entries.next().await {
            match entry {
                Ok(stored) => drop(all.insert(stored.entry.video.clone(), stored.entry)),
                Err(VideoError::Malformed { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let is_by = |entry: &VideoEntry, of: &VideoId| {
            entry.video != *of && of.by_model(&entry.started.model()) == entry.video
        };
        // This one may itself be another's.
        let first = match all.get(video) {
            Some(entry) => all.keys().find(|of| is_by(entry, of)).unwrap_or(video).clone(),
            None => video.clone(),
        };
        let mut found: Vec<_> = all
            .into_values()
            .filter(|entry| entry.video == first || is_by(entry, &first))
            .collect();
        found.sort_by_key(|entry| (entry.video != first, entry.started.model()));
        Ok(found)
    }

    /// Compares the analyses of a video by two models. Reads the results of both.
    pub async fn compare(
        self,
        video: &VideoId,
        models: [&ModelId; 2],
    ) -> Result<Comparison, CompareError> {
        let first = self.finished(video, models[0]).await?;
        let second = self.finished(video, models[1]).await?;
        let differing = self.differing([&first.video, &second.video]).await?;
        let entries = [first, second];
        let labels: BTreeSet<_> = entries.iter().flat_map(|of| of.classes.keys()).collect();
        let classes = labels
            .into_iter()
            .map(|label| ComparedClass {
                label: label.clone(),
                objects: [0, 1].map(|of| entries[of].classes.get(label).copied().unwrap_or(0)),
                frames: differing.get(label).copied().unwrap_or(0),
            })
            .collect();
        let analyses = entries.map(|entry| ComparedAnalysis {
            model: entry.started.model(),
            frames: entry.counted,
            average_processing_ms: entry.summary.map_or(0.0, |s| s.average_processing_ms),
            id: entry.video,
        });
        Ok(Comparison { analyses, classes })
    }

    async fn finished(self, video: &VideoId, model: &ModelId) -> Result<VideoEntry, CompareError> {
        let found = match self.analysis(video, model).await? {
            Some(entry) => Some(entry),
            // The video may itself be another's analysis.
            None => {
                let mut all = self.analyses(video).await.map_err(RerunError::from)?.into_iter();
                let model = self.version_of(model).await.map_err(RerunError::from)?;
                all.find(|entry| entry.started.model() == model)
            }
        };
        let Some(entry) = found else {
            return Err(CompareError::Missing { video: video.clone(), model: model.clone() });
        };
        if entry.summary.is_none() {
            return Err(CompareError::Unfinished { video: entry.video, state: entry.state });
        }
        Ok(entry)
    }

    /// In how many frames the numbers of each class differ. Memory holds only frames that one of
    /// the two lacks.
    async fn differing(self, videos: [&VideoId; 2]) -> Result<Counts, DetectionsError> {
        let mut results = videos.map(|video| Box::pin(detections(self.streams, video)));
        let mut unmatched: [BTreeMap<u64, Counts>; 2] = Default::default();
        let mut differing = Counts::new();
        // The last frame of each; none after its end.
        let mut reached = [Some(0), Some(0)];
        loop {
            let side = match reached {
                [None, None] => break,
                [Some(first), Some(second)] => usize::from(second < first),
                [first, _] => usize::from(first.is_none()),
            };
            let Some(frame) = results[side].try_next().await? else {
                reached[side] = None;
                continue;
            };
            reached[side] = Some(frame.index);
            let mut counts = Counts::new();
            for object in frame.objects.counted() {
                *counts.entry(object.label.to_owned()).or_default() += 1;
            }
            match unmatched[1 - side].remove(&frame.index) {
                Some(other) => add_differing(&counts, &other, &mut differing),
                None => drop(unmatched[side].insert(frame.index, counts)),
            }
        }
        for counts in unmatched.iter().flat_map(BTreeMap::values) {
            add_differing(counts, &Counts::new(), &mut differing);
        }
        Ok(differing)
    }
}

fn add_differing(first: &Counts, second: &Counts, differing: &mut Counts) {
    let labels: BTreeSet<_> = first.keys().chain(second.keys()).collect();
    for label in labels.into_iter().filter(|label| first.get(*label) != second.get(*label)) {
        *differing.entry(label.clone()).or_default() += 1;
    }
}
