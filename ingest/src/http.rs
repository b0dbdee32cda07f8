//! Uploads, and what becomes of them, by HTTP.
//!
//! The way of an upload: `upload` reads the request, `incoming` bounds it, its bytes go chunk by
//! chunk into the object store, and `accept` queues the video; only then it is answered. From there
//! on the video is in the streams, and this service may die. `videos`, `events` and `detections`
//! read what the streams and the bucket of videos hold.

mod accept;
mod auth;
mod description;
mod detections;
mod events;
mod frames;
mod incoming;
mod keys;
mod negotiation;
mod page;
mod problem;
mod selection;
mod stills;
mod summary;
mod tls;
mod upload;
mod videos;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::{Json, Router, middleware};
use axum_server::Handle;
use moliceiro_nats::objects::Objects;
use moliceiro_nats::publish::StoreError;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::cors::CorsLayer;
use tracing::info;
use utoipa::{IntoResponses, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::settings::IngestSettings;
use crate::uploads::Context as Means;
use auth::Tokens;
use keys::Keys;
use problem::{Problem, ProblemBody};

/// Chunks of all uploads together that are on their way to the object store: with 256 KiB each, 16
/// MiB.
const CHUNKS_IN_FLIGHT: usize = 64;
const STORE_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests that are in hand at the end have so long to be answered.
const GRACE: Duration = Duration::from_secs(5);

/// Why there is no HTTP.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The address cannot be had.
    #[error(
        "ingest.listen {address}: {source}; give another HOST:PORT, or nothing for no HTTP: --listen ''"
    )]
    Listen {
        /// The setting.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("{setting} {file} cannot be used: {reason}")]
    Tls {
        /// Which.
        setting: &'static str,
        /// The setting.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server ended by itself.
    #[error("the HTTP server failed: {0}")]
    Failed(std::io::Error),
}

/// A place to listen at, before there is anything to answer with.
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
}

/// Takes the address, and reads the certificate. `None` if no HTTP is wanted.
pub(crate) fn bind(settings: &IngestSettings) -> Result<Option<Listener>, HttpError> {
    if settings.listen.is_empty() {
        return Ok(None);
    }
    let tls = tls::configuration(settings)?;
    let refused = |source| HttpError::Listen { address: settings.listen.clone(), source };
    let socket = TcpListener::bind(&settings.listen).map_err(refused)?;
    let address = socket.local_addr().map_err(refused)?;
    Ok(Some(Listener { socket, address, tls }))
}

/// What every request is answered with. Cheap to clone.
#[derive(Clone)]
struct Api(Arc<Parts>);

