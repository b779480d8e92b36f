//! `hokku-buildpack`: the built-in buildpacks behind the classic interface, the driver of a whole build, and the static
//! file server.
//!
//! What it does: `<buildpack> detect|compile|release`, `drive <order.json>`, `static-server <site.json>`.
//! What it never does: talk to the agent other than by exit status, output and the result file; it runs inside the
//! build's own walls as the app's user.
//! Who calls it: the agent's build room, and itself. Tests: `tests/`.

mod cmd;

use hokku_buildpacks::Builtin;
use std::{ffi::OsString, path::Path, process::ExitCode};

const USAGE: &str = "\
usage: hokku-buildpack BUILDPACK detect BUILD_DIR
       hokku-buildpack BUILDPACK compile BUILD_DIR CACHE_DIR ENV_DIR
       hokku-buildpack BUILDPACK release BUILD_DIR
       hokku-buildpack drive ORDER.json
       hokku-buildpack static-server SITE.json

BUILDPACK is ruby, node, python, java, gradle, php, go, rust, static or procfile.
Example: hokku-buildpack python detect /app";

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    // the copy in a slug is called by this name
    if args
        .first()
        .is_some_and(|a| Path::new(a).file_name() == Some("static-server".as_ref()))
    {
        return cmd::serve::main(args.get(1).map(Path::new));
    }
    let words: Vec<&str> = args
        .iter()
        .skip(1)
        .map(|a| a.to_str().unwrap_or("?"))
        .collect();
    let path = |i: usize| Path::new(&args[i + 1]);
    match words[..] {
        ["drive", _] => cmd::drive::main(path(1)),
        ["static-server"] => cmd::serve::main(None),
        ["static-server", _] => cmd::serve::main(Some(path(1))),
        ["--version"] => {
            println!("hokku-buildpack {}", hokku_buildpacks::VERSION);
            ExitCode::SUCCESS
        }
        [name, step, ..] => match (Builtin::by_name(name), step, words.len()) {
            (Some(b), "detect", 3) => cmd::compile::detect(b, path(2)),
            (Some(b), "compile", 5) => cmd::compile::compile(b, path(2), path(3), path(4)),
            (Some(b), "release", 3) => cmd::compile::release(b, path(2)),
            _ => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}
