//! What the OpenAPI description says besides the routes, which the handlers describe themselves.

use moliceiro_nats::detections::Row;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};

use crate::frames::AnalysedFrame;
use crate::problem::ProblemBody;

const TOKEN: &str = "token";

/// The description without routes.
pub(crate) fn head() -> OpenApi {
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("Moliceiro")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Counts the objects in videos. Errors are problem details (RFC 9457)."))
        .license(Some(license));
    // Media types without a schema of their own name these in words.
    let components = ComponentsBuilder::new()
        .schema_from::<ProblemBody>()
        .schema_from::<Row>()
        .schema_from::<AnalysedFrame>();
    OpenApiBuilder::new().info(info.build()).components(Some(components.build())).build()
}

/// Adds the bearer token if the settings have tokens.
pub(crate) fn finish(mut description: OpenApi, tokens: bool) -> OpenApi {
    if tokens {
        let bearer =
            SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        let components =
            description.components.get_or_insert_with(|| ComponentsBuilder::new().build());
        components.security_schemes.insert(TOKEN.to_owned(), bearer.into());
        description.security = Some(vec![SecurityRequirement::new(TOKEN, Vec::<String>::new())]);
    }
    description
}
