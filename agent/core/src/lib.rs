//! The decisions of hokku, as pure functions.
//!
//! What it does: [`observed::Observed::apply`] says what is, [`plan::plan`] says what to do next and when to look again.
//! What it never does: I/O, clocks, dice, async, logging. Time is an argument.
//! Who calls it: the agent's one loop (`agent/daemon/src/control`); the parsers also by other rooms.
//! Where its tests are: beside the code, in `tests/`, and `tests/simulation/`: whole lives of a node against
//! [`check::check`].

pub mod acme;
pub mod action;
mod apply;
pub mod autoscale;
pub mod backoff;
pub mod check;
pub mod cron;
pub mod desired;
pub mod event;
pub mod limits;
pub mod memory;
pub mod nearest;
pub mod observed;
pub mod parse;
pub mod plan;
pub mod routing;
mod words;
