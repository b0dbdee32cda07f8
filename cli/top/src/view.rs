//! Draws the state on a terminal of any size.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use moliceiro_nats::messages::VideoState;
use ratatui::Frame;
use ratatui::layout::{Constraint, Flex, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, LineGauge, Paragraph, Row, Table};

use crate::queues::Queues;
use crate::state::State;
use crate::text;
use crate::videos::{Order, Video};

/// A smaller terminal shows lines instead of boxes.
const BOXES_FROM: (u16, u16) = (76, 20);
/// Rows of detectors; the last one counts those that do not fit.
const MAX_DETECTORS: usize = 6;
const BAR: usize = 10;
/// The header shows the age of figures older than this.
const OLD: Duration = Duration::from_secs(3);

/// What the user chose to see.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ui {
    /// The first video shown.
    first: usize,
    /// Rows of videos on the screen when it was last drawn.
    rows: usize,
    /// All videos when the screen was last drawn.
    videos: usize,
    order: Order,
    help: bool,
}

impl Ui {
    pub(crate) fn up(&mut self) {
        self.first = self.first.saturating_sub(1);
    }

    pub(crate) fn down(&mut self) {
        self.first += 1;
    }

    pub(crate) fn page_up(&mut self) {
        self.first = self.first.saturating_sub(self.rows);
    }

    pub(crate) fn page_down(&mut self) {
        self.first += self.rows;
    }

    pub(crate) fn first_row(&mut self) {
        self.first = 0;
    }

    pub(crate) fn last_row(&mut self) {
        self.first = self.videos;
    }

    pub(crate) fn sort(&mut self) {
        (self.order, self.first) = (self.order.next(), 0);
    }

    pub(crate) fn toggle_help(&mut self) {
        self.help = !self.help;
    }

    pub(crate) fn close_help(&mut self) {
        self.help = false;
    }

    /// Keeps the last row at the bottom when there is nothing below it.
    fn fit(&mut self, videos: usize, rows: usize) {
        (self.videos, self.rows) = (videos, rows);
        self.first = self.first.min(videos.saturating_sub(rows));
    }
}

/// Draws everything.
pub(crate) fn draw(frame: &mut Frame<'_>, state: &State, ui: &mut Ui, now: Instant) {
    let area = frame.area();
    let boxes = area.width >= BOXES_FROM.0 && area.height >= BOXES_FROM.1;
    let queues = state.queues.as_ref().filter(|_| boxes);
    match queues {
        Some(queues) => draw_boxes(frame, state, queues, ui, now),
        None => draw_lines(frame, state, ui, now),
    }
    if ui.help {
        draw_help(frame, area);
    }
}

fn draw_boxes(frame: &mut Frame<'_>, state: &State, queues: &Queues, ui: &mut Ui, now: Instant) {
    let detectors = cells(state.detectors().len().clamp(1, MAX_DETECTORS));
    let [head, flow, detecting, videos, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(6),
        Constraint::Length(detectors + 2),
        Constraint::Min(4),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let [rates, queue] =
        Layout::horizontal([Constraint::Length(24), Constraint::Min(40)]).areas(flow);
    frame.render_widget(header(state, now), head);
    draw_rates(frame, state, rates);
    draw_queue(frame, state, queues, queue);
    draw_detectors(frame, state, queues, detecting);
    let block = Block::bordered().title(videos_title(state, ui));
    let inner = block.inner(videos);
    frame.render_widget(block, videos);
    draw_videos(frame, state, ui, inner);
    draw_footer(frame, queues, foot);
}

/// A length in cells of the terminal, which has at most `u16::MAX`.
fn cells(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// Draws as many lines as fit on a small terminal, the most important first.
fn draw_lines(frame: &mut Frame<'_>, state: &State, ui: &mut Ui, now: Instant) {
    let lines: Vec<_> = text::lines(state)
        .into_iter()
        .map(|(name, what)| Line::from(vec![format!("{name:13}").bold(), what.into()]))
        .collect();
    let height = frame.area().height.saturating_sub(1);
    // Videos get at least a third of the screen.
    let height_of_figures = cells(lines.len()).min(height - height / 3);
    let [head, figures, title, videos] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(height_of_figures),
        Constraint::Length(1),
        Constraint::Min(0),
    ])
    .areas(frame.area());
    frame.render_widget(header(state, now), head);
    frame.render_widget(Paragraph::new(lines), figures);
    frame.render_widget(Line::from(videos_title(state, ui)).bold(), title);
    draw_videos(frame, state, ui, videos);
}

