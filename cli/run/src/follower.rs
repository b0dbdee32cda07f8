use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use futures_util::StreamExt;
use moliceiro_aggregator::{OutputFormat, Printed, Publication};
use moliceiro_nats::messages::{Alarm, Summary, VideoEntry, VideoState, from_json};
use moliceiro_nats::videos::VideoChanges;
use moliceiro_nats::{Streams, VideoChange, VideoError, VideoId, subjects};
use tracing::warn;

use crate::progress::Progress;
use crate::server::ServerKind;

/// The server redelivers what a killed run was about to print after this time.
const PRINT_ACK_WAIT: Duration = Duration::from_secs(2);
/// The server deletes the consumer of a run on a shared server this long after the run.
const INACTIVE_THRESHOLD: Duration = Duration::from_secs(60);

/// How the videos of a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Every frame of every video was counted.
    Complete,
    /// A video failed, is incomplete or was cancelled, or a frame failed.
    WithProblems,
}

/// Follows the videos of this run to their summaries, and prints those.
pub(crate) struct SummaryFollower {
    /// Names of the videos that have no summary yet.
    pending: BTreeMap<VideoId, String>,
    live_sources: BTreeSet<VideoId>,
    /// Windows of live sources that have no summary yet.
    open_windows: BTreeSet<VideoId>,
    /// Alarms and summaries of earlier runs that were not printed: how many, …
    unprinted: u64,
    /// … and the stream sequence up to which they are.
    last_earlier: u64,
    outcome: Outcome,
    server: ServerKind,
    format: OutputFormat,
    changes: VideoChanges,
    publications: pull::Stream,
}

impl SummaryFollower {
    /// Subscribes to alarms, summaries and video entries.
    pub(crate) async fn open(
        streams: &Streams,
        server: ServerKind,
        format: OutputFormat,
        videos: BTreeMap<VideoId, String>,
    ) -> anyhow::Result<Self> {
        const CONTEXT: &str = "cannot follow the summaries";
        let base = pull::Config {
            filter_subjects: vec![subjects::ALL_SUMMARIES.into(), subjects::ALL_ALARMS.into()],
            ack_policy: AckPolicy::Explicit,
            // One at a time: a video's alarms come before its summary, even when a killed run
            // printed only some of them.
            max_ack_pending: 1,
            ack_wait: PRINT_ACK_WAIT,
            inactive_threshold: INACTIVE_THRESHOLD,
            ..pull::Config::default()
        };
        let config = match server {
            ServerKind::Private => pull::Config {
                durable_name: Some(subjects::PRINTED_CONSUMER.into()),
                inactive_threshold: Duration::ZERO,
                deliver_policy: DeliverPolicy::All,
                ..base
            },
            ServerKind::Shared => pull::Config { deliver_policy: DeliverPolicy::New, ..base },
        };
        let last_earlier = streams.summaries.get_info().await.context(CONTEXT)?.state.last_sequence;
        let consumer = streams.summaries.create_consumer(config).await.context(CONTEXT)?;
        let info = consumer.cached_info();
        let unprinted = match server {
            ServerKind::Private => info.num_pending + info.num_ack_pending as u64,
            ServerKind::Shared => 0,
        };
        let publications =
            consumer.stream().max_messages_per_batch(1).messages().await.context(CONTEXT)?;
        let changes = streams.videos().watch_all().await.context("cannot follow the videos")?;
        Ok(Self {
            pending: videos,
            live_sources: BTreeSet::new(),
            open_windows: BTreeSet::new(),
            unprinted,
            last_earlier,
            outcome: Outcome::Complete,
            server,
            format,
            changes,
            publications,
        })
    }

    /// True if every video has its summary and everything is printed.
    pub(crate) fn is_finished(&self) -> bool {
        self.pending.is_empty() && self.open_windows.is_empty() && self.unprinted == 0
    }

    /// Shows progress and prints summaries until every video has one. With `forever`, videos that
    /// others upload are followed too, and this never returns without an error.
    pub(crate) async fn follow(
        &mut self,
        progress: &Progress,
        forever: bool,
    ) -> anyhow::Result<Outcome> {
        for (video, name) in &self.pending {
            progress.add(video, name);
        }
        while forever || !self.is_finished() {
            self.step(progress).await?;
        }
        Ok(self.outcome)
    }

    /// Shows progress and prints summaries until every live source has ended and all of its windows
    /// have a summary.
    pub(crate) async fn follow_live_sources(&mut self, progress: &Progress) -> anyhow::Result<()> {
        while !self.open_windows.is_empty() || self.live_sources().next().is_some() {
            self.step(progress).await?;
        }
        Ok(())
    }

