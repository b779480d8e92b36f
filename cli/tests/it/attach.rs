//! `run`, `logs --tail`: real processes behind a real WebSocket, and a real terminal before it.

use crate::server::{Answer, Request, Server, app, ok, run};
use hokku_model::api::{AttachMessage, RunDyno};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocket};

const DYNO: &str = r#"{"app":{"id":"a"},"attach_url":"/attach/run.7","command":"","created_at":"","id":"d","name":"run.7",
  "release":{"id":"r","version":1},"size":"Basic","state":"starting","type":"run","updated_at":""}"#;

/// Waits until `true`, ten seconds at most.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[derive(Default)]
struct Seen {
    asked: Option<RunDyno>,
    messages: Vec<AttachMessage>,
}

type Shared = Arc<Mutex<Seen>>;

/// Answers as the agent does: a dyno is a process here, on pipes.
fn answers(seen: &Shared) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
    let seen = seen.clone();
    move |request| match request.line.as_str() {
        "POST /apps/shop/dynos" => {
            seen.lock().unwrap().asked = serde_json::from_str(&request.body).ok();
            ok(DYNO)
        }
        "GET /attach/run.7" => {
            let seen = seen.clone();
            Answer::Take(Box::new(move |stream, request| {
                dyno(stream, request, &seen)
            }))
        }
        _ => Answer::Json(404, r#"{"id":"not_found","message":"no"}"#.into()),
    }
}

fn dyno(mut stream: File, request: &Request, seen: &Shared) {
    let accept = derive_accept_key(request.header("sec-websocket-key").unwrap().as_bytes());
    let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n";
    stream
        .write_all(format!("{head}sec-websocket-accept: {accept}\r\n\r\n").as_bytes())
        .unwrap();
    let mut input = WebSocket::from_raw_socket(stream.try_clone().unwrap(), Role::Server, None);
    let output = Arc::new(Mutex::new(WebSocket::from_raw_socket(
        stream,
        Role::Server,
        None,
    )));
    let asked = seen.lock().unwrap().asked.clone().unwrap();
    if asked.command == "break" {
        output
            .lock()
            .unwrap()
            .send(Message::binary(b"\x01half".to_vec()))
            .unwrap();
        return;
    }
    let argv = asked
        .argv
        .unwrap_or_else(|| vec!["bash".into(), "-c".into(), asked.command]);
    let mut child = Command::new(&argv[0])
        .args(&argv[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id() as i32;
    let mut stdin = child.stdin.take();
    let seen = seen.clone();
    std::thread::spawn(move || {
        while let Ok(message) = input.read() {
            match message {
                Message::Binary(data) => {
                    let gone = stdin.as_mut().is_some_and(|s| s.write_all(&data).is_err());
                    stdin = stdin.take().filter(|_| !gone);
                }
                Message::Text(text) => {
                    let message: AttachMessage = serde_json::from_str(&text).unwrap();
                    match message {
                        AttachMessage::StdinEof => stdin = None,
                        AttachMessage::Signal { number } => {
                            // SAFETY: plain numbers; the process is this test's own.
                            unsafe { libc::kill(pid, number) };
                        }
                        _ => {}
                    }
                    seen.lock().unwrap().messages.push(message);
                }
                _ => {}
            }
        }
    });
    let copy = |tag: u8, mut from: Box<dyn Read + Send>| {
        let output = output.clone();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 32 << 10];
            while let Ok(n) = from.read(&mut buffer) {
                let message = Message::binary([&[tag], &buffer[..n]].concat());
                if n == 0 || output.lock().unwrap().send(message).is_err() {
                    return;
                }
            }
        })
    };
    let out = copy(1, Box::new(child.stdout.take().unwrap()));
    let err = copy(2, Box::new(child.stderr.take().unwrap()));
    let _ = (out.join(), err.join());
    let ended = child.wait().unwrap();
    let status = ended.code().unwrap_or(128 + ended.signal().unwrap_or(0));
    let exit = AttachMessage::Exit {
        status,
        text: "ended".into(),
    };
    let _ = output
        .lock()
        .unwrap()
        .send(Message::text(serde_json::to_string(&exit).unwrap()));
}

struct Place {
    home: tempfile::TempDir,
    server: Server,
    seen: Shared,
}

fn place() -> Place {
    let seen = Shared::default();
    Place {
        home: tempfile::tempdir().unwrap(),
        server: Server::start(answers(&seen)),
        seen,
    }
}

impl Place {
    fn run(&self, words: &[&str]) -> Command {
        let mut command = self.server.app(self.home.path());
        command.env("HOKKU_APP", "shop").arg("run").args(words);
        command
    }
}

