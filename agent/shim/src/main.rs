//! hokku-shim: the small parent of one dyno.
//!
//! What it does: reads one `ShimSpec` from standard input, builds the walls around the dyno, becomes PID 1 inside
//! them, starts the process, writes its output to the log file or gives it to whoever is attached, passes signals on,
//! reaps, and leaves the exit status on disk. It is one process with one thread, and it outlives the agent.
//! What it never does: decide when something starts or ends (save for the limits in the spec and a client that hung
//! up), restart anything, or talk to the network.
//! Who calls it: the agent (`sys::shim`). To the starter it says one line on standard output, after any number of
//! `notice <text>`: `ok <pid on the host>` or `error <text>`; then it closes that pipe.
//! Where its tests are: beside the code, and with real processes in `tests/`.

mod app;
mod call;
mod cgroup;
mod clients;
mod clock;
mod denied;
mod exec;
mod inside;
mod launch;
mod limits;
mod lines;
mod log;
mod mask;
mod mounts;
mod remove;
mod report;
mod root;
mod run;
mod scope;
mod seccomp;
mod sink;
mod spaces;
mod stdio;

use call::Why;
use hokku_model::shim::{Isolation, ShimSpec};
use std::io::Read;

/// The most bytes of JSON that are read from standard input.
const MAX_SPEC: u64 = 16 << 20;

fn main() {
    if let Err(e) = begin() {
        report::say(&format!("error {e}"));
        std::process::exit(1);
    }
}

/// The first stage: everything up to the fork. The parent ends here, the child stays as the dyno's parent.
fn begin() -> Result<(), String> {
    let spec = read_spec()?;
    let host = report::Host::open(&spec.dir)?;
    let cradle = cgroup::open(&spec);
    call::setsid();
    if spec.isolation != Isolation::Plain {
        spaces::enter(&spec)?;
    }
    match call::fork().why(|| "can't fork".into())? {
        call::Fork::Parent => std::process::exit(0),
        call::Fork::Child => {}
    }
    run::resident(spec, host, cradle)
}

fn read_spec() -> Result<ShimSpec, String> {
    let mut text = Vec::new();
    std::io::stdin()
        .lock()
        .take(MAX_SPEC)
        .read_to_end(&mut text)
        .why(|| "can't read the order from standard input".into())?;
    let spec: ShimSpec = serde_json::from_slice(&text).map_err(|e| {
        // the message of a syntax error never holds values, only line and column
        format!("the order on standard input is not valid: {e}")
    })?;
    if spec.argv.first().is_none_or(String::is_empty) {
        return Err("the order names no program to start".into());
    }
    Ok(spec)
}
