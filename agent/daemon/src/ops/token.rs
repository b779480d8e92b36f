//! API tokens: only their hash is kept.

use super::{Ops, OpsError, Result};
use hokku_model::{Micros, TokenId};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};
use subtle::ConstantTimeEq;

const TOKEN: &str = "token";

/// Tokens of one user.
const MOST: usize = 200;

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

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stored {
    #[serde(flatten)]
    token: Token,
    /// blake3 of the secret, as hex. The secret has 256 random bits, so a slow hash would add nothing.
    hash: String,
}

/// Who has which secret, in one generation of the store.
#[derive(Default)]
pub(super) struct Secrets {
    generation: u64,
    users: HashMap<String, String>,
}

impl Secrets {
    fn user(&self, hash: &str) -> Option<String> {
        let (known, user) = self.users.get_key_value(hash)?;
        bool::from(known.as_bytes().ct_eq(hash.as_bytes())).then(|| user.clone())
    }
}

fn hash(secret: &str) -> String {
    blake3::hash(secret.as_bytes()).to_hex().to_string()
}

/// A user's name or a description, as it may be shown and logged.
pub(super) fn check_text(what: &str, text: &str, most: usize) -> Result<()> {
    let why = if text.trim().is_empty() {
        "is empty".into()
    } else if text.chars().count() > most {
        format!("has more than {most} characters")
    } else if text.contains(char::is_control) {
        "has control characters in it".into()
    } else {
        return Ok(());
    };
    Err(OpsError::invalid(format!("The {what} {why}.")))
}

impl Ops {
    /// Makes a token; the secret (`hku_…`) is shown this once.
    ///
    /// # Errors
    /// `Invalid` when the user or the description is empty, too long or has control characters; `Conflict` when the
    /// user has 200.
    pub async fn create_token(&self, user: &str, description: &str) -> Result<(Token, String)> {
        check_text("user", user, 254)?;
        check_text("description", description, 200)?;
        let mut bytes = [0u8; 32];
        getrandom::fill(&mut bytes).map_err(|e| OpsError::Internal(e.into()))?;
        let secret = format!("hku_{}", data_encoding::BASE64URL_NOPAD.encode(&bytes));
        let stored = Stored {
            token: Token {
                id: TokenId(uuid::Uuid::new_v4().as_u128()),
                user: user.into(),
                description: description.into(),
                created_at: Micros::now(),
            },
            hash: hash(&secret),
        };
        self.store()
            .write(|tx| {
                let all = tx.list::<Stored>(TOKEN)?;
                if all.iter().filter(|t| t.body.token.user == user).count() >= MOST {
                    return Err(OpsError::conflict(format!(
                        "{user} has {MOST} tokens already; revoke one that is not used any more."
                    )));
                }
                Ok(tx.insert(TOKEN, &stored.token.id.to_string(), &stored)?)
            })
            .await?;
        tracing::info!(user, token = %stored.token.id, "token made");
        Ok((stored.token, secret))
    }

    /// Whose secret this is; `None` when nobody's.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn verify_token(&self, secret: &str) -> Result<Option<String>> {
        if secret.len() > 256 {
            return Ok(None);
        }
        let hash = hash(secret);
        let cell = &self.inner.secrets;
        let last = cell.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // A revoked token must fail at once: what is remembered counts for one generation only.
        if last.generation == self.store().generation() {
            return Ok(last.user(&hash));
        }
        let new = self
            .store()
            .read(|tx| {
                let all = tx.list::<Stored>(TOKEN)?.into_iter();
                Ok::<_, OpsError>(Secrets {
                    generation: tx.generation()?,
                    users: all.map(|t| (t.body.hash, t.body.token.user)).collect(),
                })
            })
            .await?;
        let new = Arc::new(new);
        *cell.lock().unwrap_or_else(PoisonError::into_inner) = new.clone();
        Ok(new.user(&hash))
    }

    /// A user's tokens, oldest first.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn tokens(&self, user: &str) -> Result<Vec<Token>> {
        let all = self.store().read(|tx| tx.list::<Stored>(TOKEN)).await?;
        let mut mine: Vec<Token> = all
            .into_iter()
            .map(|t| t.body.token)
            .filter(|t| t.user == user)
            .collect();
        mine.sort_by_key(|t| (t.created_at, t.id));
        Ok(mine)
    }

    /// Ends a user's token.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn revoke_token(&self, user: &str, id: TokenId) -> Result<Token> {
        let token = self
            .store()
            .write(|tx| {
                let missing = || OpsError::not_found("authorization", "Couldn't find that token.");
                let stored = tx.get::<Stored>(TOKEN, &id.to_string())?;
                let stored = stored
                    .filter(|t| t.body.token.user == user)
                    .ok_or_else(missing)?;
                tx.delete(TOKEN, &stored.key)?;
                Ok::<_, OpsError>(stored.body.token)
            })
            .await?;
        tracing::info!(user, token = %token.id, "token revoked");
        Ok(token)
    }
}
