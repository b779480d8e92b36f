//! The allocator: what a build used is given back, so that an agent at rest is small.

/// Sets glibc's allocator once, before threads are started: few arenas (each keeps what its busiest moment took), and
/// large blocks always mapped, so that they go back to the system when they are freed.
pub fn settle() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only stores numbers; nothing else runs yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 * 1024);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 256 * 1024);
    }
}

/// Gives free memory back to the system; some milliseconds, so only after large work.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
