mod windows;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt;
use moliceiro_aggregator::{OutputFormat, Printed, Publication};
use moliceiro_nats::messages::{Alarm, Summary, VideoEntry, VideoState, from_json};
use moliceiro_nats::videos::VideoChanges;
use moliceiro_nats::{Streams, VideoChange, VideoError, VideoId, subjects};
use moliceiro_service::is_output_closed;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::warn;

use self::windows::LiveWindows;
use crate::plan::{Earlier, RunPlan};
use crate::progress::Progress;
use crate::server::ServerKind;

/// The server redelivers what a killed run was about to print after this time.
const PRINT_ACK_WAIT: Duration = Duration::from_secs(2);
/// How often the server hears that what waits for its turn is not lost.
const IN_PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// How many alarms and summaries may wait for their turn.
const MAX_UNPRINTED: i64 = 1_000_000;
/// How many classes a line about a video of an earlier run lists.
const CLASSES_IN_LINE: usize = 5;
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
    /// Videos of an earlier run, which are not named on the command line.
    earlier: BTreeSet<VideoId>,
    earlier_is: Earlier,
    /// Videos whose summaries are printed in this order. Live sources, and videos that others
    /// upload, are not among them. Empty if the order does not matter.
    order: VecDeque<VideoId>,
    /// Summaries that wait for those before them.
    waiting: BTreeMap<VideoId, (Summary, Message)>,
    /// Alarms and summaries, by stream sequence, until all of those of earlier runs have arrived.
    leftover: BTreeMap<u64, Message>,
    /// Stream sequences of what was printed or waits: the server redelivers after a pause.
    received: HashSet<u64>,
    /// The reader of standard output has closed it.
    output_closed: bool,
    ticks: Interval,
    windows: LiveWindows,
    /// Alarms and summaries of earlier runs that were not printed: how many, …
    unprinted: u64,
    /// … and the stream sequence up to which they are.
    last_earlier: u64,
    outcome: Outcome,
    streams: Streams,
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
        plan: &RunPlan,
        (earlier_is, ordered): (Earlier, bool),
    ) -> anyhow::Result<Self> {
        const CONTEXT: &str = "cannot follow the summaries";
        let base = pull::Config {
            filter_subjects: vec![subjects::ALL_SUMMARIES.into(), subjects::ALL_ALARMS.into()],
            ack_policy: AckPolicy::Explicit,
            max_ack_pending: MAX_UNPRINTED,
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
        let own = plan.own().iter().cloned();
        let mut ticks = interval(IN_PROGRESS_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            pending: own.chain(plan.earlier().clone()).collect(),
            earlier: plan.earlier().keys().cloned().collect(),
            earlier_is,
            order: plan.own().iter().filter(|_| ordered).map(|(id, _)| id.clone()).collect(),
            waiting: BTreeMap::new(),
            leftover: BTreeMap::new(),
            received: HashSet::new(),
            output_closed: false,
            ticks,
            windows: LiveWindows::default(),
            unprinted,
            last_earlier,
            outcome: Outcome::Complete,
            streams: streams.clone(),
            server,
            format,
            changes,
            publications,
        })
    }

    /// True if the reader of standard output has closed it: then nobody waits for the rest.
    pub(crate) fn is_output_closed(&self) -> bool {
        self.output_closed
    }

    /// True if every video has its summary and everything is printed.
    pub(crate) fn is_finished(&self) -> bool {
        self.pending.is_empty() && self.windows.are_printed() && self.unprinted == 0
    }

    /// Shows progress and prints summaries until every video has one, or standard output is closed.
    /// With `forever`, videos that others upload are followed too, and this returns only then.
    pub(crate) async fn follow(
        &mut self,
        progress: &Progress,
        forever: bool,
    ) -> anyhow::Result<Outcome> {
        for (video, name) in &self.pending {
            progress.add(video, name);
        }
        while !self.output_closed && (forever || !self.is_finished()) {
            self.step(progress).await?;
        }
        Ok(self.outcome)
    }

    /// Continues [`follow`](Self::follow) for some time; `None` if not every video has a summary
    /// then.
    pub(crate) async fn follow_for(
        &mut self,
        time: Duration,
        progress: &Progress,
    ) -> anyhow::Result<Option<Outcome>> {
        let rest = async {
            while !self.output_closed && !self.is_finished() {
                self.step(progress).await?;
            }
            Ok(self.outcome)
        };
        tokio::time::timeout(time, rest).await.ok().transpose()
    }

    /// Shows progress and prints summaries until every live source has ended and all of its windows
    /// have a summary.
    pub(crate) async fn follow_live_sources(&mut self, progress: &Progress) -> anyhow::Result<()> {
        while !self.windows.are_printed() || self.live_sources().next().is_some() {
            self.step(progress).await?;
        }
        Ok(())
    }

    /// Prints the summaries that still wait for those before them.
    pub(crate) async fn print_waiting(&mut self, progress: &Progress) -> anyhow::Result<()> {
        for video in std::mem::take(&mut self.order) {
            if let Some((summary, message)) = self.waiting.remove(&video) {
                self.print_summary(progress, &summary, &message).await?;
            }
        }
        Ok(())
    }

    /// The live sources that still run. They end only if you stop them.
    pub(crate) fn live_sources(&self) -> impl Iterator<Item = &VideoId> {
        self.windows.sources().filter(|video| self.pending.contains_key(video))
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
                Some(Ok(VideoChange::Written(stored))) => {
                    self.update(progress, stored.entry).await?;
                }
                Some(Ok(VideoChange::Deleted(_) | VideoChange::Loaded)) => {}
                Some(Err(error @ VideoError::Malformed { .. })) => {
                    warn!(%error, "skipping an unreadable video entry");
                }
                Some(Err(error)) => warn!(%error, "cannot follow the videos; trying again"),
                None => anyhow::bail!("the NATS server stopped sending video entries"),
            },
            message = self.publications.next() => match message {
                Some(Ok(message)) => self.receive(progress, message).await?,
                Some(Err(error)) => warn!(%error, "cannot follow the summaries; trying again"),
                None => anyhow::bail!("the NATS server stopped sending summaries"),
            },
            _ = self.ticks.tick() => self.report_waiting().await,
        }
        Ok(())
    }

    /// What waits for its turn is not redelivered.
    async fn report_waiting(&self) {
        let waiting = self.waiting.values().map(|(_, message)| message);
        for message in waiting.chain(self.leftover.values()) {
            if let Err(error) = message.ack_with(AckKind::Progress).await {
                warn!(%error, "cannot report to the server that a summary waits");
            }
        }
    }

    async fn update(&mut self, progress: &Progress, entry: VideoEntry) -> anyhow::Result<()> {
        if self.pending.contains_key(&entry.video) {
            progress.update(&entry);
            if entry.live.is_some() && self.windows.add_source(entry.video.clone()) {
                // It has no end that others could wait for.
                self.order.retain(|video| *video != entry.video);
                self.print_in_order(progress).await?;
            }
        } else if self.windows.contains(&entry.video) {
            self.windows.update(&entry);
        }
        Ok(())
    }

    /// Prints an alarm or a summary when it is its turn.
    async fn receive(&mut self, progress: &Progress, message: Message) -> anyhow::Result<()> {
        let sequence = message.info().map_or(0, |info| info.stream_sequence);
        if sequence > 0 && !self.received.insert(sequence) {
            return Ok(());
        }
        if self.unprinted == 0 {
            return self.print(progress, message).await;
        }
        // After a killed run, what it was about to print comes later than what it never saw, and
        // later than what this run adds.
        self.leftover.insert(sequence, message);
        let earlier = self.leftover.range(..=self.last_earlier).count() as u64;
        if earlier >= self.unprinted {
            self.unprinted = 0;
            for message in std::mem::take(&mut self.leftover).into_values() {
                self.print(progress, message).await?;
            }
        }
        Ok(())
    }

    async fn print(&mut self, progress: &Progress, message: Message) -> anyhow::Result<()> {
        if subjects::is_alarm(&message.subject) {
            match from_json(&message.payload) {
                Ok(alarm) => self.print_alarm(progress, &alarm, &message)?,
                Err(error) => {
                    warn!(subject = %message.subject, %error, "skipping a malformed message");
                }
            }
            acknowledge(&message).await;
            return Ok(());
        }
        let summary: Summary = match from_json(&message.payload) {
            Ok(summary) => summary,
            Err(error) => {
                warn!(subject = %message.subject, %error, "skipping a malformed message");
                acknowledge(&message).await;
                return Ok(());
            }
        };
        progress.finish(&summary.video);
        if self.order.contains(&summary.video) {
            self.waiting.insert(summary.video.clone(), (summary, message));
            return self.print_in_order(progress).await;
        }
        self.print_summary(progress, &summary, &message).await
    }

    /// Prints the summaries before which none is missing.
    async fn print_in_order(&mut self, progress: &Progress) -> anyhow::Result<()> {
        while let Some((summary, message)) =
            self.order.front().and_then(|next| self.waiting.remove(next))
        {
            self.order.pop_front();
            self.print_summary(progress, &summary, &message).await?;
        }
        Ok(())
    }

    fn concerns_us(&self, video: &VideoId) -> bool {
        self.server == ServerKind::Private
            || self.pending.contains_key(video)
            || self.windows.contains(video)
    }

    /// Whether a video is one that an earlier run left, and is only reported.
    fn is_apart(&self, video: &VideoId, message: &Message) -> bool {
        let is_leftover =
            || message.info().is_ok_and(|info| info.stream_sequence <= self.last_earlier);
        self.earlier_is != Earlier::Print
            && self.server == ServerKind::Private
            && (self.earlier.contains(video)
                || self.earlier.iter().any(|source| video.is_window_of(source))
                || (!self.pending.contains_key(video) && is_leftover()))
    }

    fn print_alarm(
        &mut self,
        progress: &Progress,
        alarm: &Alarm,
        message: &Message,
    ) -> anyhow::Result<()> {
        if !self.concerns_us(&alarm.video) || self.is_apart(&alarm.video, message) {
            return Ok(());
        }
        let printed = Printed::of(Publication::Alarm(alarm), self.format);
        self.write(progress, printed)
            .with_context(|| format!("cannot write an alarm of {} to standard output", alarm.name))
    }

    /// Prints a summary, and acknowledges it only then.
    async fn print_summary(
        &mut self,
        progress: &Progress,
        summary: &Summary,
        message: &Message,
    ) -> anyhow::Result<()> {
        if !self.concerns_us(&summary.video) {
            acknowledge(message).await;
            return Ok(());
        }
        if self.is_apart(&summary.video, message) {
            let is_dropped = summary.state == VideoState::Cancelled;
            let report = match self.earlier_is {
                Earlier::Drop if is_dropped => format!("dropped {}", summary.name),
                _ => earlier_line(summary),
            };
            progress.print(&report);
        } else {
            let printed = Printed::of(Publication::Summary(summary), self.format);
            self.write(progress, printed).with_context(|| {
                format!("cannot write the summary of {} to standard output", summary.name)
            })?;
            if self.output_closed {
                // The next run reports it.
                return Ok(());
            }
            if !is_complete(summary) {
                self.outcome = Outcome::WithProblems;
            }
        }
        if self.pending.remove(&summary.video).is_some() && summary.live.is_some() {
            self.windows.add_source(summary.video.clone());
            self.windows
                .find_all(&self.streams, &summary.video, self.last_earlier, &self.received)
                .await
                .context("cannot read the windows of a live source")?;
        }
        self.windows.set_printed(&summary.video);
        acknowledge(message).await;
        Ok(())
    }

    /// Writes to standard output at once, and above the bars; then to standard error.
    fn write(&mut self, progress: &Progress, printed: Printed) -> anyhow::Result<()> {
        if let Some(text) = printed.stdout.filter(|_| !self.output_closed)
            && let Err(error) = progress.print_result(&text)
        {
            let error = anyhow::Error::from(error);
            if !is_output_closed(&error) {
                return Err(error);
            }
            self.output_closed = true;
        }
        for line in printed.stderr {
            progress.print(&line);
        }
        Ok(())
    }
}

async fn acknowledge(message: &Message) {
    if let Err(error) = message.double_ack().await {
        warn!(
            subject = %message.subject, %error,
            "cannot acknowledge what was printed: it may be printed again"
        );
    }
}

/// How a video that an earlier run left has ended.
fn earlier_line(summary: &Summary) -> String {
    let Summary { name, video, state, processed_frames, classes, .. } = summary;
    let found: Vec<_> = Summary::ranking(classes, CLASSES_IN_LINE)
        .into_iter()
        .map(|label| format!("{label} {}", classes[&label]))
        .collect();
    let found = if found.is_empty() { "no objects".to_owned() } else { found.join(", ") };
    let problem = summary.problem.as_ref().map(|problem| format!(": {problem}"));
    format!(
        "an earlier run's {name} ({video}) is {state}{}; {processed_frames} frames, {} failed; \
         {found}",
        problem.unwrap_or_default(),
        summary.failed_frames
    )
}

/// False for a live source that was stopped, too.
fn is_complete(summary: &Summary) -> bool {
    summary.state == VideoState::Done && summary.failed_frames == 0
}
