//! What the suites stand on.
//!
//! What it does: starts the programs of this workspace on a data directory of their own and looks at them from outside.
//! What it never does: link a room of the agent, look into its store, or sleep where it can wait for a fact.
//! Who calls it: the suites of this binary.

pub mod authority;
pub mod host;
pub mod http;
pub mod leftovers;
pub mod load;
pub mod outcome;
pub mod repo;
pub mod slot;
pub mod terminal;

pub use authority::Authority;
pub use host::{Host, Settings, WhoAmI};
pub use load::Load;
pub use outcome::Outcome;
pub use repo::Repo;

use std::time::{Duration, Instant};

/// Waits until `look` finds something, at most `seconds`.
///
/// # Panics
/// It was not found in time; the message says what.
pub fn eventually<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            start.elapsed() < Duration::from_secs(seconds),
            "not within {seconds} s: {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Are the tests run by root?
pub fn root() -> bool {
    nix::unistd::geteuid().is_root()
}
