//! Draws on the terminal and obeys keys. Restores the terminal, whatever ends the program.

use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::state::State;
use crate::view::{self, Ui};

/// How often to check for signals and new figures.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How often to redraw without a key, at least: ages on the screen are this exact.
const REDRAW_INTERVAL: Duration = Duration::from_secs(1);

/// The terminal while we draw on it. Dropping it restores the terminal. So does a panic: the hook
/// of ratatui runs before the message is printed.
struct Screen(DefaultTerminal);

impl Screen {
    fn take() -> io::Result<Self> {
        ratatui::try_init().map(Self).inspect_err(|_| ratatui::restore())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Shows the state until the user quits or a signal stops the program.
pub(crate) fn show(
    state: watch::Receiver<State>,
    stopped: &CancellationToken,
    interval: Duration,
) -> anyhow::Result<()> {
    let mut screen = Screen::take()
        .context("cannot draw on this terminal; `moliceiro top --once` prints text")?;
    let mut ui = Ui::default();
    let mut drawn: Option<Instant> = None;
    while !stopped.is_cancelled() {
        if drawn.is_none_or(|at| at.elapsed() >= REDRAW_INTERVAL.min(interval)) {
            if state.has_changed().is_err() {
                bail!("reading the figures stopped unexpectedly");
            }
            let state = state.borrow();
            screen
                .0
                .draw(|frame| view::draw(frame, &state, &mut ui, Instant::now()))
                .context("cannot draw on this terminal")?;
            drawn = Some(Instant::now());
        }
        if event::poll(POLL_INTERVAL).context("cannot read from this terminal")? {
            match event::read().context("cannot read from this terminal")? {
                Event::Key(key) if key.kind != KeyEventKind::Release => match action(key) {
                    Some(Action::Quit) => return Ok(()),
                    Some(Action::Ui(act)) => act(&mut ui),
                    None => {}
                },
                Event::Resize(..) => {}
                _ => continue,
            }
            drawn = None;
        }
    }
    Ok(())
}

enum Action {
    Quit,
    Ui(fn(&mut Ui)),
}

fn action(key: KeyEvent) -> Option<Action> {
    let act = match key.code {
        KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => {
            return Some(Action::Quit);
        }
        KeyCode::Char('q') => return Some(Action::Quit),
        KeyCode::Up | KeyCode::Char('k') => Ui::up,
        KeyCode::Down | KeyCode::Char('j') => Ui::down,
        KeyCode::PageUp => Ui::page_up,
        KeyCode::PageDown => Ui::page_down,
        KeyCode::Home | KeyCode::Char('g') => Ui::first_row,
        KeyCode::End | KeyCode::Char('G') => Ui::last_row,
        KeyCode::Char('s') => Ui::sort,
        KeyCode::Char('?' | 'h') => Ui::toggle_help,
        KeyCode::Esc => Ui::close_help,
        _ => return None,
    };
    Some(Action::Ui(act))
}
