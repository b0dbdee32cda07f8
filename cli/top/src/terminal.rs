//! The terminal: drawn at each change, restored however this ends.

use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::state::State;
use super::view::{self, Ui};

/// How long a signal or a new figure may wait.
const LOOK: Duration = Duration::from_millis(100);
/// Ages on the screen are true to this.
const REDRAW: Duration = Duration::from_secs(1);

/// The terminal as it is while we draw on it. A panic restores it too: the library's hook does,
/// before it is printed.
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

/// Shows the state until the user has seen enough.
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
        if drawn.is_none_or(|at| at.elapsed() >= REDRAW.min(interval)) {
            if state.has_changed().is_err() {
                bail!("what reads the figures ended by itself");
            }
            let state = state.borrow();
            screen
                .0
                .draw(|frame| view::draw(frame, &state, &mut ui, Instant::now()))
                .context("cannot draw on this terminal")?;
            drawn = Some(Instant::now());
        }
        if event::poll(LOOK).context("cannot read from this terminal")? {
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
