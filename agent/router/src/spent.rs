//! What a thread spends: allocations, to show which ways have none, and CPU time. Tests only.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local!(static MADE: Cell<usize> = const { Cell::new(0) });

struct Counting;

// SAFETY: hands everything to the system's allocator; the counter is a plain thread-local that allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // a thread that ends has no counter any more
        let _ = MADE.try_with(|m| m.set(m.get() + 1));
        // SAFETY: as promised by the caller
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How often this thread allocates while it does something.
pub(crate) fn during<R>(act: impl FnOnce() -> R) -> usize {
    let before = MADE.with(Cell::get);
    drop(act());
    MADE.with(Cell::get) - before
}

/// CPU time of this thread while it does something, in nanoseconds. For figures on a busy machine.
pub(crate) fn cpu_ns(act: impl FnOnce()) -> u128 {
    let now = || {
        let time = nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID.now();
        time.map_or(std::time::Duration::ZERO, Into::into)
    };
    let begun = now();
    act();
    (now() - begun).as_nanos()
}

#[test]
fn allocations_are_seen() {
    assert_eq!(during(|| std::hint::black_box(Box::new([1u8; 9]))), 1);
    assert_eq!(during(|| std::hint::black_box([1u8; 9])), 0);
}
