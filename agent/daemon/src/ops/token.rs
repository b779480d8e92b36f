//! API tokens: only their hash is kept.

use super::{Ops, Result};
use hokku_model::{Micros, TokenId};
use serde::{Deserialize, Serialize};

/// An API token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// To list and revoke it by.
    pub id: TokenId,
    /// Whose.
    pub user: String,
    /// What it is for.
    pub description: String,
    /// When made.
    pub created_at: Micros,
}

impl Ops {
    /// Makes a token; the secret (`hku_…`) is shown this once.
    ///
    /// # Errors
    /// `Invalid` when the user or the description is empty, too long or has control characters.
    pub async fn create_token(&self, _user: &str, _description: &str) -> Result<(Token, String)> {
        unimplemented!()
    }

    /// Whose secret this is; `None` when nobody's.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn verify_token(&self, _secret: &str) -> Result<Option<String>> {
        unimplemented!()
    }

    /// A user's tokens, oldest first.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn tokens(&self, _user: &str) -> Result<Vec<Token>> {
        unimplemented!()
    }

    /// Ends a user's token.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn revoke_token(&self, _user: &str, _id: TokenId) -> Result<Token> {
        unimplemented!()
    }
}
