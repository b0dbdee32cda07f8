//! The programs as their users run them, on real servers, from outside.
//!
//! All in one binary, side by side: each test has servers, folders and addresses of its own, so
//! that tests that wait cost the others nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![expect(clippy::cast_possible_truncation, reason = "test videos are short")]

mod browser;

mod access;
mod accounts;
mod alarms;
mod backup;
mod bad_input;
mod bad_models;
mod bench;
mod cancel;
mod cluster;
mod command_line;
mod decoders;
mod deploy;
mod doctor;
mod evaluate;
mod fewer_frames;
mod full_disk;
mod http;
mod http_description;
mod http_limits;
mod kept;
mod killed;
mod live;
mod messages;
mod model_check;
mod models;
mod network;
mod observed;
mod page;
mod processes;
mod prometheus;
mod random_runs;
mod repair;
mod run;
mod scale;
mod settings;
mod sources;
mod static_camera;
mod top;
mod tracks;
mod trouble;
mod upgrade;
mod waiting;
