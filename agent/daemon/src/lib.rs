//! hokkud: the deploy agent of one node.
//!
//! Each module is a room; `agent/README.md` has the map and the rule of who may import whom.

pub mod acme;
pub mod alert;
pub mod api;
pub mod autoscale;
pub mod build;
pub mod config;
pub mod control;
pub mod doctor;
pub mod git;
pub mod logs;
pub mod ops;
pub mod router;
pub mod run;
pub mod slug;
pub mod store;
pub mod supervisor;
pub mod sys;
