//! What every Moliceiro service is: a program with settings, logs, metrics and an orderly end.
//!
//! A service's `main` is one call of [`main`]; its arguments hold [`CommonArguments`], which know
//! how to load settings.

mod arguments;
mod bundled;
mod endpoint;
mod logs;
pub mod metrics;
mod open;
mod program;
mod readiness;
pub mod settings;
mod shutdown;
mod telemetry;

pub use arguments::CommonArguments;
pub use bundled::bundled;
pub use endpoint::{EndpointError, Listen, MetricsSettings, start_endpoint};
pub use logs::{LogFormat, LogSettings, start_logging, start_logging_to};
pub use open::{OpenError, open_streams};
pub use program::{Base, EX_USAGE, main, parse_arguments, serve};
pub use readiness::Readiness;
pub use settings::{Loader, Section, Settings, SettingsError};
pub use shutdown::shutdown_on_signals;
pub use telemetry::Telemetry;