fn end(child: &Child, signal: i32) {
    // SAFETY: plain numbers; the process is this test's own.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

#[test]
fn arguments_streams_and_status_are_the_commands() {
    let p = place();
    let script = r#"printf "%s|" "$@"; echo err >&2; exit 3"#;
    let words = [
        "--",
        "bash",
        "-c",
        script,
        "x",
        "a b",
        "$HOME",
        "",
        "it's \"q\"",
        "--help",
        "-a",
        "--",
    ];
    let told = run(&mut p.run(&words));
    assert_eq!(
        told,
        (
            3,
            "a b|$HOME||it's \"q\"|--help|-a|--|".into(),
            "err\n".into()
        )
    );
    let asked = p.seen.lock().unwrap().asked.clone().unwrap();
    assert_eq!(asked.argv.unwrap(), &words[1..]);
    assert_eq!(
        (asked.attach, asked.force_no_tty, asked.env.len()),
        (true, Some(true), 0)
    );
}

#[test]
fn one_argument_is_a_shell_line() {
    let p = place();
    assert_eq!(
        run(&mut p.run(&["-e", "A=1;B=x y", "echo $((1+2)); (exit 7)"])),
        (7, "3\n".into(), String::new())
    );
    let asked = p.seen.lock().unwrap().asked.clone().unwrap();
    assert_eq!(
        (asked.command.as_str(), asked.argv),
        ("echo $((1+2)); (exit 7)", None)
    );
    let env: Vec<(&str, &str)> = asked
        .env
        .iter()
        .map(|(k, v)| (k.as_str(), v.0.as_str()))
        .collect();
    assert_eq!(env, [("A", "1"), ("B", "x y")]);
}

#[test]
fn over_the_socket_too() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("s");
    let _server = Server::on_socket(&socket, answers(&Shared::default()));
    let mut command = app(home.path());
    command.env("HOKKU_SOCKET", &socket).args([
        "run",
        "-a",
        "shop",
        "--",
        "sh",
        "-c",
        "echo hi; exit 5",
    ]);
    assert_eq!(run(&mut command), (5, "hi\n".into(), String::new()));
}