    /// The live sources that still run. They end only if you stop them.
    pub(crate) fn live_sources(&self) -> impl Iterator<Item = &VideoId> {
        self.live_sources.iter().filter(|video| self.pending.contains_key(video))
    }

    /// The message for someone who stopped the run; `None` if every video is finished.
    pub(crate) fn unfinished_notice(&self) -> Option<String> {
        if self.pending.is_empty() {
            return None;
        }
        let names = self.pending.values().map(String::as_str).collect::<Vec<_>>().join(", ");
        let next = match self.server {
            ServerKind::Private => "Run the same command again to resume",
            ServerKind::Shared => "They stay on the server, and its services finish them",
        };
        Some(format!("stopped; not finished: {names}. {next}"))
    }

    async fn step(&mut self, progress: &Progress) -> anyhow::Result<()> {
        tokio::select! {
            change = self.changes.next() => match change {
                Some(Ok(VideoChange::Written(stored))) => self.update(progress, stored.entry),
                Some(Ok(VideoChange::Deleted(_) | VideoChange::Loaded)) => {}
                Some(Err(error @ VideoError::Malformed { .. })) => {
                    warn!(%error, "skipping an unreadable video entry");
                }
                Some(Err(error)) => warn!(%error, "cannot follow the videos; trying again"),
                None => anyhow::bail!("the NATS server stopped sending video entries"),
            },
            message = self.publications.next() => match message {
                Some(Ok(message)) => self.print(progress, &message).await?,
                Some(Err(error)) => warn!(%error, "cannot follow the summaries; trying again"),
                None => anyhow::bail!("the NATS server stopped sending summaries"),
            },
        }
        Ok(())
    }

    fn update(&mut self, progress: &Progress, entry: VideoEntry) {
        if self.pending.contains_key(&entry.video) {
            progress.update(&entry);
            if entry.live.is_some() {
                self.live_sources.insert(entry.video);
            }
        } else if self.is_window(&entry.video) {
            // Entries may arrive later than the summaries that belong to them.
            match entry.summary_published {
                true => self.open_windows.remove(&entry.video),
                false => self.open_windows.insert(entry.video),
            };
        }
    }

    /// Prints an alarm or a summary, and acknowledges it only then.
    async fn print(&mut self, progress: &Progress, message: &Message) -> anyhow::Result<()> {
        let parsed = match subjects::is_alarm(&message.subject) {
            true => from_json(&message.payload).map(|alarm| self.print_alarm(progress, &alarm)),
            false => {
                from_json(&message.payload).map(|summary| self.print_summary(progress, &summary))
            }
        };
        match parsed {
            Ok(printed) => printed?,
            Err(error) => {
                warn!(subject = %message.subject, %error, "skipping a malformed message")
            }
        }
        if message.info().is_ok_and(|info| info.stream_sequence <= self.last_earlier) {
            self.unprinted = self.unprinted.saturating_sub(1);
        }
        if let Err(error) = message.double_ack().await {
            warn!(
                subject = %message.subject, %error,
                "cannot acknowledge what was printed: it may be printed again"
            );
        }
        Ok(())
    }

    fn concerns_us(&self, video: &VideoId) -> bool {
        self.server == ServerKind::Private
            || self.pending.contains_key(video)
            || self.is_window(video)
    }

    fn is_window(&self, video: &VideoId) -> bool {
        self.live_sources.iter().any(|source| video.is_window_of(source))
    }

    fn print_alarm(&self, progress: &Progress, alarm: &Alarm) -> anyhow::Result<()> {
        if !self.concerns_us(&alarm.video) {
            return Ok(());
        }
        print(progress, Printed::of(Publication::Alarm(alarm), self.format))
            .with_context(|| format!("cannot write an alarm of {} to standard output", alarm.name))
    }

    fn print_summary(&mut self, progress: &Progress, summary: &Summary) -> anyhow::Result<()> {
        if !self.concerns_us(&summary.video) {
            return Ok(());
        }
        progress.finish(&summary.video);
        print(progress, Printed::of(Publication::Summary(summary), self.format)).with_context(
            || format!("cannot write the summary of {} to standard output", summary.name),
        )?;
        if !is_complete(summary) {
            self.outcome = Outcome::WithProblems;
        }
        self.pending.remove(&summary.video);
        self.open_windows.remove(&summary.video);
        Ok(())
    }
}

/// False for a live source that was stopped, too.
fn is_complete(summary: &Summary) -> bool {
    summary.state == VideoState::Done && summary.failed_frames == 0
}

/// Writes to standard output at once, and above the bars; then to standard error.
fn print(progress: &Progress, printed: Printed) -> io::Result<()> {
    if let Some(text) = printed.stdout {
        progress.print_result(&text)?;
    }
    for line in printed.stderr {
        progress.print(&line);
    }
    Ok(())
}