impl std::ops::Deref for Api {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

struct Parts {
    means: Means,
    /// The object store over a context of its own, so that uploads leave room for frames.
    objects: Objects,
    keys: Keys,
    settings: IngestSettings,
    tokens: Tokens,
    origins: Vec<HeaderValue>,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// A place among the uploads that are taken at the same time.
fn admit(api: &Api) -> Result<OwnedSemaphorePermit, Problem> {
    api.permits.clone().try_acquire_owned().map_err(|_| Problem::too_many(api.settings.uploads))
}

/// Stores what a client asks for, unless the streams are full or out of reach for too long.
async fn in_time<T>(storing: impl Future<Output = Result<T, StoreError>>) -> Result<T, Problem> {
    match tokio::time::timeout(STORE_TIMEOUT, storing).await {
        Ok(stored) => stored.map_err(Problem::unavailable),
        Err(_) => Err(Problem::unavailable("it is not stored yet")),
    }
}

/// Serves until `shutdown`, then finishes what is in hand.
pub(crate) async fn serve(
    listener: Listener,
    means: Means,
    settings: &IngestSettings,
    shutdown: &CancellationToken,
) -> Result<(), HttpError> {
    let jetstream = uploads_context(&means.streams.jetstream);
    let tasks = TaskTracker::new();
    let api = Api(Arc::new(Parts {
        objects: means.streams.objects.through(jetstream),
        keys: Keys(means.streams.requests.clone()),
        means,
        settings: settings.clone(),
        tokens: Tokens::new(&settings.tokens),
        origins: settings
            .origins
            .iter()
            .filter_map(|origin| HeaderValue::from_str(origin).ok())
            .collect(),
        permits: Arc::new(Semaphore::new(settings.uploads)),
        tasks: tasks.clone(),
        shutdown: shutdown.clone(),
    }));
    let Listener { socket, address, tls } = listener;
    let handle = Handle::new();
    let service = router(api).into_make_service();
    info!(%address, tls = tls.is_some(), "listening for HTTP");
    let stopping = async {
        shutdown.cancelled().await;
        handle.graceful_shutdown(Some(GRACE));
        std::future::pending().await
    };
    let mut server = axum_server::from_tcp(socket)
        .map_err(HttpError::Failed)?
        .handle(handle.clone())
        .http1_only();
    server.http_builder().http1().header_read_timeout(settings.header_timeout);
    let serving = async {
        match tls {
            Some(config) => {
                server.map(|_| tls::acceptor(config, settings.header_timeout)).serve(service).await
            }
            None => server.serve(service).await,
        }
    };
    tokio::select! {
        served = serving => served.map_err(HttpError::Failed)?,
        () = stopping => {}
    }
    tasks.close();
    // What is not done by then clears up by itself when it is too old.
    let _ = tokio::time::timeout(GRACE, tasks.wait()).await;
    Ok(())
}

fn uploads_context(jetstream: &Context) -> Context {
    ContextBuilder::new()
        .timeout(STORE_TIMEOUT)
        .ack_timeout(STORE_TIMEOUT)
        .max_ack_inflight(CHUNKS_IN_FLIGHT)
        .build(jetstream.client())
}

type Routes = OpenApiRouter<Api>;

/// Each in a function of its own: what describes them takes much of a thread's stack while it is
/// made.
fn routes() -> Routes {
    let add: [fn(Routes) -> Routes; 10] = [
        |routes| routes.routes(routes!(index)),
        |routes| routes.routes(routes!(upload::upload_form)),
        |routes| routes.routes(routes!(upload::upload_video)),
        |routes| routes.routes(routes!(videos::list)),
        |routes| routes.routes(routes!(videos::show, videos::cancel)),
        |routes| routes.routes(routes!(events::follow)),
        |routes| routes.routes(routes!(detections::list)),
        |routes| routes.routes(routes!(frames::list)),
        |routes| routes.routes(routes!(summary::show)),
        |routes| routes.routes(routes!(stills::list)),
    ];
    add.into_iter()
        .fold(OpenApiRouter::with_openapi(description::head()), |routes, add| add(routes))
}

fn router(api: Api) -> Router {
    let (routes, description) = routes().split_for_parts();
    let description = description::finish(description, !api.tokens.is_empty());
    let open = Router::new().route("/openapi.json", axum::routing::get(async || Json(description)));
    let open = open.route("/page/{*name}", axum::routing::get(page::file));
    let guarded = routes.layer(middleware::from_fn_with_state(api.clone(), auth::check_token));
    let router = guarded
        .merge(open)
        .fallback(async || {
            Problem::new(
                StatusCode::NOT_FOUND,
                "there is nothing here; GET /openapi.json tells what there is",
            )
        })
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this cannot be done here; GET /openapi.json tells what can",
            )
        })
        .layer(middleware::from_fn(page::at_root))
        .layer(middleware::from_fn_with_state(api.clone(), auth::check_origin))
        .layer(middleware::from_fn_with_state(api.clone(), auth::check_host));
    let origins = api.origins.clone();
    let router = if origins.is_empty() { router } else { router.layer(cors(origins)) };
    router.with_state(api)
}

fn cors(origins: Vec<HeaderValue>) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::HeaderName::from_static("idempotency-key"),
        ])
        .expose_headers([header::LOCATION, header::LINK, header::RETRY_AFTER])
}

/// What there is.
#[derive(Serialize, ToSchema)]
struct Index {
    /// `moliceiro-ingest`
    name: &'static str,
    /// The version of this program.
    version: &'static str,
    /// The list of videos; POST there to add one.
    videos: &'static str,
    /// The description of all that can be asked.
    openapi: &'static str,
}

/// Tells what there is
///
/// To who likes HTML better it is a page to use all of this with.
#[utoipa::path(get, path = "/", tag = "videos", responses((status = 200, description = "Where to go on", content((Index = "application/json"), (String = "text/html"))), Refused))]
async fn index() -> Json<Index> {
    Json(Index {
        name: "moliceiro-ingest",
        version: env!("CARGO_PKG_VERSION"),
        videos: "/videos",
        openapi: "/openapi.json",
    })
}

