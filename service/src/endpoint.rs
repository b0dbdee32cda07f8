//! The HTTP endpoint of every service for monitoring: `/metrics`, `/healthz` and `/readyz`.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::readiness::NotReady;
use crate::settings::{Problem, Section};
use crate::telemetry::Telemetry;

/// Settings `[metrics]`: where a service serves its metrics and health.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsSettings {
    /// Where `/metrics`, `/healthz` and `/readyz` are served: an address such as `0.0.0.0:9472`,
    /// `auto` (the service's own port on this machine only) or `off`.
    pub listen: Listen,
}

/// Where to serve metrics and health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Listen {
    /// On the service's own port, for this machine only; nowhere if the port is in use.
    #[default]
    Auto,
    /// They are not served.
    Off,
    /// At this address; the service does not start if it is in use.
    At(SocketAddr),
}

/// A text that is not a [`Listen`].
#[derive(Debug, Error)]
#[error("give an address such as 0.0.0.0:9472, auto, or off")]
pub struct InvalidListen;

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Self, InvalidListen> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            address => address.parse().map(Self::At).map_err(|_| InvalidListen),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = InvalidListen;

    fn try_from(text: String) -> Result<Self, InvalidListen> {
        text.parse()
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        match listen {
            Listen::Auto => "auto".into(),
            Listen::Off => "off".into(),
            Listen::At(address) => address.to_string(),
        }
    }
}

impl Section for MetricsSettings {
    const NAME: &'static str = "metrics";

    fn problems(&self) -> Vec<Problem> {
        vec![]
    }
}

/// An address that the endpoint cannot listen on.
#[derive(Debug, Error)]
#[error(
    "cannot serve metrics at {address} ({source}): \
     set metrics.listen to another address, or to off"
)]
pub struct EndpointError {
    address: SocketAddr,
    source: io::Error,
}

/// Serves metrics and health as long as the runtime runs. `port` is the service's own, for
/// [`Listen::Auto`].
pub async fn start_endpoint(
    settings: &MetricsSettings,
    port: u16,
    telemetry: Telemetry,
) -> Result<(), EndpointError> {
    let (address, required) = match settings.listen {
        Listen::Off => return Ok(()),
        Listen::Auto => (SocketAddr::from(([127, 0, 0, 1], port)), false),
        Listen::At(address) => (address, true),
    };
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(source) if required => return Err(EndpointError { address, source }),
        Err(error) => {
            warn!(
                %address,
                %error,
                "not serving metrics, because the address is unavailable: \
                 set metrics.listen to serve them elsewhere"
            );
            return Ok(());
        }
    };
    let address = listener.local_addr().unwrap_or(address);
    info!("metrics and health on http://{address}");
    let routes = Router::new()
        .route("/metrics", get(exposition))
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .with_state(telemetry);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            warn!(%error, "stopped serving metrics");
        }
    });
    Ok(())
}

async fn exposition(State(telemetry): State<Telemetry>) -> Response {
    match telemetry.exposition() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The answer itself shows that the runtime is not blocked.
async fn alive() -> Json<BTreeMap<&'static str, bool>> {
    Json(BTreeMap::from([("alive", true)]))
}

/// The answer of `/readyz`.
#[derive(Serialize)]
struct Ready {
    ready: bool,
    /// For each condition `ok`, or why it is not met.
    conditions: BTreeMap<String, String>,
}

async fn ready(State(telemetry): State<Telemetry>) -> impl IntoResponse {
    let conditions = telemetry.readiness.check().await;
    let ready = !conditions.is_empty() && conditions.values().all(Result::is_ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let text = |met: Result<(), NotReady>| match met {
        Ok(()) => "ok".to_owned(),
        Err(reason) => reason.to_string(),
    };
    let conditions = conditions.into_iter().map(|(what, met)| (what, text(met))).collect();
    (status, Json(Ready { ready, conditions }))
}
