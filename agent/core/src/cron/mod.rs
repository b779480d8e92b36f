//! Cron, decided: when an entry's ticks are ([`schedule`]), what becomes of each ([`judge`]), and what follows from the
//! end of a run ([`end`]).
//!
//! What it does: pure functions of an entry, of what is on disk about it, and of the time. Every tick is decided exactly
//! once, in order: it is run, skipped or missed, and the claim of that is what the caller commits before anything starts.
//! What it never does: I/O, clocks, dice. The tables of time zones count as data.
//! Who calls it: `control/cron` of the agent, `api/cron` for the next times, and the parsers for the check of schedules.
//! Where its tests are: beside the code, and `tests/cron`: whole lives of an agent that is killed at every step.

pub mod end;
pub mod judge;
pub mod schedule;