/// What any request can be refused with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes what problems are made of")]
enum Refused {
    #[response(
        status = 400,
        description = "The request cannot be understood",
        content_type = "application/problem+json"
    )]
    BadRequest(#[to_schema] ProblemBody),
    #[response(
        status = 401,
        description = "A token has to be shown",
        content_type = "application/problem+json"
    )]
    Unauthorized(#[to_schema] ProblemBody),
    #[response(
        status = 421,
        description = "The service is not known by the name that is in Host",
        content_type = "application/problem+json"
    )]
    Misdirected(#[to_schema] ProblemBody),
    #[response(
        status = 503,
        description = "The NATS server does not answer; Retry-After says when to try again",
        content_type = "application/problem+json"
    )]
    Unavailable(#[to_schema] ProblemBody),
}

/// What a request for one video can be refused with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes what problems are made of")]
enum Unknown {
    #[response(
        status = 400,
        description = "The request cannot be understood",
        content_type = "application/problem+json"
    )]
    BadRequest(#[to_schema] ProblemBody),
    #[response(
        status = 401,
        description = "A token has to be shown",
        content_type = "application/problem+json"
    )]
    Unauthorized(#[to_schema] ProblemBody),
    #[response(
        status = 421,
        description = "The service is not known by the name that is in Host",
        content_type = "application/problem+json"
    )]
    Misdirected(#[to_schema] ProblemBody),
    #[response(
        status = 404,
        description = "There is no such video",
        content_type = "application/problem+json"
    )]
    NotFound(#[to_schema] ProblemBody),
    #[response(
        status = 503,
        description = "The NATS server does not answer; Retry-After says when to try again",
        content_type = "application/problem+json"
    )]
    Unavailable(#[to_schema] ProblemBody),
}

/// What a video that is over answers to.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes what problems are made of")]
enum Over {
    #[response(
        status = 403,
        description = "A page of another web site sends it",
        content_type = "application/problem+json"
    )]
    Forbidden(#[to_schema] ProblemBody),
    #[response(
        status = 409,
        description = "Nothing more will happen to the video",
        content_type = "application/problem+json"
    )]
    Conflict(#[to_schema] ProblemBody),
}

/// What an upload can be refused with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes what problems are made of")]
enum Refusals {
    #[response(
        status = 400,
        description = "The request cannot be understood, or breaks off",
        content_type = "application/problem+json"
    )]
    BadRequest(#[to_schema] ProblemBody),
    #[response(
        status = 401,
        description = "A token has to be shown",
        content_type = "application/problem+json"
    )]
    Unauthorized(#[to_schema] ProblemBody),
    #[response(
        status = 421,
        description = "The service is not known by the name that is in Host",
        content_type = "application/problem+json"
    )]
    Misdirected(#[to_schema] ProblemBody),
    #[response(
        status = 403,
        description = "The URI may not be read, or a page of another web site sends it",
        content_type = "application/problem+json"
    )]
    Forbidden(#[to_schema] ProblemBody),
    #[response(
        status = 408,
        description = "Nothing came for too long",
        content_type = "application/problem+json"
    )]
    Timeout(#[to_schema] ProblemBody),
    #[response(
        status = 413,
        description = "It is larger than the settings allow",
        content_type = "application/problem+json"
    )]
    TooLarge(#[to_schema] ProblemBody),
    #[response(
        status = 415,
        description = "It is of another kind",
        content_type = "application/problem+json"
    )]
    Unsupported(#[to_schema] ProblemBody),
    #[response(
        status = 422,
        description = "It cannot be a video, or the key was used for another content",
        content_type = "application/problem+json"
    )]
    Unprocessable(#[to_schema] ProblemBody),
    #[response(
        status = 429,
        description = "Too many uploads are being taken; Retry-After says when to try again",
        content_type = "application/problem+json"
    )]
    TooMany(#[to_schema] ProblemBody),
    #[response(
        status = 503,
        description = "The NATS server does not answer; Retry-After says when to try again",
        content_type = "application/problem+json"
    )]
    Unavailable(#[to_schema] ProblemBody),
    #[response(
        status = 507,
        description = "The object store is full",
        content_type = "application/problem+json"
    )]
    Full(#[to_schema] ProblemBody),
}
