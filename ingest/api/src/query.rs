//! Rejects query parameters that a request does not have: a misspelt one would have no effect.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::{OpenApi, RefOr};

use crate::problem::Problem;
use crate::suggestion::unknown;

/// The query parameters of each method and path.
#[derive(Clone)]
pub(crate) struct KnownParameters(Arc<HashMap<(Method, String), Vec<String>>>);

impl KnownParameters {
    /// Those in the description, which the handlers' own types make.
    pub(crate) fn of(description: &OpenApi) -> Self {
        let requests = description.paths.paths.iter().flat_map(|(path, item)| {
            operations(item).map(|(method, operation)| {
                let parameters = operation.parameters.iter().flatten();
                let names = parameters
                    .filter_map(|parameter| match parameter {
                        RefOr::T(parameter) => Some(parameter),
                        RefOr::Ref(_) => None,
                    })
                    .filter(|parameter| parameter.parameter_in == ParameterIn::Query)
                    .map(|parameter| parameter.name.clone());
                ((method, path.clone()), names.collect())
            })
        });
        Self(Arc::new(requests.collect()))
    }

    fn check(&self, method: &Method, path: &str, query: &str) -> Result<(), Problem> {
        // A HEAD request is answered as GET.
        let method = if *method == Method::HEAD { Method::GET } else { method.clone() };
        let Some(known) = self.0.get(&(method, path.to_owned())) else { return Ok(()) };
        let is_unknown = |name: &str| known.iter().all(|other| other != name);
        let mut names = url::form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
        match names.find(|name| is_unknown(name)) {
            Some(name) => Err(unknown("query parameter", &name, known.iter().map(String::as_str))),
            None => Ok(()),
        }
    }
}

fn operations(item: &PathItem) -> impl Iterator<Item = (Method, &Operation)> {
    [
        (Method::GET, &item.get),
        (Method::POST, &item.post),
        (Method::DELETE, &item.delete),
        (Method::PUT, &item.put),
        (Method::PATCH, &item.patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

/// Rejects requests with an unknown query parameter.
pub(crate) async fn check_parameters(
    State(known): State<KnownParameters>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if let (Some(path), Some(query)) = (path, request.uri().query()) {
        known.check(request.method(), path.as_str(), query)?;
    }
    Ok(next.run(request).await)
}
