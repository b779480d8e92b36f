//! The end-to-end suites: real programs, real git, real HTTP, through the public interfaces only.
//!
//! One module per thing that a user would notice. Each test starts a `hokkud` of its own in a temporary directory, with
//! ports that no other test has, and ends by checking that nothing of it is left on the machine. Tests marked as slow
//! are run by `.ci/run`. `tests/README.md` says how to add one.

mod support;

mod acme;
mod agent_death;
mod autoscale;
mod bad_deploys;
mod buildpacks;
mod certs;
mod checks;
mod config;
mod crash;
mod cron;
mod destroy;
mod disk_full;
mod doctor;
mod domains;
mod escape;
mod exec;
mod fence;
mod handover;
mod health;
mod isolation;
mod limits;
mod logs;
mod never_down;
mod push;
mod release_phase;
mod rollback;
mod router;
mod routing_rules;
mod rules_served;
mod run;
mod samples;
mod scale;
mod settings;
mod ssh;
mod zero_downtime;
