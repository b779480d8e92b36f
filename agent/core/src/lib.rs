//! The decisions of hokku, as pure functions.
//!
//! What it does: [`observed::Observed::apply`] says what is, [`plan::plan`] says what to do next and when to look again.
//! What it never does: I/O, clocks, dice, async, logging. Time is an argument.
//! Who calls it: the agent's one loop (`agent/daemon/src/control`); the parsers also by other rooms.
//! Where its tests are: beside the code, and `tests/simulation.rs`, whole lives of a node against [`check`].

pub mod action;
pub mod desired;
pub mod event;
pub mod observed;