fn header(state: &State, now: Instant) -> Line<'static> {
    let connection = match (state.connected, &state.problem) {
        (false, _) => "connection lost; reconnecting".red().bold(),
        (true, Some(problem)) => problem.clone().yellow(),
        (true, None) => "connected".green(),
    };
    let mut spans = vec![
        "moliceiro top".bold(),
        "  ".into(),
        state.server.clone().into(),
        "  ".into(),
        connection,
    ];
    if let Some(age) =
        state.age(now).filter(|age| *age > OLD && (!state.connected || state.problem.is_some()))
    {
        spans.push(format!("  (figures are {} old)", text::time(age)).into());
    }
    Line::from(spans)
}

fn draw_rates(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let rates = state.rates();
    let steps = [
        ("decoded", rates.decoded),
        ("published", rates.published),
        ("done", rates.done),
        ("counted", rates.counted),
    ];
    let lines = steps.map(|(step, rate)| {
        Line::from(vec![format!("{step:10}").into(), format!("{:>10}", text::rate(rate)).bold()])
    });
    frame.render_widget(
        Paragraph::new(lines.to_vec()).block(Block::bordered().title("Frames/s")),
        area,
    );
}

fn draw_queue(frame: &mut Frame<'_>, state: &State, queues: &Queues, area: Rect) {
    let full = state.is_queue_full();
    let title = if full { "Queue: full, ingest waits" } else { "Queue" };
    let block = Block::bordered().title(title);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let [gauge, rest] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(inner);
    let share = queues.frames.share().clamp(0.0, 1.0);
    let color = if full { Color::Yellow } else { Color::Cyan };
    let bar = LineGauge::default()
        .ratio(share)
        .label("")
        .filled_symbol("█")
        .unfilled_symbol("░")
        .filled_style(Style::default().fg(color));
    frame.render_widget(bar, gauge);
    let lines = vec![
        Line::from(text::queue(state, queues)),
        Line::from(format!(
            "uploads: {} in progress, {} waiting",
            queues.uploads_in_flight, queues.uploads_waiting
        )),
        Line::from(format!("results: {} waiting to be counted", queues.results_waiting)),
    ];
    frame.render_widget(Paragraph::new(lines), rest);
}

fn draw_detectors(frame: &mut Frame<'_>, state: &State, queues: &Queues, area: Rect) {
    let detectors = state.detectors();
    let title = format!(
        "Detectors: {} active, {} frames in flight, {} pulls waiting",
        detectors.len(),
        queues.frames_in_flight,
        queues.pulls
    );
    let block = Block::bordered().title(title);
    if detectors.is_empty() {
        let none = if queues.frames_waiting > 0 {
            "no recent results, and frames are waiting".red()
        } else {
            "no recent results".into()
        };
        return frame.render_widget(Paragraph::new(Line::from(none)).block(block), area);
    }
    let shown = if detectors.len() > MAX_DETECTORS { MAX_DETECTORS - 1 } else { detectors.len() };
    let mut rows: Vec<_> = detectors[..shown]
        .iter()
        .map(|detector| {
            Row::new([
                detector.name.to_owned(),
                format!("{:>8.1} frames/s", detector.rate),
                format!("{:>8.1} ms each", detector.mean_ms),
            ])
        })
        .collect();
    if shown < detectors.len() {
        rows.push(Row::new([format!("and {} more", detectors.len() - shown)]));
    }
    let widths = [Constraint::Min(20), Constraint::Length(18), Constraint::Length(17)];
    frame.render_widget(Table::new(rows, widths).block(block), area);
}

fn videos_title(state: &State, ui: &Ui) -> String {
    let unreadable = match state.unreadable {
        0 => String::new(),
        n => format!(", {n} from another release"),
    };
    format!("Videos: {}{unreadable} ({})", text::states(state), ui.order.name())
}

fn draw_videos(frame: &mut Frame<'_>, state: &State, ui: &mut Ui, area: Rect) {
    let videos = state.videos.sorted(ui.order);
    ui.fit(videos.len(), usize::from(area.height.saturating_sub(1)));
    let shown = videos.iter().skip(ui.first).take(ui.rows);
    let columns = columns(area.width);
    let header = Row::new(columns.iter().map(|column| column.title))
        .style(Style::default().add_modifier(Modifier::DIM));
    let rows = shown.map(|video| Row::new(columns.iter().map(|column| (column.cell)(video))));
    frame.render_widget(
        Table::new(rows, columns.iter().map(|column| column.width)).header(header),
        area,
    );
}

