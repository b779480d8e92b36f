//! The probe's answers. Paths:
//!
//! * anything not below: JSON about the process and the request
//! * `/env/NAME`: the bytes of one variable, 404 when unset
//! * `/sleep/MS`, then as above; `/stream/N/MS`: N chunks with a pause; `/big/BYTES`; `/echo`: the body
//! * `/exit/CODE`, `/crash` (abort), `/hang-up` (closes without an answer)
//! * `/log/N/TEXT`: N numbered lines on standard output; `/stderr/TEXT`
//! * `/read/PATH`, `/list/PATH`, `/write/PATH` (with the body), `/remove/PATH`: files; 403 with the system's words when refused
//! * `/signal/PID/SIGNAL`: what kill(2) says; `/pids`: the processes it can see; `/alloc/MB`; `/children/N`
//! * `/well/NAME`: 503 while there is a file `/tmp/NAME`, 200 otherwise
//! * an upgrade to `websocket`: echoes messages

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::Mutex,
    time::Duration,
};

/// What Django answers without DEBUG when the Host is not among its ALLOWED_HOSTS (django/views/defaults.py).
const DJANGO: &str = "\n<!doctype html>\n<html lang=\"en\">\n<head>\n  <title>Bad Request (400)</title>\n</head>\n\
<body>\n  <h1>Bad Request (400)</h1><p></p>\n</body>\n</html>\n";

/// One request.
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }
}

/// Serves one connection until it is closed.
pub fn serve(stream: TcpStream, only_host: Option<&str>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    while let Some(request) = read(&mut input)? {
        if request
            .header("upgrade")
            .is_some_and(|u| u.eq_ignore_ascii_case("websocket"))
        {
            return super::websocket::serve(&request, &mut input, &mut out);
        }
        let close = request
            .header("connection")
            .is_some_and(|c| c.eq_ignore_ascii_case("close"));
        let host = request.header("host");
        let known = only_host.is_none_or(|only| host == Some(only));
        let go_on = match known {
            true => answer(&request, &mut out)?,
            false => send(&mut out, 400, "text/html", DJANGO.as_bytes())?,
        };
        if !go_on || close {
            break;
        }
    }
    Ok(())
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn line(input: &mut impl BufRead) -> io::Result<String> {
    let mut s = Vec::new();
    input.take(64 * 1024).read_until(b'\n', &mut s)?;
    Ok(String::from_utf8_lossy(&s).trim_end().to_owned())
}

fn read(input: &mut impl BufRead) -> io::Result<Option<Request>> {
    let first = line(input)?;
    if first.is_empty() {
        return Ok(None);
    }
    let mut words = first.split(' ');
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Err(bad("request line"));
    };
    let mut headers = Vec::new();
    loop {
        let l = line(input)?;
        let Some((n, v)) = l.split_once(':') else {
            break;
        };
        headers.push((n.to_owned(), v.trim().to_owned()));
    }
    let mut request = Request {
        method: method.into(),
        path: path.into(),
        headers,
        body: vec![],
    };
    if request
        .header("transfer-encoding")
        .is_some_and(|t| t.contains("chunked"))
    {
        loop {
            let n = usize::from_str_radix(&line(input)?, 16).map_err(|_| bad("chunk"))?;
            let mut chunk = vec![0; n];
            input.read_exact(&mut chunk)?;
            line(input)?;
            if n == 0 {
                break;
            }
            request.body.extend(chunk);
        }
    } else if let Some(n) = request
        .header("content-length")
        .and_then(|n| n.parse().ok())
    {
        request.body = vec![0; n];
        input.read_exact(&mut request.body)?;
    }
    Ok(Some(request))
}

