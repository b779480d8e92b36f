//! Reads the JSON of a request: unknown fields are ignored, wrong types refused by the field's name.

use super::fault::{Fault, Result};
use axum::{
    body::{Body, to_bytes},
    extract::{FromRequest, Request},
};
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Bytes of JSON taken.
pub(super) const MAX_JSON: usize = 1 << 20;

/// The body as `T`; no body counts as `{}`.
pub(super) struct Input<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Input<T> {
    type Rejection = Fault;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Input<T>> {
        let bytes = to_bytes(request.into_body(), MAX_JSON).await.map_err(|_| {
            Fault::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("The request is cut off, or larger than the {MAX_JSON} bytes that are taken here."),
            )
        })?;
        read(&bytes).map(Input)
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let bytes: &[u8] = if bytes.iter().all(u8::is_ascii_whitespace) {
        b"{}"
    } else {
        bytes
    };
    let value: Value = serde_json::from_slice(bytes).map_err(|e| {
        Fault::new(
            StatusCode::BAD_REQUEST,
            format!("The body of the request is not JSON: {e}."),
        )
    })?;
    if !value.is_object() {
        return Err(Fault::new(
            StatusCode::BAD_REQUEST,
            "The body of the request has to be a JSON object.",
        ));
    }
    T::deserialize(&value).map_err(|e| {
        let e = e.to_string();
        Fault::invalid(match culprit::<T>(&value, &e) {
            Some(field) => format!("The field {field:?} can't be used: {e}."),
            None => format!("The request can't be used: {e}."),
        })
    })
}

/// The field without which the error goes away or becomes another one.
fn culprit<T: DeserializeOwned>(value: &Value, error: &str) -> Option<String> {
    let fields = value.as_object()?;
    // a body with that many fields is no request of a person who looks for a mistake
    fields.keys().take(200).find_map(|field| {
        let mut less = fields.clone();
        less.remove(field);
        let gone = match T::deserialize(&Value::Object(less)) {
            Ok(_) => true,
            Err(e) => e.to_string() != error,
        };
        gone.then(|| field.chars().take(100).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hokku_model::api::{ConfigPatch, FormationUpdate, RunDyno};
    use proptest::prelude::*;

    fn message<T: DeserializeOwned>(body: &str) -> String {
        read::<T>(body.as_bytes()).err().unwrap().body.message
    }

    #[test]
    fn wrong_types_are_named() {
        for (m, field) in [
            (
                message::<RunDyno>(r#"{"attach":3,"command":"x"}"#),
                "attach",
            ),
            (message::<RunDyno>(r#"{"zzz":1,"argv":"x"}"#), "argv"),
            (message::<ConfigPatch>(r#"{"A":"1","B":2,"C":null}"#), "B"),
            (
                message::<FormationUpdate>(r#"{"type":"web","quantity":[]}"#),
                "quantity",
            ),
        ] {
            assert!(m.contains(&format!("{field:?}")), "{m}");
        }
        assert!(message::<FormationUpdate>("{}").contains("type"));
        assert!(message::<FormationUpdate>("[]").contains("object"));
        assert!(message::<FormationUpdate>("{").contains("not JSON"));
        assert!(read::<RunDyno>(b"").is_ok());
        assert!(read::<RunDyno>(br#"{"unknown":{"a":1}}"#).is_ok());
    }

    proptest! {
        #[test]
        fn nothing_panics(b: Vec<u8>, s in "\\{.{0,40}\\}") {
            let _ = (read::<RunDyno>(&b), read::<ConfigPatch>(s.as_bytes()));
        }
    }
}
