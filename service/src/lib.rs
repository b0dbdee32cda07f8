//! What every Moliceiro service is: a program with settings, logs and an orderly end.
//!
//! A service's `main` is one call of [`main`]; its arguments hold [`CommonArguments`], which know how to load settings.

mod arguments;
mod bundled;
mod logs;
mod program;
pub mod settings;
mod shutdown;

pub use arguments::CommonArguments;
pub use bundled::bundled;
pub use logs::{LogFormat, LogSettings, start_logging, start_logging_to};
pub use program::{EX_USAGE, main, parse_arguments, serve};
pub use settings::{Loader, Section, Settings, SettingsError};
pub use shutdown::shutdown_on_signals;