#[test]
fn bytes_are_left_alone() {
    let p = place();
    let mut state = 88172645463325252_u64;
    let data: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(5_000_001)
    .collect();
    let mut child = p
        .run(&["--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let copy = data.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&copy).unwrap());
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(out.status.success());
    assert!(
        out.stdout == data,
        "{} bytes of {}",
        out.stdout.len(),
        data.len()
    );
}

#[test]
fn a_command_that_reads_nothing_is_not_waited_for() {
    let p = place();
    let mut child = p
        .run(&["--", "false"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut held = child.stdin.take();
    assert_eq!(child.wait().unwrap().code(), Some(1), "stdin is still open");
    drop(held.take());
}

#[test]
fn signals_reach_the_command() {
    let p = place();
    let script = "trap 'echo got it; exit 42' INT; echo ready; while :; do sleep 0.02; done";
    let mut child = p
        .run(&["--", "bash", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    end(&child, libc::SIGINT);
    assert_eq!(lines.next().unwrap().unwrap(), "got it");
    assert_eq!(child.wait().unwrap().code(), Some(42));
}

#[test]
fn a_lost_connection_is_said() {
    let p = place();
    let (status, stdout, stderr) = run(&mut p.run(&["break"]));
    assert_eq!((status, stdout.as_str()), (1, "half"));
    assert!(
        stderr.contains("The connection to run.7 was lost")
            && stderr.contains("app run:attach run.7"),
        "{stderr}"
    );
}

#[test]
fn a_reader_that_leaves_ends_it() {
    let p = place();
    let mut child = p
        .run(&["--", "yes"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut some = [0; 4];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!(
        (&some, out.status.signal(), out.stderr.as_slice()),
        (b"y\ny\n", Some(libc::SIGPIPE), &b""[..])
    );
}

#[test]
fn detached() {
    let p = place();
    let (status, stdout, stderr) = run(&mut p.run(&["--detach", "rake", "x"]));
    assert_eq!((status, stdout.as_str()), (0, ""));
    assert!(
        stderr.starts_with("Running rake x on shop... done, run.7\n"),
        "{stderr}"
    );
    assert!(!p.seen.lock().unwrap().asked.clone().unwrap().attach);
}

/// A terminal of 30 rows and 100 columns: our end and the program's.
fn terminal() -> (File, File) {
    let (mut ours, mut theirs) = (-1, -1);
    let size = libc::winsize {
        ws_row: 30,
        ws_col: 100,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the pointers are to live numbers and a live size; the rest may be null.
    let made = unsafe {
        libc::openpty(
            &mut ours,
            &mut theirs,
            std::ptr::null_mut(),
            std::ptr::null(),
            &size,
        )
    };
    assert_eq!(made, 0);
    // SAFETY: both are open and nobody else's.
    unsafe {
        (
            OwnedFd::from_raw_fd(ours).into(),
            OwnedFd::from_raw_fd(theirs).into(),
        )
    }
}

fn is_cooked(terminal: &File) -> bool {
    // SAFETY: an all-zero termios is valid, and the descriptor is open.
    let flags = unsafe {
        let mut t: libc::termios = std::mem::zeroed();
        assert_eq!(libc::tcgetattr(terminal.as_raw_fd(), &mut t), 0);
        t.c_lflag
    };
    flags & (libc::ICANON | libc::ECHO | libc::ISIG) == libc::ICANON | libc::ECHO | libc::ISIG
}

#[test]
fn a_terminal_is_raw_while_it_lasts_and_restored_after() {
    let p = place();
    let (mut ours, theirs) = terminal();
    let mut command = p.run(&["cat"]);
    let end_of = || Stdio::from(theirs.try_clone().unwrap());
    command
        .env("TERM", "xterm")
        .stdin(end_of())
        .stdout(end_of())
        .stderr(end_of());
    // SAFETY: setsid and ioctl are safe between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            libc::ioctl(0, libc::TIOCSCTTY, 0);
            Ok(())
        });
    }
    let mut child = command.spawn().unwrap();
    let shown = Arc::new(Mutex::new(Vec::new()));
    let (mut reader, screen) = (ours.try_clone().unwrap(), shown.clone());
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = reader.read(&mut buffer) {
            screen.lock().unwrap().extend_from_slice(&buffer[..n]);
        }
    });
    let shows = |what: &[u8]| shown.lock().unwrap().windows(what.len()).any(|w| w == what);
    until("the start", || shows(b"up, run.7"));
    until("raw mode", || !is_cooked(&theirs));
    ours.write_all(b"abc\x03\x1a\r").unwrap();
    until("the echo of the dyno", || shows(b"abc\x03\x1a\r"));

    let asked = p.seen.lock().unwrap().asked.clone().unwrap();
    let env: Vec<(&str, &str)> = asked
        .env
        .iter()
        .map(|(k, v)| (k.as_str(), v.0.as_str()))
        .collect();
    assert_eq!(
        (env, asked.force_no_tty),
        (
            vec![("COLUMNS", "100"), ("LINES", "30"), ("TERM", "xterm")],
            None
        )
    );
    let resized = |rows, cols| {
        p.seen
            .lock()
            .unwrap()
            .messages
            .contains(&AttachMessage::Resize { rows, cols })
    };
    until("the first size", || resized(30, 100));
    let size = libc::winsize {
        ws_row: 40,
        ws_col: 120,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the descriptor is open and the size is live.
    assert_eq!(
        unsafe { libc::ioctl(ours.as_raw_fd(), libc::TIOCSWINSZ, &size) },
        0
    );
    until("the new size", || resized(40, 120));

    end(&child, libc::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(is_cooked(&theirs));
}

#[test]
fn a_log_is_followed_through_a_restart_of_the_agent() {
    let home = tempfile::tempdir().unwrap();
    let sessions = Arc::new(Mutex::new(0));
    let count = sessions.clone();
    let server = Server::start(move |r| match r.line.as_str() {
        "POST /apps/shop/log-sessions" => {
            *count.lock().unwrap() += 1;
            match *count.lock().unwrap() {
                2 => Answer::Json(503, r#"{"id":"restarting","message":"Starting."}"#.into()),
                n => ok(format!(
                    r#"{{"created_at":"","id":"l","logplex_url":"/logs/{n}","updated_at":""}}"#
                )),
            }
        }
        line => {
            let text = if line == "GET /logs/1" {
                "one\ntwo\n"
            } else {
                "two\nthree\n"
            };
            let last = line != "GET /logs/1";
            Answer::Take(Box::new(move |mut stream, _| {
                let head =
                    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n";
                let _ = stream.write_all(format!("{head}{text}").as_bytes());
                if last {
                    // Stays open until the client leaves.
                    let _ = stream.read(&mut [0; 1]);
                }
            }))
        }
    });
    let mut command = server.app(home.path());
    command
        .args(["logs", "--tail", "-a", "shop"])
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for expected in ["one", "two", "three"] {
        assert_eq!(lines.next().unwrap().unwrap(), expected);
    }
    end(&child, libc::SIGTERM);
    child.wait().unwrap();
}
