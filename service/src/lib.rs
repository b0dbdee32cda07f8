//! What every Moliceiro service has: settings, logs, metrics, health and an orderly shutdown.
//!
//! A service's `main` passes through this crate in this order:
//!
//! 1. [`main`] parses the command line, with [`CommonArguments`] in it, and turns errors into exit
//!    codes.
//! 2. [`CommonArguments::loader`] loads [`Settings`]; [`Service::from_settings`] checks the
//!    sections that the service uses.
//! 3. [`serve`] starts logs, the runtime, the endpoint for metrics and health ([`Telemetry`]), and
//!    signal handling, and runs the service until it returns.
//! 4. The service calls [`connect_streams`] to connect to NATS and open its streams.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use clap::Parser;
//! use moliceiro_service::settings::{Problem, Section};
//! use moliceiro_service::{CommonArguments, Service, ServiceSection, connect_streams};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Parser)]
//! struct Arguments {
//!     #[command(flatten)]
//!     common: CommonArguments,
//! }
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct ExampleSettings {}
//!
//! impl Section for ExampleSettings {
//!     const NAME: &'static str = "example";
//!
//!     fn problems(&self) -> Vec<Problem> {
//!         vec![]
//!     }
//! }
//!
//! impl ServiceSection for ExampleSettings {
//!     const METRICS_PORT: u16 = 9999;
//! }
//!
//! fn main() -> ExitCode {
//!     moliceiro_service::main(|arguments: Arguments| {
//!         let settings = arguments.common.loader().load()?;
//!         let service = Service::<ExampleSettings>::from_settings(&settings)?;
//!         moliceiro_service::serve(&service.base, async |telemetry, shutdown| {
//!             let streams = connect_streams(&service, 64, &telemetry).await?;
//!             shutdown.cancelled().await;
//!             streams.flush().await;
//!             anyhow::Ok(())
//!         })
//!     })
//! }
//! ```

mod arguments;
mod bundled;
mod connect;
mod endpoint;
mod logs;
mod memory;
pub mod metrics;
mod output;
mod program;
mod readiness;
mod service;
pub mod settings;
mod shutdown;
mod telemetry;

pub use arguments::CommonArguments;
pub use bundled::bundled;
pub use connect::{OpenError, connect_streams};
pub use endpoint::{EndpointError, Listen, MetricsSettings, start_endpoint};
pub use logs::{LogFormat, LogSettings, start_logging, start_logging_to};
pub use memory::release_memory;
pub use output::{is_output_closed, stdout};
pub use program::{Base, EX_USAGE, main, main_explaining, parse_arguments, serve};
pub use readiness::{NotReady, Readiness};
pub use service::{Service, ServiceSection};
pub use settings::{Loader, Section, Settings, SettingsError};
pub use shutdown::shutdown_on_signals;
pub use telemetry::Telemetry;
