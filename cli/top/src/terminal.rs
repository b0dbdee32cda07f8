//! Draws on the terminal and obeys keys. Restores the terminal, whatever ends the program.

use std::io;
use std::mem::ManuallyDrop;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
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
///
/// ratatui's own destructor would print an error, and printing to a closed terminal panics.
struct Screen(ManuallyDrop<DefaultTerminal>);

impl Screen {
    fn take() -> io::Result<Self> {
        let taken = ratatui::try_init().inspect_err(|_| drop(ratatui::try_restore()));
        taken.map(|terminal| Self(ManuallyDrop::new(terminal)))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // They fail if the terminal is closed: then there is nothing to restore.
        self.0.show_cursor().ok();
        ratatui::try_restore().ok();
    }
}

/// Shows the state until the user quits, a signal stops the program or the terminal is closed.
pub(crate) fn show(
    state: watch::Receiver<State>,
    stopped: &CancellationToken,
    interval: Duration,
) -> anyhow::Result<()> {
    const UNREADABLE: &str = "cannot read from this terminal";
    let mut screen = Screen::take()
        .context("cannot draw on this terminal; `moliceiro top --once` prints text")?;
    let events = read_events().context(UNREADABLE)?;
    let mut ui = Ui::default();
    let mut drawn: Option<Instant> = None;
    while !stopped.is_cancelled() && !is_closed() {
        if drawn.is_none_or(|at| at.elapsed() >= REDRAW_INTERVAL.min(interval)) {
            if state.has_changed().is_err() {
                bail!("reading the figures stopped unexpectedly");
            }
            let state = state.borrow();
            match screen.0.draw(|frame| view::draw(frame, &state, &mut ui, Instant::now())) {
                Err(_) if is_closed() => return Ok(()),
                drawn => drawn.context("cannot draw on this terminal")?,
            };
            drawn = Some(Instant::now());
        }
        match events.recv_timeout(POLL_INTERVAL) {
            Ok(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => match action(key) {
                Some(Action::Quit) => return Ok(()),
                Some(Action::Ui(act)) => act(&mut ui),
                None => {}
            },
            Ok(Ok(Event::Resize(..))) => {}
            Ok(Ok(_)) | Err(RecvTimeoutError::Timeout) => continue,
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) if is_closed() => return Ok(()),
            Ok(Err(error)) => return Err(error).context(UNREADABLE),
            Err(RecvTimeoutError::Disconnected) => bail!(UNREADABLE),
        }
        drawn = None;
    }
    Ok(())
}

/// Reads keys on a thread of its own: crossterm 0.29 reads a closed terminal again and again, and
/// does not return (`top::a_closed_terminal_ends_the_view`). The thread ends with the process.
fn read_events() -> io::Result<Receiver<io::Result<Event>>> {
    let (sender, events) = sync_channel(1);
    let read = move || {
        loop {
            let event = event::read();
            let is_last = event.is_err();
            if sender.send(event).is_err() || is_last {
                break;
            }
        }
    };
    thread::Builder::new().name("keys".into()).spawn(read)?;
    Ok(events)
}

/// Whether nobody can see the terminal any more. A signal says so only to some processes.
fn is_closed() -> bool {
    let stdout = io::stdout();
    let mut terminal = [PollFd::new(&stdout, PollFlags::empty())];
    let polled = poll(&mut terminal, Some(&Timespec::default()));
    polled.is_ok() && terminal[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
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