struct Column {
    title: &'static str,
    width: Constraint,
    cell: fn(&Video) -> Span<'static>,
}

/// The columns that fit on a terminal of this width.
fn columns(width: u16) -> Vec<Column> {
    let column = |title, width, cell: fn(&Video) -> Span<'static>| Column { title, width, cell };
    let mut columns = vec![column("NAME", Constraint::Fill(2), |video| video.name.clone().into())];
    if width >= 40 {
        columns.push(column("STATE", Constraint::Length(10), |video| {
            Span::styled(video.state.name(), color(video.state))
        }));
    }
    columns.push(column("PROGRESS", Constraint::Length(16), |video| bar(video.share()).into()));
    if width >= 56 {
        columns.push(column("DONE", Constraint::Length(13), |video| text::done(video).into()));
    }
    if width >= 64 {
        columns.push(column("FAILED", Constraint::Length(6), failed));
    }
    if width >= 48 {
        columns.push(column("FRAMES/S", Constraint::Length(8), |video| {
            format!("{:>8}", text::rate(video.rate())).into()
        }));
    }
    if width >= 90 {
        columns.push(column("TOP", Constraint::Fill(3), |video| text::classes(video).into()));
    }
    columns
}

fn failed(video: &Video) -> Span<'static> {
    let failed = format!("{:>6}", video.figures.failed);
    if video.figures.failed > 0 { failed.red() } else { failed.into() }
}

fn bar(share: Option<f64>) -> String {
    let Some(share) = share else { return "?".into() };
    #[expect(clippy::cast_possible_truncation, reason = "a share of the bar is at most that")]
    let filled = (share * BAR as f64).floor() as usize;
    format!(
        "{}{} {:>4}",
        "█".repeat(filled),
        "░".repeat(BAR - filled),
        format!("{:.0}%", share * 100.0)
    )
}

fn color(state: VideoState) -> Color {
    match state {
        VideoState::Queued | VideoState::Cancelled => Color::DarkGray,
        VideoState::Decoding | VideoState::Counting => Color::Cyan,
        VideoState::Done => Color::Green,
        VideoState::Incomplete => Color::Yellow,
        VideoState::Failed => Color::Red,
    }
}

fn draw_footer(frame: &mut Frame<'_>, queues: &Queues, area: Rect) {
    let warn = |name: &str, n: u64| {
        if n > 0 { format!("{name}: {n}").red().bold() } else { format!("{name}: 0").into() }
    };
    let alarm = match &queues.last_alarm {
        Some(alarm) => {
            format!("last alarm: {} ago, {}", text::time(alarm.age), alarm.video).yellow()
        }
        None => "no alarm".into(),
    };
    let figures = vec![
        warn("dead letters", queues.dead_letters),
        "  ".into(),
        warn("redelivered", queues.redelivered),
        "  ".into(),
        alarm,
    ];
    let keys = "q quit  s sort  ? help";
    let [left, right] =
        Layout::horizontal([Constraint::Min(0), Constraint::Length(cells(keys.len()))]).areas(area);
    frame.render_widget(Line::from(figures), left);
    frame.render_widget(Line::from(keys).dim(), right);
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    const HELP: [&str; 12] = [
        "q, Ctrl-C         quit",
        "arrows, j, k      scroll the videos",
        "PgUp, PgDn, g, G  scroll by pages, to the first or last",
        "s                 change the order of videos",
        "?, Esc            close this",
        "",
        "decoded, published  frames from ingest",
        "done                frames that detectors analysed",
        "counted             frames in the totals",
        "in flight           frames that detectors have",
        "pulls waiting       detectors that wait for frames",
        "redelivered         queued frames delivered more than once",
    ];
    let width = cells(HELP.iter().map(|line| line.len()).max().unwrap_or(0) + 2);
    let [row] =
        Layout::vertical([Constraint::Max(cells(HELP.len() + 2))]).flex(Flex::Center).areas(area);
    let [popup] = Layout::horizontal([Constraint::Max(width)]).flex(Flex::Center).areas(row);
    frame.render_widget(Clear, popup);
    frame.render_widget(
        Paragraph::new(HELP.map(Line::from).to_vec()).block(Block::bordered().title("Help")),
        popup,
    );
}
