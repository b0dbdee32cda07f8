//! The screen on terminals of all sizes.

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::example;

fn drawn(
    state: &State,
    ui: &mut Ui,
    (width, height): (u16, u16),
    now: Instant,
) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state, ui, now)).unwrap();
    terminal
}

fn screen(state: &State, ui: &mut Ui, (width, height): (u16, u16), now: Instant) -> Vec<String> {
    let terminal = drawn(state, ui, (width, height), now);
    let lines = terminal.backend().buffer().content.chunks(usize::from(width.max(1)));
    lines
        .map(|cells| {
            cells.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned()
        })
        .collect()
}

#[test]
fn a_run_fills_the_screen() {
    let lines = screen(&example::running(), &mut Ui::default(), (100, 22), Instant::now());
    let expected = "\
moliceiro top  nats://127.0.0.1:4222  connected
┌Frames/s──────────────┐┌Queue─────────────────────────────────────────────────────────────────────┐
│decoded         25.0  ││ ███████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░│
│published       25.0  ││200 frames, 52.0 MB of 520.0 MB (10 %), 10.0 s of work, oldest 9.0 s      │
│done            20.0  ││uploads: 1 in progress, 2 waiting                                         │
│counted         19.0  ││results: 4 waiting to be counted                                          │
└──────────────────────┘└──────────────────────────────────────────────────────────────────────────┘
┌Detectors: 2 active, 8 frames in flight, 0 pulls waiting──────────────────────────────────────────┐
│east:7                                                            10.0 frames/s      48.0 ms each │
│west:7                                                            10.0 frames/s      52.0 ms each │
└──────────────────────────────────────────────────────────────────────────────────────────────────┘
┌Videos: 1 decoding, 1 done (newest first)─────────────────────────────────────────────────────────┐
│NAME             STATE      PROGRESS         DONE          FAILED FRAMES/S TOP                    │
│bikes.mp4        decoding   ███░░░░░░░  38%  190/500            0     19.0 car 80, bicycle 52, per│
│aveiro.mkv       done       ██████████ 100%  120/120            0     40.0 car 80, bicycle 52, per│
│                                                                                                  │
│                                                                                                  │
│                                                                                                  │
│                                                                                                  │
│                                                                                                  │
└──────────────────────────────────────────────────────────────────────────────────────────────────┘
dead letters: 1  redelivered: 3  last alarm: 1 min 15 s ago, aveiro-mkv-1     q quit  s sort  ? help";
    assert_eq!(lines.join("\n"), expected);
}

#[test]
fn a_small_terminal_shows_the_figures_first() {
    let lines = screen(&example::running(), &mut Ui::default(), (60, 12), Instant::now());
    let expected = "\
moliceiro top  nats://127.0.0.1:4222  connected
frames/s     decoded 25.0   published 25.0   done 20.0   cou
queue        200 frames, 52.0 MB of 520.0 MB (10 %), 10.0 s
detectors    2 active in the last 10.0 s, 8 frames in flight
uploads      1 in progress, 2 waiting
results      4 waiting to be counted
redelivered  3 of the queued frames
dead letters 1
last alarm   1 min 15 s ago: aveiro-mkv-1
Videos: 1 decoding, 1 done (newest first)
NAME      STATE      PROGRESS         DONE          FRAMES/S
bikes.mp4 decoding   ███░░░░░░░  38%  190/500           19.0";
    assert_eq!(lines.join("\n"), expected);
}

#[test]
fn no_size_is_too_small_or_too_large() {
    let (state, empty) = (example::running(), State::new("nats://a:1".into(), Instant::now()));
    for (width, height) in (0..=110)
        .flat_map(|width| (0..=30).map(move |height| (width, height)))
        .chain([(500, 200), (3, 300)])
    {
        let mut ui = Ui { help: true, ..Ui::default() };
        for state in [&state, &empty] {
            ui.down();
            drawn(state, &mut ui, (width, height), Instant::now());
            ui.last_row();
        }
    }
}

#[test]
fn a_lost_connection_is_shown_with_the_age_of_the_figures() {
    let mut state = example::running();
    state.connected = false;
    let now = Instant::now() + Duration::from_secs(17);
    let lines = screen(&state, &mut Ui::default(), (100, 24), now);
    assert!(
        lines[0].contains("connection lost; reconnecting  (figures are 7.0 s old)"),
        "{}",
        lines[0]
    );
}

#[test]
fn videos_scroll_to_the_last_and_not_beyond() {
    let mut state = example::running();
    for n in 10..60 {
        let video = example::entry(&format!("{n}.mp4"), VideoState::Done, 1, 1);
        state.videos.update(Instant::now(), &video, std::time::SystemTime::now());
    }
    let mut ui = Ui::default();
    ui.sort();
    let top_row = |ui: &mut Ui| {
        screen(&state, ui, (100, 30), Instant::now())[13].split(' ').next().unwrap().to_owned()
    };
    assert_eq!(top_row(&mut ui), "│10.mp4");
    ui.down();
    assert_eq!(top_row(&mut ui), "│11.mp4");
    ui.page_down();
    assert_eq!(top_row(&mut ui), "│26.mp4");
    ui.last_row();
    assert_eq!(top_row(&mut ui), "│47.mp4");
    ui.down();
    top_row(&mut ui);
    ui.up();
    assert_eq!(top_row(&mut ui), "│46.mp4", "up from the end moves at once");
    ui.first_row();
    assert_eq!(top_row(&mut ui), "│10.mp4");
}

#[test]
fn many_detectors_are_counted_and_the_first_shown() {
    let (mut state, now) = (example::running(), Instant::now());
    for n in 0..20 {
        let detector = format!("more:{n}");
        let result = moliceiro_nats::messages::FrameResult {
            index: 0,
            pts: None,
            size: None,
            decoded_at: None,
            objects: moliceiro_nats::messages::Objects::default(),
            processing_us: 1,
            detector,
            model: None,
        };
        state.record_result(now, &result);
    }
    let lines = screen(&state, &mut Ui::default(), (100, 30), now);
    assert!(lines[7].contains("Detectors: 22 active"), "{}", lines[7]);
    assert!(lines[13].contains("and 17 more"), "{}", lines[13]);
}
