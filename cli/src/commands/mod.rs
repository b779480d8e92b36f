//! One file per noun; each command is its flags and what it does with them.
//!
//! What they do: ask the API and print. What they never do: keep state, or decide what the agent has to decide.
//! Who calls them: `main`. Tests: beside the code, and `cli/tests`.

pub mod apps;
pub mod auth;
pub mod authorizations;
pub mod autoscale;
pub mod buildpacks;
pub mod builds;
pub mod certs;
pub mod checks;
pub mod completions;
pub mod config;
pub mod credentials;
pub mod cron;
pub mod cron_alerts;
pub mod domains;
pub mod hokku_toml;
pub mod isolation;
pub mod keys;
pub mod limits;
pub mod logs;
pub mod maintenance;
pub mod manual;
pub mod open;
pub mod ps;
pub mod ps_copy;
pub mod ps_exec;
pub mod ps_why;
pub mod releases;
pub mod remotes;
pub mod routing;
pub mod run;
pub mod runs;
pub mod status;
