//! What a use case answers when it can't be done.

use crate::store::StoreError;

/// Why a use case was not done; nothing was changed then. `Display` is written for the person who asked.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// What was named does not exist.
    #[error("{message}")]
    NotFound {
        /// The kind of thing, as the Platform API names it: `app`, `release`, `build`, `key`, …
        resource: &'static str,
        /// In words.
        message: String,
    },
    /// The request can't be right, whatever the state is.
    #[error("{message}")]
    Invalid {
        /// In words.
        message: String,
    },
    /// The request does not fit the present state.
    #[error("{message}")]
    Conflict {
        /// In words.
        message: String,
    },
    /// Nobody known asks.
    #[error("Invalid credentials provided.")]
    Unauthorized,
    /// Somebody known asks, who may not.
    #[error("{message}")]
    Forbidden {
        /// In words.
        message: String,
    },
    /// The store or the machine failed.
    #[error("{0:#}")]
    Internal(anyhow::Error),
}

/// The answer of a use case.
pub type Result<T> = std::result::Result<T, OpsError>;

impl OpsError {
    pub(crate) fn invalid(message: impl Into<String>) -> OpsError {
        OpsError::Invalid {
            message: message.into(),
        }
    }

    pub(crate) fn conflict(message: impl Into<String>) -> OpsError {
        OpsError::Conflict {
            message: message.into(),
        }
    }

    pub(crate) fn not_found(resource: &'static str, message: impl Into<String>) -> OpsError {
        OpsError::NotFound {
            resource,
            message: message.into(),
        }
    }
}

impl From<StoreError> for OpsError {
    fn from(e: StoreError) -> OpsError {
        match e {
            StoreError::Stale { .. } => OpsError::conflict(e.to_string()),
            e => OpsError::Internal(e.into()),
        }
    }
}

impl From<anyhow::Error> for OpsError {
    fn from(e: anyhow::Error) -> OpsError {
        OpsError::Internal(e)
    }
}
