//! The nouns of hokku: plain data that every part shares.
//!
//! What it does: names, ids, releases, dynos, routes and the messages between programs, as validated types.
//! What it never does: I/O, clocks, randomness, decisions.
//! Who calls it: everything. Tests live beside the code.

pub mod api;
pub mod app;
pub mod autoscale;
pub mod cert;
pub mod checks;
pub mod code;
pub mod dyno;
pub mod exec;
pub mod fence;
pub mod health;
pub mod id;
pub mod limits;
pub mod log;
pub mod name;
pub mod release;
pub mod route;
pub mod routing;
pub mod said;
pub mod shim;
pub mod time;

pub use id::{AppId, BuildId, DynoId, KeyId, ReleaseId, TokenId};
pub use name::{AppName, ConfigKey, DynoName, ProcessType};
pub use time::Micros;
