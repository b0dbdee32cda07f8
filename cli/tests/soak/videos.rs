//! The videos that are counted, and the summary that each must have.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use fastrand::Rng;
use moliceiro_nats::messages::{Summary, VideoState};
use serde_json::json;
use tempfile::TempDir;
use url::Url;

use crate::say;
use crate::world::World;
use moliceiro_testing::deployment::{Counts, counts, without_faults_of};
use moliceiro_testing::models::{crashing_model, videos_with_and_without_a_white_frame};
use moliceiro_testing::paths::sample;
use moliceiro_testing::video::short_video;

/// How many uploads are kept unfinished.
const AT_ONCE: usize = 4;
/// A hang guard: with faults, a video may take long.
const LONGEST: Duration = Duration::from_secs(600);

/// A video and its counts without faults.
struct Specimen {
    path: PathBuf,
    every: u64,
    expected: Counts,
    crashing: bool,
}

struct Upload {
    specimen: usize,
    at: Instant,
}

pub struct Videos {
    _folder: TempDir,
    model: PathBuf,
    specimens: Vec<Specimen>,
    random: Rng,
    uploaded: usize,
    finished: usize,
    unfinished: BTreeMap<String, Upload>,
}

impl Videos {
    pub fn new(random: Rng) -> Self {
        const WHITE: u64 = 50;
        let folder = tempfile::tempdir().unwrap();
        let specimen = |path: PathBuf, every| Specimen {
            expected: without_faults_of(&path, every),
            path,
            every,
            crashing: false,
        };
        let mut specimens = vec![
            specimen(short_video(folder.path(), "short.mp4"), 1),
            specimen(sample("bikes.mp4"), 10),
            specimen(sample("carphone_pristine.mp4"), 6),
            specimen(sample("carphone_pristine.mp4"), 1),
        ];
        if cfg!(target_arch = "x86_64") {
            let [path, without] = videos_with_and_without_a_white_frame(folder.path(), WHITE);
            let (_, processed, _, classes) = without_faults_of(&without, 1);
            specimens.push(Specimen {
                path,
                every: 1,
                expected: (VideoState::Done, processed, 1, classes),
                crashing: true,
            });
        }
        let model = crashing_model(folder.path());
        Self {
            _folder: folder,
            model,
            specimens,
            random,
            uploaded: 0,
            finished: 0,
            unfinished: BTreeMap::new(),
        }
    }

    pub fn model(&self) -> &Path {
        &self.model
    }

    pub fn unfinished(&self) -> usize {
        self.unfinished.len()
    }

    pub fn finished(&self) -> usize {
        self.finished
    }

    pub fn some_id(&self) -> Option<String> {
        self.unfinished.keys().next().cloned()
    }

    pub async fn upload_some(&mut self, world: &World) {
        // Now and then many at once.
        let at_once = if self.random.u8(..100) == 0 { 5 * AT_ONCE } else { AT_ONCE };
        while self.unfinished.len() < at_once {
            let specimen = self.random.usize(..self.specimens.len());
            let crashing = |upload: &Upload| self.specimens[upload.specimen].crashing;
            if self.specimens[specimen].crashing && self.unfinished.values().any(crashing) {
                continue;
            }
            if self.upload(world, specimen).await.is_none() {
                return;
            }
        }
    }

    /// `None` if the server does not accept it now.
    async fn upload(&mut self, world: &World, specimen: usize) -> Option<()> {
        let Specimen { path, every, .. } = &self.specimens[specimen];
        let id = format!("soak-{}", self.uploaded);
        let uri = Url::from_file_path(path).unwrap();
        let upload = json!({"uri": uri, "name": "soak", "every": every, "id": id});
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("upload/{id}"));
        let jetstream = world.jetstream();
        jetstream
            .publish_with_headers("videos.upload", headers, upload.to_string().into())
            .await
            .ok()?
            .await
            .ok()?;
        self.uploaded += 1;
        self.unfinished.insert(id, Upload { specimen, at: Instant::now() });
        Some(())
    }

    /// Compares the summaries published so far.
    pub async fn check(&mut self, world: &World, seed: u64) {
        let Ok(summaries) = world.jetstream().get_stream("SUMMARIES").await else { return };
        let mut done = Vec::new();
        for (id, upload) in &self.unfinished {
            let specimen = &self.specimens[upload.specimen];
            let file = specimen.path.file_name().unwrap().to_string_lossy();
            let described = format!("seed {seed}: video {id} ({file}, every {})", specimen.every);
            assert!(
                upload.at.elapsed() < LONGEST,
                "{described} does not end:\n{}",
                world.log_of(id)
            );
            let summary: Summary = match summaries
                .get_last_raw_message_by_subject(&format!("summaries.{id}"))
                .await
            {
                Ok(message) => serde_json::from_slice(&message.payload).unwrap(),
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => continue,
                Err(_) => break,
            };
            let differs = || format!("{described} differs: {summary:#?}\n{}", world.log_of(id));
            assert_eq!(counts(&summary), specimen.expected, "{}", differs());
            say(&format!(
                "{id} ({file}, every {}) is as in an undisturbed run, after {:.0?}",
                specimen.every,
                upload.at.elapsed()
            ));
            done.push(id.clone());
        }
        self.finished += done.len();
        self.unfinished.retain(|id, _| !done.contains(id));
    }

    pub async fn describe_unfinished(&self, world: &World) -> String {
        let left = format!("{:?}, {:?}", self.unfinished.keys(), world.pending().await);
        left + "\n"
            + &self.unfinished.keys().map(|id| world.log_of(id)).collect::<Vec<_>>().join("\n")
    }
}
