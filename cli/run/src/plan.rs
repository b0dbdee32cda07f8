use std::collections::BTreeMap;

use anyhow::Context;
use moliceiro_nats::messages::{Upload, shown_uri, to_json};
use moliceiro_nats::videos::UnfinishedVideo;
use moliceiro_nats::{Streams, VideoId, subjects};

use crate::follower::SummaryFollower;
use crate::inputs::VideoInput;
use crate::options::UploadOptions;
use crate::server::ServerKind;

/// The videos of this run: those that the command names, and those that an earlier run left
/// unfinished.
pub(crate) struct RunPlan {
    /// Names of the videos that this run resumes.
    resumed: BTreeMap<VideoId, String>,
    uploads: Vec<(VideoId, Upload)>,
    uris: Vec<String>,
}

impl RunPlan {
    /// On a private server, an unfinished video that the command names again resumes; it does not
    /// restart.
    pub(crate) async fn make(
        streams: &Streams,
        inputs: Vec<VideoInput>,
        options: &UploadOptions,
        server: ServerKind,
    ) -> anyhow::Result<Self> {
        let mut unfinished = match server {
            ServerKind::Private => streams
                .videos()
                .unfinished()
                .await
                .context("cannot find out what an earlier run left unfinished")?,
            ServerKind::Shared => BTreeMap::new(),
        };
        let uris = inputs
            .iter()
            .map(|input| input.uri.to_string())
            .chain(unfinished.values().map(|video| video.uri.clone()))
            .collect();
        let mut plan = Self { uris, resumed: BTreeMap::new(), uploads: Vec::new() };
        for VideoInput { uri, name } in inputs {
            // A file that has changed since is another video. The ingest ends the earlier one.
            let fingerprint = moliceiro_ingest::fingerprint(&uri);
            let is_unchanged = |video: &UnfinishedVideo| {
                let both = video.fingerprint.as_ref().zip(fingerprint.as_ref());
                both.is_none_or(|(earlier, now)| earlier.may_be(now))
            };
            let is_same = |video: &UnfinishedVideo| {
                is_unchanged(video)
                    && [uri.as_str(), &shown_uri(&uri)].contains(&video.uri.as_str())
                    && options.accepts(video)
            };
            // An unfinished window of a live source is not the source.
            let found = unfinished
                .iter()
                .find(|(id, video)| !id.is_window() && is_same(video))
                .map(|(id, _)| id.clone());
            match found.and_then(|id| unfinished.remove_entry(&id)) {
                Some((id, video)) => {
                    plan.resumed.insert(id, video.name);
                }
                None => {
                    let id = VideoId::for_name(&name, &nuid::next());
                    let upload = Upload {
                        id: Some(id.clone()),
                        name: Some(name),
                        fingerprint,
                        ..options.upload(uri)
                    };
                    plan.uploads.push((id, upload));
                }
            }
        }
        plan.resumed.extend(unfinished.into_iter().map(|(id, video)| (id, video.name)));
        Ok(plan)
    }

    /// The names of all videos that this run follows.
    pub(crate) fn videos(&self) -> BTreeMap<VideoId, String> {
        let new = self.uploads.iter().map(|(id, upload)| (id.clone(), upload.name()));
        self.resumed.clone().into_iter().chain(new).collect()
    }

    /// Where the videos are. This run may read them, whatever `ingest.allow` says.
    pub(crate) fn uris(&self) -> &[String] {
        &self.uris
    }

    /// Queues the new uploads. The follower must exist by then: on a shared server it sees only
    /// what is published after it subscribed.
    pub(crate) async fn submit(
        self,
        streams: &Streams,
        _subscribed: &SummaryFollower,
    ) -> anyhow::Result<()> {
        for (id, upload) in self.uploads {
            let payload = to_json(&upload).into();
            streams
                .publisher
                .publish(subjects::UPLOAD_SUBJECT, &format!("upload/{id}"), payload)
                .await?;
        }
        Ok(())
    }
}
