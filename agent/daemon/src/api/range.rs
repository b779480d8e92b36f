//! The `Range` header of lists: `version ..; order=desc,max=10`, as Heroku's CLI sends it, and `]` for "after".

use super::fault::{Fault, Result};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

/// The part of a list that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Range {
    field: String,
    /// Begin after this value, or with it.
    after: Option<(String, bool)>,
    descending: bool,
    max: usize,
}

/// As many as one answer holds unless asked otherwise, and at most (Dev Center "Platform API Reference", "Ranges").
const USUAL: usize = 200;
const MOST: usize = 1000;

impl Range {
    /// Reads the header; without one, it is `<field> ..; max=200`.
    ///
    /// # Errors
    /// It can't be read, in words.
    pub fn of(headers: &HeaderMap, field: &str) -> Result<Range> {
        let text = match headers.get(http::header::RANGE) {
            None => "",
            Some(v) => v.to_str().map_err(|_| bad("characters that are no text"))?,
        };
        Range::parse(text, field)
    }

    fn parse(text: &str, field: &str) -> Result<Range> {
        let mut range = Range {
            field: field.to_owned(),
            after: None,
            descending: false,
            max: USUAL,
        };
        let mut parts = text.split([';', ',']).map(str::trim);
        let head = parts.next().unwrap_or_default();
        if let Some((name, span)) = head.split_once(char::is_whitespace) {
            range.field = name.to_owned();
            let from = span
                .trim()
                .split_once("..")
                .ok_or_else(|| bad("no \"..\""))?
                .0
                .trim();
            if let Some(after) = from.strip_prefix(']') {
                range.after = Some((after.to_owned(), false));
            } else if !from.is_empty() {
                range.after = Some((from.to_owned(), true));
            }
        } else if !head.is_empty() {
            return Err(bad("no \"..\""));
        }
        for part in parts.filter(|p| !p.is_empty()) {
            match part.split_once('=').map(|(k, v)| (k.trim(), v.trim())) {
                Some(("order", "desc")) => range.descending = true,
                Some(("order", "asc")) => range.descending = false,
                Some(("max", n)) => {
                    range.max = n
                        .parse()
                        .ok()
                        .filter(|n| (1..=MOST).contains(n))
                        .ok_or_else(|| bad("a max that is not 1 to 1000"))?;
                }
                _ => return Err(bad("something else than order and max")),
            }
        }
        Ok(range)
    }

    /// Sorts by `key`, takes the part, and answers with 206 and `Next-Range` when there is more.
    pub fn answer<T: Serialize, K: Ord + std::fmt::Display + std::str::FromStr>(
        &self,
        mut all: Vec<T>,
        key: impl Fn(&T) -> K,
    ) -> Result<Response> {
        all.sort_by_key(|t| key(t));
        if self.descending {
            all.reverse();
        }
        if let Some((from, inclusive)) = &self.after {
            let from: K = from
                .parse()
                .map_err(|_| bad("a beginning that is no such value"))?;
            all.retain(|t| {
                let k = key(t);
                let beyond = if self.descending { k < from } else { k > from };
                beyond || *inclusive && k == from
            });
        }
        let more = all.len() > self.max;
        all.truncate(self.max);
        let next = all.last().filter(|_| more).and_then(|last| {
            let order = if self.descending { "desc" } else { "asc" };
            let next = format!(
                "{} ]{}..; max={}, order={order}",
                self.field,
                key(last),
                self.max
            );
            HeaderValue::from_str(&next).ok()
        });
        let mut answer = Json(all).into_response();
        if let Some(next) = next {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            answer.headers_mut().insert("next-range", next);
        }
        Ok(answer)
    }
}

fn bad(what: &str) -> Fault {
    Fault::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        format!("The Range header has {what}; it looks like: version ..; order=desc,max=10"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> (String, Option<(String, bool)>, bool, usize) {
        let r = Range::parse(text, "id").unwrap();
        (r.field, r.after, r.descending, r.max)
    }

    #[test]
    fn what_clients_send() {
        let v = || "version".to_owned();
        assert_eq!(parsed(""), ("id".into(), None, false, 200));
        assert_eq!(
            parsed("version ..; max=15, order=desc"),
            (v(), None, true, 15)
        );
        assert_eq!(parsed("version ..; order=desc,max=1"), (v(), None, true, 1));
        assert_eq!(parsed("id ..; max=1000;"), ("id".into(), None, false, 1000));
        assert_eq!(parsed("id ..; ; "), ("id".into(), None, false, 200));
        assert_eq!(
            parsed("version ]5..; max=2"),
            (v(), Some(("5".into(), false)), false, 2)
        );
        for wrong in [
            "version",
            "version 5",
            "id ..; max=0",
            "id ..; max=x",
            "id ..; a=b",
        ] {
            assert!(Range::parse(wrong, "id").is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(s in ".{0,40}") { let _ = Range::parse(&s, "id"); }
    }
}
