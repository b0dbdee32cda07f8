//! The errors of each kind of request, for the OpenAPI description.

use utoipa::IntoResponses;

use crate::problem::ProblemBody;

/// Errors of any request.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it only describes the responses")]
pub(crate) enum RequestErrors {
    #[response(
        status = 400,
        description = "The request is malformed",
        content_type = "application/problem+json"
    )]
    BadRequest(#[to_schema] ProblemBody),
    #[response(
        status = 401,
        description = "The token is missing or wrong",
        content_type = "application/problem+json"
    )]
    Unauthorized(#[to_schema] ProblemBody),
    #[response(
        status = 421,
        description = "The service does not answer to the name in Host",
        content_type = "application/problem+json"
    )]
    Misdirected(#[to_schema] ProblemBody),
    #[response(
        status = 503,
        description = "The NATS server does not answer; Retry-After says when to retry",
        content_type = "application/problem+json"
    )]
    Unavailable(#[to_schema] ProblemBody),
}

/// Errors of a request for one video.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it only describes the responses")]
pub(crate) enum VideoErrors {
    #[response(
        status = 400,
        description = "The request is malformed",
        content_type = "application/problem+json"
    )]
    BadRequest(#[to_schema] ProblemBody),
    #[response(
        status = 401,
        description = "The token is missing or wrong",
        content_type = "application/problem+json"
    )]
    Unauthorized(#[to_schema] ProblemBody),
    #[response(
        status = 404,
        description = "The video is unknown",
        content_type = "application/problem+json"
    )]
    NotFound(#[to_schema] ProblemBody),
    #[response(
        status = 421,
        description = "The service does not answer to the name in Host",
        content_type = "application/problem+json"
    )]
    Misdirected(#[to_schema] ProblemBody),
    #[response(
        status = 503,
        description = "The NATS server does not answer; Retry-After says when to retry",
        content_type = "application/problem+json"
    )]
    Unavailable(#[to_schema] ProblemBody),
}

/// Further errors of a cancellation.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it only describes the responses")]
pub(crate) enum CancelErrors {
    #[response(
        status = 403,
        description = "A page of another web site sent the request",
        content_type = "application/problem+json"
    )]
    Forbidden(#[to_schema] ProblemBody),
    #[response(
        status = 409,
        description = "The video has ended already",
        content_type = "application/problem+json"
    )]
    Conflict(#[to_schema] ProblemBody),
}

/// Errors of an upload.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it only describes the responses")]
pub(crate) enum UploadErrors {
    #[response(
        status = 400,
        description = "The request is malformed or truncated",
        content_type = "application/problem+json"
    )]
    BadRequest(#[to_schema] ProblemBody),
    #[response(
        status = 401,
        description = "The token is missing or wrong",
        content_type = "application/problem+json"
    )]
    Unauthorized(#[to_schema] ProblemBody),
    #[response(
        status = 403,
        description = "The URI may not be read, or a page of another web site sent the request",
        content_type = "application/problem+json"
    )]
    Forbidden(#[to_schema] ProblemBody),
    #[response(
        status = 408,
        description = "The client paused for too long",
        content_type = "application/problem+json"
    )]
    Timeout(#[to_schema] ProblemBody),
    #[response(
        status = 413,
        description = "The request is larger than the settings allow",
        content_type = "application/problem+json"
    )]
    TooLarge(#[to_schema] ProblemBody),
    #[response(
        status = 415,
        description = "The content type is not supported here",
        content_type = "application/problem+json"
    )]
    UnsupportedType(#[to_schema] ProblemBody),
    #[response(
        status = 421,
        description = "The service does not answer to the name in Host",
        content_type = "application/problem+json"
    )]
    Misdirected(#[to_schema] ProblemBody),
    #[response(
        status = 422,
        description = "A value is invalid, or the Idempotency-Key was used for other content",
        content_type = "application/problem+json"
    )]
    Unprocessable(#[to_schema] ProblemBody),
    #[response(
        status = 429,
        description = "Too many uploads are in progress; Retry-After says when to retry",
        content_type = "application/problem+json"
    )]
    TooMany(#[to_schema] ProblemBody),
    #[response(
        status = 503,
        description = "The NATS server does not answer; Retry-After says when to retry",
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
