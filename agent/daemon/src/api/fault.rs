//! Error answers: `{"id":…,"message":…,"resource":…}`.

use crate::ops::OpsError;
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use hokku_model::api::ApiError;
use http::StatusCode;

/// A request that is not done.
#[derive(Debug)]
pub(super) struct Fault {
    pub status: StatusCode,
    pub body: ApiError,
}

pub(super) type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Fault {
        Fault {
            status,
            body: ApiError {
                id: id_of(status).into(),
                message: message.into(),
                resource: None,
            },
        }
    }

    pub fn invalid(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    pub fn not_found(resource: &str, message: impl Into<String>) -> Fault {
        let mut fault = Fault::new(StatusCode::NOT_FOUND, message);
        fault.body.resource = Some(resource.into());
        fault
    }

    /// Logs the cause and tells the caller that it is not theirs.
    pub fn internal(e: &anyhow::Error) -> Fault {
        tracing::error!("an API request failed: {e:#}");
        Fault::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The agent failed at this; its log has the reason. Try again in a moment.",
        )
    }
}

/// Heroku's ids of errors.
pub(super) fn id_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "bad_request",
        StatusCode::UNAUTHORIZED => "unauthorized",
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::CONFLICT => "conflict",
        StatusCode::GONE => "gone",
        StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
        StatusCode::RANGE_NOT_SATISFIABLE => "requested_range_not_satisfiable",
        StatusCode::UNPROCESSABLE_ENTITY => "invalid_params",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit",
        StatusCode::SERVICE_UNAVAILABLE => "service_unavailable",
        s if s.is_client_error() => "invalid_request",
        _ => "internal_server_error",
    }
}

impl From<OpsError> for Fault {
    fn from(e: OpsError) -> Fault {
        let message = e.to_string();
        match e {
            OpsError::NotFound { resource, .. } => Fault::not_found(resource, message),
            OpsError::Invalid { .. } => Fault::invalid(message),
            OpsError::Conflict { .. } => Fault::new(StatusCode::CONFLICT, message),
            OpsError::Unauthorized => Fault::new(StatusCode::UNAUTHORIZED, message),
            OpsError::Forbidden { .. } => Fault::new(StatusCode::FORBIDDEN, message),
            OpsError::Internal(cause) => Fault::internal(&cause),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}
