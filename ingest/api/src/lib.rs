//! The HTTP API: uploads, queries, their OpenAPI description, and the page for browsers.
//!
//! This crate reads and writes what is in the streams; it neither decodes videos nor calls another
//! service. The service that serves it passes a [`Backend`]: the streams, its [`UriPolicy`], and
//! the default for `every`.
//!
//! The path of a request:
//!
//! 1. [`bind`] opens the address and reads the certificate, before the NATS server is connected.
//!    [`serve`] accepts connections until shutdown, and then finishes the requests in flight.
//! 2. `routes` lists all paths, each with its guards in `auth`: the name in Host, the origin of a
//!    page, the token. `query` rejects unknown parameters (`suggestion` names the nearest). `page`
//!    serves the page's files to browsers.
//! 3. An upload is received by `upload` (bytes, or JSON with a URI) or by `upload_form` (a form
//!    with files). `body` limits its size and the client's pauses; its bytes go into the object
//!    store chunk by chunk. `options` has the fields that say what to count.
//! 4. `submit` checks the URI against the policy, recognises a repeated request by its key
//!    (`idempotency`), and queues the video. Only then the client gets 202, and the video survives
//!    the failure of any service.
//! 5. A query finds its video in `video`, or several in `video_list`. `events`, `detections`,
//!    `frames`, `summary` and `thumbnails` respond with what the streams have of it, in the format
//!    that `negotiation` chooses; `compare` with how the analyses by two models differ.
//! 6. An error becomes a `problem` (RFC 9457). `responses` and `openapi` describe all of this.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use futures_util::future::BoxFuture;
//! use moliceiro_api::{Backend, HttpError, HttpSettings, UriPolicy, UriRefused, bind, serve};
//! use moliceiro_nats::Streams;
//! use moliceiro_nats::messages::{ModelId, UploadDefaults};
//! use tokio_util::sync::CancellationToken;
//! use url::Url;
//!
//! struct Everything;
//!
//! impl UriPolicy for Everything {
//!     fn permit<'a>(&'a self, _: &'a Url) -> BoxFuture<'a, Result<(), UriRefused>> {
//!         Box::pin(std::future::ready(Ok(())))
//!     }
//! }
//!
//! async fn serve_api(streams: Streams, shutdown: CancellationToken) -> Result<(), HttpError> {
//!     let settings = HttpSettings::default();
//!     let Some(listener) = bind(&settings)? else { return Ok(()) };
//!     let defaults = UploadDefaults::default();
//!     let uri_policy = Arc::new(Everything);
//!     let (default_every, default_model) = (1, ModelId::default());
//!     let backend = Backend { streams, uri_policy, default_every, default_model, defaults };
//!     serve(listener, backend, &settings, &shutdown).await
//! }
//! ```

mod add_model;
mod analyses;
mod audit;
mod auth;
mod body;
mod compare;
mod detections;
mod error;
mod events;
mod frames;
mod idempotency;
mod models;
mod negotiation;
mod openapi;
mod options;
mod page;
mod problem;
mod query;
mod responses;
mod result_stream;
mod routes;
mod scope;
mod server;
mod settings;
mod state;
mod storage;
mod submit;
mod suggestion;
mod summary;
mod thumbnails;
mod tls;
mod tokens;
mod upload;
mod upload_form;
mod uri_policy;
mod video;
mod video_list;
mod work;

pub use error::{HttpError, TlsFileError};
pub use server::{Listener, bind, serve};
pub use settings::{HttpSettings, Token};
pub use state::Backend;
pub use tokens::TokensFileError;
pub use uri_policy::{UriPolicy, UriRefused};
