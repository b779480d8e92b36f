//! A small HTTP server, on a free port of this machine or on a socket, which answers as a test says; and `app` in clean surroundings.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }
}

type Taker = Box<dyn FnOnce(File, &Request) + Send>;

/// What is done with a request.
pub enum Answer {
    /// This status, JSON and headers.
    Json(u16, String),
    /// The connection itself is wanted.
    Take(Taker),
}

pub fn ok(json: impl Into<String>) -> Answer {
    Answer::Json(200, json.into())
}

type Handler = dyn Fn(&Request) -> Answer + Send + Sync;

pub struct Server {
    pub url: String,
    pub asked: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        Server::serving(url, handler, move || {
            listener.accept().ok().map(|(s, _)| s.into())
        })
    }

    /// The same on a Unix socket.
    pub fn on_socket(
        path: &Path,
        handler: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Server {
        let listener = UnixListener::bind(path).expect("a socket");
        let url = path.display().to_string();
        Server::serving(url, handler, move || {
            listener.accept().ok().map(|(s, _)| s.into())
        })
    }

    fn serving(
        url: String,
        handler: impl Fn(&Request) -> Answer + Send + Sync + 'static,
        accept: impl Fn() -> Option<OwnedFd> + Send + 'static,
    ) -> Server {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, handler) = (asked.clone(), Arc::new(handler) as Arc<Handler>);
        std::thread::spawn(move || {
            while let Some(stream) = accept() {
                let (seen, handler) = (seen.clone(), handler.clone());
                std::thread::spawn(move || serve(File::from(stream), &seen, &*handler));
            }
        });
        Server { url, asked }
    }

    pub fn lines(&self) -> Vec<String> {
        self.asked
            .lock()
            .expect("no panic")
            .iter()
            .map(|r| r.line.clone())
            .collect()
    }

    pub fn last(&self, line: &str) -> Request {
        let all = self.asked.lock().expect("no panic");
        all.iter()
            .rfind(|r| r.line == line)
            .unwrap_or_else(|| panic!("{line} not in {all:?}"))
            .clone()
    }

    /// `app` that talks to this server as one with a token.
    pub fn app(&self, home: &Path) -> Command {
        let mut app = app(home);
        app.env("HOKKU_URL", &self.url).env("HOKKU_TOKEN", "t0ken");
        app
    }
}

/// `app` with nothing but a home and a time zone.
pub fn app(home: &Path) -> Command {
    let mut app = Command::new(env!("CARGO_BIN_EXE_app"));
    app.env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("TZ", "UTC")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CEILING_DIRECTORIES", home.parent().unwrap_or(home))
        .current_dir(home)
        .stdin(Stdio::null());
    app
}

fn serve(stream: File, seen: &Mutex<Vec<Request>>, handler: &Handler) {
    let Ok(copy) = stream.try_clone() else { return };
    let mut reader = BufReader::new(copy);
    let Some(request) = read(&mut reader) else {
        return;
    };
    seen.lock().expect("no panic").push(request.clone());
    match handler(&request) {
        Answer::Json(status, body) => {
            let mut stream = stream;
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(body.as_bytes()));
        }
        Answer::Take(take) => take(stream, &request),
    }
}

fn read(reader: &mut BufReader<File>) -> Option<Request> {
    let mut text = String::new();
    reader.read_line(&mut text).ok().filter(|n| *n > 0)?;
    let line = text.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let mut headers = Vec::new();
    loop {
        text.clear();
        reader.read_line(&mut text).ok()?;
        let Some((name, value)) = text.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut request = Request {
        line,
        headers,
        body: String::new(),
    };
    let length: u64 = request
        .header("content-length")
        .and_then(|l| l.parse().ok())
        .unwrap_or(0);
    reader.take(length).read_to_string(&mut request.body).ok()?;
    Some(request)
}

/// Runs to the end.
pub fn run(command: &mut Command) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("app starts");
    let text = |b: Vec<u8>| String::from_utf8(b).expect("UTF-8");
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}
