use std::collections::BTreeMap;

use anyhow::Context;
use moliceiro_nats::messages::{ModelId, Upload, shown_uri, to_json};
use moliceiro_nats::videos::UnfinishedVideo;
use moliceiro_nats::{Streams, VideoId, subjects};

use crate::follower::SummaryFollower;
use crate::inputs::VideoInput;
use crate::options::UploadOptions;
use crate::server::ServerKind;

/// What a run does with the videos that an earlier run left unfinished, and that its command line
/// does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Earlier {
    /// Finishes them, and prints their summaries like those of its own videos.
    Print,
    /// Finishes them, and reports each in a line on standard error.
    Report,
    /// Cancels them, those that the command line names too.
    Drop,
}

/// The videos of this run: those that the command names, and those that an earlier run left
/// unfinished.
pub(crate) struct RunPlan {
    /// The videos that the command names, in its order, and their names.
    own: Vec<(VideoId, String)>,
    /// Names of other videos that an earlier run left.
    earlier: BTreeMap<VideoId, String>,
    uploads: Vec<(VideoId, Upload)>,
    uris: Vec<String>,
    drop_earlier: bool,
}

impl RunPlan {
    /// On a private server, an unfinished video that the command names again resumes; it does not
    /// restart.
    pub(crate) async fn make(
        streams: &Streams,
        inputs: Vec<VideoInput>,
        options: &UploadOptions,
        server: ServerKind,
        earlier: Earlier,
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
        let drop_earlier = earlier == Earlier::Drop;
        let mut plan = Self {
            own: Vec::new(),
            earlier: BTreeMap::new(),
            uploads: Vec::new(),
            uris,
            drop_earlier,
        };
        for VideoInput { uri, name } in inputs {
            // A file that has changed since is another video. The ingest ends the earlier one.
            let fingerprint = moliceiro_ingest::fingerprint(&uri);
            let is_unchanged = |video: &UnfinishedVideo| {
                let both = video.fingerprint.as_ref().zip(fingerprint.as_ref());
                both.is_none_or(|(earlier, now)| earlier.may_be(now))
            };
            let is_same = |video: &UnfinishedVideo| {
                !drop_earlier
                    && is_unchanged(video)
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
                    plan.own.push((id.clone(), video.name));
                    for model in options.models.iter().skip(1) {
                        let analysis = id.by_model(model);
                        let left = unfinished.remove(&analysis);
                        plan.own.extend(left.map(|video| (analysis, named(&video.name, model))));
                    }
                }
                None => {
                    let id = VideoId::for_name(&name, &nuid::next());
                    let mut upload =
                        Upload { id: Some(id.clone()), fingerprint, ..options.upload(uri) };
                    // The answer of a web server may have a better name.
                    if name != upload.name() || !upload.uri.scheme().starts_with("http") {
                        upload.name = Some(name.clone());
                    }
                    for (analysis, of) in upload.clone().analyses(&id) {
                        let other = of.model.filter(|_| analysis != id);
                        let name = other.map_or(name.clone(), |model| named(&name, &model));
                        plan.own.push((analysis, name));
                    }
                    plan.uploads.push((id, upload));
                }
            }
        }
        plan.earlier = unfinished.into_iter().map(|(id, video)| (id, video.name)).collect();
        Ok(plan)
    }

    /// The videos that the command names, in its order, and their names. Of a video that several
    /// models analyse, all.
    pub(crate) fn own(&self) -> &[(VideoId, String)] {
        &self.own
    }

    /// Names of other videos that this run finishes, or drops.
    pub(crate) fn earlier(&self) -> &BTreeMap<VideoId, String> {
        &self.earlier
    }

    /// Where the videos are. This run may read them, whatever `ingest.allow` says.
    pub(crate) fn uris(&self) -> &[String] {
        &self.uris
    }

    /// Queues the new uploads, and cancels what is to be dropped. The follower must exist by then:
    /// on a shared server it sees only what is published after it subscribed.
    pub(crate) async fn submit(
        self,
        streams: &Streams,
        _subscribed: &SummaryFollower,
    ) -> anyhow::Result<()> {
        if self.drop_earlier {
            for id in self.earlier.keys() {
                streams.videos().cancel(id, "dropped by --drop-unfinished").await?;
            }
        }
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

/// What a further analysis of a video is called.
fn named(video: &str, model: &ModelId) -> String {
    format!("{video} by {model}")
}
