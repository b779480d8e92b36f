//! What the shop says.

/// Greets someone.
pub fn hello(name: &str) -> String {
    format!("Hello from {name}")
}
