use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{Message, kv};
use futures_util::StreamExt;
use moliceiro_nats::messages::{Alarm, Summary, VideoEntry, VideoState, from_json, to_json};
use moliceiro_nats::{Streams, VideoId};
use tracing::warn;

use super::progress::Progress;

/// Who else uses the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Nobody: every alarm and summary on it is ours to print, those of an earlier run too.
    Private,
    /// Others: only our own videos concern us.
    Shared,
}

/// On a private server this consumer remembers which alarms and summaries were printed, also when
/// this process is killed.
const PRINTED_CONSUMER: &str = "printed";
/// A summary that a killed run was about to print comes to the next one after this time.
const PRINT_WAIT: Duration = Duration::from_secs(2);
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// The videos of this run on their way to their summaries.
pub struct Followed {
    pending: BTreeMap<VideoId, String>,
    /// Those of them that are live sources.
    live: BTreeSet<VideoId>,
    /// Parts of those that have no summary yet.
    windows: BTreeSet<VideoId>,
    /// Alarms and summaries of earlier runs that nobody has printed: so many, up to this place in
    /// the stream.
    unprinted: u64,
    earlier: u64,
    all_well: bool,
    audience: Audience,
    entries: kv::Watch,
    summaries: pull::Stream,
}

impl Followed {
    pub async fn open(
        streams: &Streams,
        audience: Audience,
        videos: Vec<(VideoId, String)>,
    ) -> anyhow::Result<Self> {
        let base = pull::Config {
            filter_subjects: vec!["summaries.*".into(), "alarms.*".into()],
            ack_policy: AckPolicy::Explicit,
            // One after the other, so that a video's alarms come before its summary also when a
            // killed run left some half printed.
            max_ack_pending: 1,
            ack_wait: PRINT_WAIT,
            inactive_threshold: FORGET_AFTER,
            ..pull::Config::default()
        };
        let config = match audience {
            Audience::Private => pull::Config {
                durable_name: Some(PRINTED_CONSUMER.into()),
                inactive_threshold: Duration::ZERO,
                deliver_policy: DeliverPolicy::All,
                ..base
            },
            Audience::Shared => pull::Config { deliver_policy: DeliverPolicy::New, ..base },
        };
        let earlier = streams
            .summaries
            .get_info()
            .await
            .context("cannot follow the summaries")?
            .state
            .last_sequence;
        let consumer = streams
            .summaries
            .create_consumer(config)
            .await
            .context("cannot follow the summaries")?;
        let info = consumer.cached_info();
        let unprinted = match audience {
            Audience::Private => info.num_pending + info.num_ack_pending as u64,
            Audience::Shared => 0,
        };
        let summaries = consumer
            .stream()
            .max_messages_per_batch(1)
            .messages()
            .await
            .context("cannot follow the summaries")?;
        let entries =
            streams.videos.watch_all_from_revision(1).await.context("cannot follow the videos")?;
        Ok(Self {
            pending: videos.into_iter().collect(),
            live: BTreeSet::new(),
            windows: BTreeSet::new(),
            unprinted,
            earlier,
            all_well: true,
            audience,
            entries,
            summaries,
        })
    }

