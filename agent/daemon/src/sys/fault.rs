//! Points at which a test may kill the agent, to show that it can die there.

/// Dies by SIGKILL when `HOKKU_FAULT` names this point. Only in builds with debug assertions.
pub fn point(name: &str) {
    if cfg!(debug_assertions) && std::env::var("HOKKU_FAULT").is_ok_and(|f| f == name) {
        let _ = nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::SIGKILL);
    }
}
