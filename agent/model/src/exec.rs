//! A command to be run inside a dyno that runs already: `app ps:exec`, and checks of kind `command`.
//!
//! The order goes to the shim's `ctl.sock` as JSON, in [`crate::shim::Frame::Order`]s that [`crate::shim::Frame::Exec`]
//! ends. The environment is the dyno's own, which the shim has: no config var travels.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most bytes of JSON that one order has.
pub const MAX_ORDER: usize = 1 << 20;

/// What is to be run, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecOrder {
    /// Program and arguments, handed to execve as they are. `argv[0]` is looked up on the dyno's PATH.
    pub argv: Vec<String>,
    /// More environment, over the dyno's: what the caller's terminal says of itself.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// Rows and columns of a terminal; `None` for three pipes.
    #[serde(default)]
    pub pty: Option<(u16, u16)>,
    /// Milliseconds from SIGHUP, because its client is gone, to SIGKILL.
    #[serde(default)]
    pub grace_ms: u64,
    /// Made by the agent, not asked for by a person: each kind has room of its own.
    #[serde(default)]
    pub check: bool,
}

impl ExecOrder {
    /// What can't be run, in words; `None` when it can.
    pub fn fault(&self) -> Option<String> {
        if self.argv.first().is_none_or(String::is_empty) {
            return Some("The order names no program to run.".into());
        }
        let nul = |s: &String| s.contains('\0');
        if self.argv.iter().any(nul) {
            return Some("A command can't have NUL characters in it.".into());
        }
        let bad = |(k, v): &&(String, String)| k.is_empty() || k.contains(['=', '\0']) || nul(v);
        self.env.iter().find(bad).map(|(k, _)| {
            format!("The environment variable {k:?} can't be set: a name has no '=', and neither name nor value a NUL.")
        })
    }
}

/// hokku: the first message on the WebSocket of `GET /hokku/apps/:app/dynos/:dyno/exec`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// A shell command line. Ignored when `argv` is given.
    #[serde(default)]
    pub command: String,
    /// Program and arguments, unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
    /// More environment, over the dyno's.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Rows and columns of the caller's terminal; null for three pipes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<(u16, u16)>,
    /// Leave out the slug's profile scripts, whose output would be among the command's.
    #[serde(default)]
    pub bare: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cant_be_run_is_told_in_words() {
        let of = |argv: &[&str], env: &[(&str, &str)]| {
            let argv = argv.iter().map(|s| (*s).to_owned()).collect();
            let env = env
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect();
            ExecOrder {
                argv,
                env,
                ..ExecOrder::default()
            }
            .fault()
        };
        assert_eq!(of(&["ls", ""], &[("TERM", "a=b")]), None);
        assert!(of(&[], &[]).unwrap().contains("names no program"));
        assert!(of(&[""], &[]).unwrap().contains("names no program"));
        assert!(of(&["a\0"], &[]).unwrap().contains("NUL"));
        for name in ["", "A=B", "A\0"] {
            assert!(
                of(&["ls"], &[(name, "1")])
                    .unwrap()
                    .contains("can't be set")
            );
        }
    }
}