    /// True when there is nothing to wait for.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.windows.is_empty() && self.unprinted == 0
    }

    /// Shows progress and prints summaries until there is one for every video, or for ever if more
    /// are taken. Tells whether all were counted to their end.
    pub async fn until_all_counted(
        &mut self,
        progress: &Progress,
        json: bool,
        more: bool,
    ) -> anyhow::Result<bool> {
        for (video, name) in &self.pending {
            progress.add(video, name);
        }
        while more || !self.is_empty() {
            self.step(progress, json).await?;
        }
        Ok(self.all_well)
    }

    async fn step(&mut self, progress: &Progress, json: bool) -> anyhow::Result<()> {
        tokio::select! {
            entry = self.entries.next() => match entry {
                Some(Ok(entry)) => self.show(progress, &entry),
                Some(Err(error)) => warn!(%error, "trouble while following the videos"),
                None => anyhow::bail!("the NATS server stopped telling how the videos go on"),
            },
            summary = self.summaries.next() => match summary {
                Some(Ok(message)) => self.take(progress, json, &message).await?,
                Some(Err(error)) => warn!(%error, "trouble while following the summaries"),
                None => anyhow::bail!("the NATS server stopped giving summaries"),
            },
        }
        Ok(())
    }

    fn show(&mut self, progress: &Progress, entry: &kv::Entry) {
        match from_json::<VideoEntry>(&entry.value) {
            Ok(state) if self.pending.contains_key(&state.video) => {
                progress.update(&state);
                if state.live.is_some() {
                    self.live.insert(state.video);
                }
            }
            Ok(state) if self.is_window(&state.video) => {
                // What is heard of entries may be older than what is heard of summaries.
                match state.summary_published {
                    true => self.windows.remove(&state.video),
                    false => self.windows.insert(state.video),
                };
            }
            Ok(_) => {}
            Err(error) => warn!(key = entry.key, %error, "a video's entry cannot be read"),
        }
    }

    /// Prints an alarm or a summary, and only then says that it was.
    async fn take(
        &mut self,
        progress: &Progress,
        json: bool,
        message: &Message,
    ) -> anyhow::Result<()> {
        let read = match message.subject.starts_with("alarms.") {
            true => {
                from_json(&message.payload).map(|alarm| self.take_alarm(progress, json, &alarm))
            }
            false => from_json(&message.payload)
                .map(|summary| self.take_summary(progress, json, &summary)),
        };
        match read {
            Ok(printed) => printed?,
            Err(error) => {
                warn!(subject = %message.subject, %error, "an alarm or a summary cannot be read")
            }
        }
        if message.info().is_ok_and(|info| info.stream_sequence <= self.earlier) {
            self.unprinted = self.unprinted.saturating_sub(1);
        }
        if let Err(error) = message.double_ack().await {
            warn!(%error, "cannot acknowledge an alarm or a summary: it may be printed again");
        }
        Ok(())
    }

    fn concerns_us(&self, video: &VideoId) -> bool {
        self.audience == Audience::Private
            || self.pending.contains_key(video)
            || self.is_window(video)
    }

    fn is_window(&self, video: &VideoId) -> bool {
        self.live.iter().any(|source| video.is_window_of(source))
    }

    /// The live sources that go on, which end only if somebody stops them.
    pub fn live(&self) -> impl Iterator<Item = &VideoId> {
        self.live.iter().filter(|video| self.pending.contains_key(video))
    }

    /// True when of live sources nothing is to be waited for.
    fn is_live_done(&self) -> bool {
        self.windows.is_empty() && self.live().next().is_none()
    }

    /// Goes on until every live source has ended, with the summaries of all its windows.
    pub async fn until_live_done(&mut self, progress: &Progress, json: bool) -> anyhow::Result<()> {
        while !self.is_live_done() {
            self.step(progress, json).await?;
        }
        Ok(())
    }

    /// JSON has one kind of line: a summary, which tells how many alarms there were.
    fn take_alarm(&self, progress: &Progress, json: bool, alarm: &Alarm) -> anyhow::Result<()> {
        if json || !self.concerns_us(&alarm.video) {
            return Ok(());
        }
        let printed = progress.suspended(|| print(&alarm.to_string()));
        printed
            .with_context(|| format!("cannot write an alarm of {} to standard output", alarm.name))
    }

    fn take_summary(
        &mut self,
        progress: &Progress,
        json: bool,
        summary: &Summary,
    ) -> anyhow::Result<()> {
        if !self.concerns_us(&summary.video) {
            return Ok(());
        }
        progress.finish(&summary.video);
        let printed = match (json, summary.state) {
            (true, _) => progress.suspended(|| print(&String::from_utf8_lossy(&to_json(summary)))),
            (false, VideoState::Failed) => Ok(()),
            // What is in a live source is in the summaries of its windows.
            (false, _) if summary.live.is_some() => {
                progress.say(&format!(
                    "{}: {}",
                    summary.name,
                    if summary.state == VideoState::Cancelled { "stopped" } else { "ended" }
                ));
                Ok(())
            }
            (false, _) => progress.suspended(|| print(&summary.to_string())),
        };
        printed.with_context(|| {
            format!("cannot write the summary of {} to standard output", summary.name)
        })?;
        self.complain(progress, summary);
        self.pending.remove(&summary.video);
        self.windows.remove(&summary.video);
        Ok(())
    }

    fn complain(&mut self, progress: &Progress, summary: &Summary) {
        let problem = summary.problem.as_deref().unwrap_or("no reason is known");
        match summary.state {
            VideoState::Done => {}
            // It ends only like that.
            VideoState::Cancelled if summary.live.is_some() => {}
            VideoState::Incomplete => {
                progress.say(&format!("error: {} is incomplete: {problem}", summary.name))
            }
            VideoState::Cancelled => {
                progress.say(&format!("error: {} was cancelled: {problem}", summary.name))
            }
            _ if problem.contains(&summary.name) => progress.say(&format!("error: {problem}")),
            _ => progress.say(&format!("error: {}: {problem}", summary.name)),
        }
        if let Some(first) = summary.failed.first() {
            let (n, reason) = (summary.failed_frames, &first.reason);
            progress.say(&format!(
                "error: {}: {n} of its frames could not be looked at; frame {}: {reason}",
                summary.name, first.index
            ));
        }
        if summary.models.len() > 1 {
            let models = summary.models.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            progress.say(&format!(
                "warning: {}: its frames were looked at with different models ({models})",
                summary.name
            ));
        }
        self.all_well &= summary.state == VideoState::Done && summary.failed_frames == 0;
    }

    /// What to tell someone who stopped the run, if there is something left to do.
    pub fn farewell(&self) -> Option<String> {
        if self.pending.is_empty() {
            return None;
        }
        let names: Vec<_> = self.pending.values().map(String::as_str).collect();
        Some(match self.audience {
            Audience::Private => format!(
                "stopped; not finished: {}. Run the same command again to go on",
                names.join(", ")
            ),
            Audience::Shared => {
                format!(
                    "stopped; not finished: {}. They stay on the server, for the services that use it",
                    names.join(", ")
                )
            }
        })
    }
}

fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
