//! An app that misbehaves on order: what the tests push instead of mocks.
//!
//! What it does: as a web process it answers requests about itself (`http.rs`) and breaks the rules of the platform in
//! the ways that its `mode` names (`mode.rs`); as a command it answers about its arguments, its standard streams and
//! its terminal (`command.rs`). It uses std and libc only, so that it starts in a millisecond on any host.
//! What it never does: know anything of hokku beyond `PORT`, `DYNO` and the rest of its environment.
//! Who calls it: the end-to-end suites, which commit it into the repositories they push.

mod command;
mod http;
mod mode;
mod websocket;

use std::net::TcpListener;

fn main() {
    let args: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    if !args.is_empty() {
        std::process::exit(command::run(&args));
    }
    let mode = mode::Mode::read();
    mode.before_listening();
    let Some(port) = mode.port() else {
        println!("probe: not listening, as ordered");
        loop {
            std::thread::park();
        }
    };
    let listener = match TcpListener::bind(("0.0.0.0", port)) {
        Ok(l) => l,
        Err(e) => {
            eprintln!("probe: can't listen on port {port}: {e}");
            std::process::exit(98);
        }
    };
    println!("probe: listening on port {port}");
    let only_host = mode.only_host();
    for stream in listener.incoming().flatten() {
        let only_host = only_host.clone();
        std::thread::spawn(move || {
            let _ = http::serve(stream, only_host.as_deref());
        });
    }
}
