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
    BadRequest(ProblemBody),
    #[response(
        status = 401,
        description = "The token is missing or wrong",
        content_type = "application/problem+json"
    )]
    Unauthorized(ProblemBody),
    #[response(
        status = 403,
        description = "The token is not for this",
        content_type = "application/problem+json"
    )]
    Forbidden(ProblemBody),
    #[response(
        status = 421,
        description = "The service does not answer to the name in Host",
        content_type = "application/problem+json"
    )]
    Misdirected(ProblemBody),
    #[response(
        status = 503,
        description = "The NATS server does not answer; Retry-After says when to retry",
        content_type = "application/problem+json"
    )]
    Unavailable(ProblemBody),
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
    BadRequest(ProblemBody),
    #[response(
        status = 401,
        description = "The token is missing or wrong",
        content_type = "application/problem+json"
    )]
    Unauthorized(ProblemBody),
    #[response(
        status = 403,
        description = "The token is not for this",
        content_type = "application/problem+json"
    )]
    Forbidden(ProblemBody),
    #[response(
        status = 404,
        description = "The video is unknown",
        content_type = "application/problem+json"
    )]
    NotFound(ProblemBody),
    #[response(
        status = 421,
        description = "The service does not answer to the name in Host",
        content_type = "application/problem+json"
    )]
    Misdirected(ProblemBody),
    #[response(
        status = 503,
        description = "The NATS server does not answer; Retry-After says when to retry",
        content_type = "application/problem+json"
    )]
    Unavailable(ProblemBody),
    #[response(
        status = 500,
        description = "The video's entry is damaged; an aggregator rebuilds it",
        content_type = "application/problem+json"
    )]
    Damaged(ProblemBody),
}

/// Further errors of an analysis of stored results.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it only describes the responses")]
pub(crate) enum AnalysisErrors {
    #[response(
        status = 409,
        description = "The video has not been started yet",
        content_type = "application/problem+json"
    )]
    Conflict(ProblemBody),
}

/// Errors of a request for one model.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it only describes the responses")]
pub(crate) enum ModelErrors {
    #[response(
        status = 400,
        description = "The request is malformed",
        content_type = "application/problem+json"
    )]
    BadRequest(ProblemBody),
    #[response(
        status = 401,
        description = "The token is missing or wrong",
        content_type = "application/problem+json"
    )]
    Unauthorized(ProblemBody),
    #[response(
        status = 404,
        description = "The model is unknown",
        content_type = "application/problem+json"
    )]
    NotFound(ProblemBody),
    #[response(
        status = 421,
        description = "The service does not answer to the name in Host",
        content_type = "application/problem+json"
    )]
    Misdirected(ProblemBody),
    #[response(
        status = 503,
        description = "The NATS server does not answer; Retry-After says when to retry",
        content_type = "application/problem+json"
    )]
    Unavailable(ProblemBody),
}

/// Further errors of the removal of a model.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it only describes the responses")]
pub(crate) enum RemoveModelErrors {
    #[response(
        status = 403,
        description = "The token is not for this, or a page of another web site sent the request",
        content_type = "application/problem+json"
    )]
    Forbidden(ProblemBody),
    #[response(
        status = 409,
        description = "Unfinished videos need the model",
        content_type = "application/problem+json"
    )]
    Conflict(ProblemBody),
    #[response(
        status = 422,
        description = "The model is built in",
        content_type = "application/problem+json"
    )]
    Unprocessable(ProblemBody),
}

/// Further errors of a cancellation or deletion.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it only describes the responses")]
pub(crate) enum CancelErrors {
    #[response(
        status = 403,
        description = "The token is not for this, or a page of another web site sent the request",
        content_type = "application/problem+json"
    )]
    Forbidden(ProblemBody),
    #[response(
        status = 409,
        description = "The video has ended already; or, to be deleted, not yet",
        content_type = "application/problem+json"
    )]
    Conflict(ProblemBody),
}

/// Further errors of a comparison.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it only describes the responses")]
pub(crate) enum CompareErrors {
    #[response(
        status = 409,
        description = "One of the analyses is not finished",
        content_type = "application/problem+json"
    )]
    Conflict(ProblemBody),
    #[response(
        status = 422,
        description = "There are not two models of these names",
        content_type = "application/problem+json"
    )]
    Unprocessable(ProblemBody),
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
    BadRequest(ProblemBody),
    #[response(
        status = 401,
        description = "The token is missing or wrong",
        content_type = "application/problem+json"
    )]
    Unauthorized(ProblemBody),
    #[response(
        status = 403,
        description = "The URI may not be read, the token is not for this, or a page of another web site sent the request",
        content_type = "application/problem+json"
    )]
    Forbidden(ProblemBody),
    #[response(
        status = 408,
        description = "The client paused for too long",
        content_type = "application/problem+json"
    )]
    Timeout(ProblemBody),
    #[response(
        status = 413,
        description = "The request is larger than the settings allow",
        content_type = "application/problem+json"
    )]
    TooLarge(ProblemBody),
    #[response(
        status = 415,
        description = "The content type is not supported here, or the content is encoded",
        content_type = "application/problem+json"
    )]
    UnsupportedType(ProblemBody),
    #[response(
        status = 421,
        description = "The service does not answer to the name in Host",
        content_type = "application/problem+json"
    )]
    Misdirected(ProblemBody),
    #[response(
        status = 422,
        description = "A value is invalid, or the Idempotency-Key was used for other content",
        content_type = "application/problem+json"
    )]
    Unprocessable(ProblemBody),
    #[response(
        status = 429,
        description = "Too many uploads are in progress; Retry-After says when to retry",
        content_type = "application/problem+json"
    )]
    TooMany(ProblemBody),
    #[response(
        status = 503,
        description = "The NATS server does not answer; Retry-After says when to retry",
        content_type = "application/problem+json"
    )]
    Unavailable(ProblemBody),
    #[response(
        status = 507,
        description = "The object store is full, or the disk of the NATS server was",
        content_type = "application/problem+json"
    )]
    Full(ProblemBody),
}