fn send(out: &mut impl Write, status: u16, kind: &str, body: &[u8]) -> io::Result<bool> {
    let head = format!(
        "HTTP/1.1 {status} Probe\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut all = head.into_bytes();
    all.extend(body);
    out.write_all(&all)?;
    Ok(true)
}

fn result(out: &mut impl Write, r: io::Result<Vec<u8>>) -> io::Result<bool> {
    match r {
        Ok(body) => send(out, 200, "application/octet-stream", &body),
        Err(e) => send(out, 403, "text/plain", e.to_string().as_bytes()),
    }
}

static HOARD: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Answers; false when the connection is to be closed.
fn answer(r: &Request, out: &mut impl Write) -> io::Result<bool> {
    let path = r.path.split('?').next().unwrap_or("/");
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let (what, rest) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let number = |i: usize| -> u64 {
        rest.split('/')
            .nth(i)
            .and_then(|n| n.parse().ok())
            .unwrap_or(0)
    };
    let file = || format!("/{rest}");
    match what {
        "env" => match std::env::var_os(rest) {
            Some(v) => {
                use std::os::unix::ffi::OsStrExt;
                send(out, 200, "application/octet-stream", v.as_bytes())
            }
            None => send(out, 404, "text/plain", b"unset"),
        },
        "sleep" => {
            std::thread::sleep(Duration::from_millis(number(0)));
            about(r, out)
        }
        "stream" => stream(number(0), number(1), out),
        "big" => send(
            out,
            200,
            "application/octet-stream",
            &vec![b'x'; number(0) as usize],
        ),
        "echo" => send(out, 200, "application/octet-stream", &r.body),
        "well" => match std::path::Path::new("/tmp").join(rest).exists() {
            true => send(out, 503, "text/plain", b"not well"),
            false => send(out, 200, "text/plain", b"well"),
        },
        "exit" => std::process::exit(number(0) as i32),
        "crash" => std::process::abort(),
        "hang-up" => Ok(false),
        "log" => {
            let text = rest.split('/').nth(1).unwrap_or("line");
            for i in 1..=number(0) {
                println!("{text} {i}");
            }
            send(out, 200, "text/plain", b"logged")
        }
        "stderr" => {
            eprintln!("{rest}");
            send(out, 200, "text/plain", b"logged")
        }
        "read" => result(out, std::fs::read(file())),
        "list" => result(
            out,
            std::fs::read_dir(file()).map(|d| {
                let names: Vec<_> = d
                    .flatten()
                    .map(|e| e.file_name().to_string_lossy().into_owned())
                    .collect();
                names.join("\n").into_bytes()
            }),
        ),
        "write" => result(
            out,
            std::fs::write(file(), &r.body).map(|()| b"written".to_vec()),
        ),
        "remove" => result(
            out,
            std::fs::remove_file(file()).map(|()| b"removed".to_vec()),
        ),
        "pids" => result(out, Ok(pids().into_bytes())),
        "signal" => {
            // SAFETY: kill(2) has no memory effects here.
            let n = unsafe { libc::kill(number(0) as i32, number(1) as i32) };
            if n == 0 {
                send(out, 200, "text/plain", b"sent")
            } else {
                result(out, Err(io::Error::last_os_error()))
            }
        }
        "alloc" => {
            let block = vec![1u8; (number(0) as usize) << 20];
            HOARD.lock().map_err(|_| bad("hoard"))?.push(block);
            send(out, 200, "text/plain", b"allocated")
        }
        _ => about(r, out),
    }
}

fn stream(n: u64, pause: u64, out: &mut impl Write) -> io::Result<bool> {
    out.write_all(
        b"HTTP/1.1 200 Probe\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    )?;
    for i in 1..=n {
        let chunk = format!("data: {i}\n\n");
        out.write_all(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes())?;
        out.flush()?;
        std::thread::sleep(Duration::from_millis(pause));
    }
    out.write_all(b"0\r\n\r\n")?;
    Ok(true)
}

fn pids() -> String {
    let mut pids: Vec<u32> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids.iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

fn about(r: &Request, out: &mut impl Write) -> io::Result<bool> {
    let version = std::fs::read_to_string("version").unwrap_or_default();
    let headers: BTreeMap<String, String> = r
        .headers
        .iter()
        .map(|(n, v)| (n.to_lowercase(), v.clone()))
        .collect();
    let headers: Vec<String> = headers
        .iter()
        .map(|(n, v)| format!("{}:{}", quote(n), quote(v)))
        .collect();
    let cwd = std::env::current_dir().unwrap_or_default();
    let var = |n: &str| quote(&std::env::var(n).unwrap_or_default());
    // SAFETY: getuid and getpid can't fail.
    let (uid, pid) = unsafe { (libc::getuid(), libc::getpid()) };
    let body = format!(
        "{{\"version\":{},\"pid\":{pid},\"uid\":{uid},\"port\":{},\"dyno\":{},\"home\":{},\"cwd\":{},\"method\":{},\"path\":{},\"body\":{},\"headers\":{{{}}}}}\n",
        quote(version.trim()),
        var("PORT"),
        var("DYNO"),
        var("HOME"),
        quote(&cwd.to_string_lossy()),
        quote(&r.method),
        quote(&r.path),
        r.body.len(),
        headers.join(",")
    );
    send(out, 200, "application/json", body.as_bytes())
}

fn quote(s: &str) -> String {
    let mut q = String::from("\"");
    for c in s.chars() {
        match c {
            '"' => q.push_str("\\\""),
            '\\' => q.push_str("\\\\"),
            c if (c as u32) < 0x20 => q.push_str(&format!("\\u{:04x}", c as u32)),
            c => q.push(c),
        }
    }
    q.push('"');
    q
}
