//! The one loop: events in, `plan`, actions out.
//!
//! What it does: owns `Observed`, the queue of builds and the one-off dynos; carries out what `hokku-core` decides.
//! What it never does: decide *when*; that is `hokku_core::plan`. It never awaits long work inside the loop.
//! Who calls it: `api` and `git` through [`Handle`]; `run` starts it.
//! Where its tests are: the kernel's in `agent/core/tests/simulation.rs`, the loop's end to end in `tests/`.

mod handle;

pub use handle::{Command, DynoView, Handle, OneoffOrder, Order, PushMessage, PushOrder};
