//! Points in time as text.

use hokku_model::Micros;

/// RFC 3339 in UTC with whole seconds, as the Platform API writes times: `2026-11-21T12:00:00Z`.
pub fn rfc3339(at: Micros) -> String {
    jiff::Timestamp::from_microsecond(at.0)
        .unwrap_or_default()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}
