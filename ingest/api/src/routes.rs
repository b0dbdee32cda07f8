use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::{Json, Router, middleware};
use serde::Serialize;
use tower_http::cors::CorsLayer;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::Problem;
use crate::query::{KnownParameters, check_parameters};
use crate::responses::RequestErrors;
use crate::state::SharedState;
use crate::{
    add_model, analyses, audit, auth, compare, detections, events, frames, models, openapi, page,
    storage, summary, thumbnails, upload, upload_form, video, video_list, work,
};

type Routes = OpenApiRouter<SharedState>;

/// Adds each route in a function of its own: building its description takes much stack.
fn routes() -> Routes {
    let add: [fn(Routes) -> Routes; 19] = [
        |routes| routes.routes(routes!(show_index)),
        |routes| routes.routes(routes!(upload_form::upload_form)),
        |routes| routes.routes(routes!(upload::upload_video)),
        |routes| routes.routes(routes!(video_list::list_videos)),
        |routes| routes.routes(routes!(video::show_video, video::cancel_video)),
        |routes| routes.routes(routes!(events::follow_video)),
        |routes| routes.routes(routes!(compare::list_analyses)),
        |routes| routes.routes(routes!(compare::compare_analyses)),
        |routes| routes.routes(routes!(detections::list_detections)),
        |routes| routes.routes(routes!(frames::list_frames)),
        |routes| routes.routes(routes!(summary::show_summary)),
        |routes| routes.routes(routes!(thumbnails::list_stills)),
        |routes| routes.routes(routes!(analyses::analyse_video)),
        |routes| routes.routes(routes!(analyses::list_tracks)),
        |routes| routes.routes(routes!(analyses::list_crossings)),
        |routes| routes.routes(routes!(analyses::list_visits)),
        |routes| routes.routes(routes!(models::list_models, add_model::add_model)),
        |routes| routes.routes(routes!(models::show_model, models::remove_model)),
        |routes| routes.routes(routes!(work::show_work)),
    ];
    add.into_iter().fold(OpenApiRouter::with_openapi(openapi::head()), |routes, add| add(routes))
}

/// All routes, with their guards: the last layer is the first that a request passes.
pub(crate) fn router(state: SharedState) -> Router {
    let (routes, description) = routes().split_for_parts();
    let description = openapi::finish(description, state.tokens.are_required());
    let known = KnownParameters::of(&description);
    let guarded = routes
        .layer(middleware::from_fn_with_state(state.clone(), storage::report_full))
        .layer(middleware::from_fn_with_state(known, check_parameters))
        .layer(middleware::from_fn_with_state(state.clone(), audit::record))
        .layer(middleware::from_fn_with_state(state.clone(), auth::check_token));
    let open = Router::new()
        .route("/openapi.json", axum::routing::get(async || Json(description)))
        .route("/page/{*name}", axum::routing::get(page::file));
    let router = guarded
        .merge(open)
        .fallback(async || {
            Problem::new(
                StatusCode::NOT_FOUND,
                "unknown path; GET /openapi.json describes all paths",
            )
        })
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path does not support the method; GET /openapi.json describes all methods",
            )
        })
        .layer(middleware::from_fn(page::at_root))
        .layer(middleware::from_fn_with_state(state.clone(), auth::check_origin))
        .layer(middleware::from_fn_with_state(state.clone(), auth::check_host));
    let origins = state.origins.clone();
    let router = if origins.is_empty() { router } else { router.layer(cors(origins)) };
    router.with_state(state)
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

/// The entry point for clients.
#[derive(Serialize, ToSchema)]
struct Index {
    /// `moliceiro-ingest`
    name: &'static str,
    /// The version of this program.
    version: &'static str,
    /// The list of videos; POST there to add one.
    videos: &'static str,
    /// The OpenAPI description.
    openapi: &'static str,
}

/// Shows the entry point
///
/// Browsers, which prefer HTML to JSON, get the page instead.
#[utoipa::path(
    get, path = "/", tag = "videos",
    responses(
        (
            status = 200, description = "Links to the list of videos and to the description",
            content((Index = "application/json"), (String = "text/html"))
        ),
        RequestErrors
    )
)]
async fn show_index() -> Json<Index> {
    Json(Index {
        name: "moliceiro-ingest",
        version: env!("CARGO_PKG_VERSION"),
        videos: "/videos",
        openapi: "/openapi.json",
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use std::collections::BTreeSet;

    use super::*;

    fn references(value: &Value) -> Vec<String> {
        let mut found: Vec<_> = match value {
            Value::Object(fields) => fields.values().flat_map(references).collect(),
            Value::Array(items) => items.iter().flat_map(references).collect(),
            _ => vec![],
        };
        found.extend(value.get("$ref").and_then(Value::as_str).map(str::to_owned));
        found
    }

    #[test]
    fn the_description_defines_every_schema_it_refers_to() {
        let description = serde_json::to_value(routes().split_for_parts().1).unwrap();
        let references = references(&description);
        assert!(references.contains(&"#/components/schemas/VideoByUri".to_owned()));
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(description.pointer(pointer).is_some(), "{reference}");
        }
    }

    /// Generated clients name their functions by them.
    #[test]
    fn every_request_has_a_name_of_its_own() {
        let description = serde_json::to_value(routes().split_for_parts().1).unwrap();
        let requests = description["paths"].as_object().unwrap().values();
        let names: Vec<_> = requests
            .flat_map(|methods| methods.as_object().unwrap().values())
            .filter_map(|request| request["operationId"].as_str())
            .collect();
        assert!(names.len() >= 11, "{names:?}");
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    }
}
