//! For measuring: what a 20 KB page costs the router's thread, in microseconds of CPU per request, and what is sent of it.
//!
//! One router thread, one client connection, an app on loopback. `compression [REQUESTS]`, 2000 per line unless told.

use hokku_model::route::{AppRoutes, AppState, RouteTable, Target};
use hokku_model::{AppId, DynoId};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

const SIZE: usize = 20_000;

fn main() -> anyhow::Result<()> {
    let requests: u32 = match std::env::args().nth(1) {
        Some(n) => n.parse()?,
        None => 2000,
    };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let backend = listener.local_addr()?;
    std::thread::spawn(move || serve(&listener));
    let dir = std::env::temp_dir().join(format!("hokku-compression-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let router = start(&dir, backend)?;
    let address = router.listen()[0];
    println!("{:<22} {:>10} {:>10}", "", "CPU us", "bytes");
    for (what, path, accept) in [
        ("identity", "/new", "identity"),
        ("gzip, new bodies", "/new", "gzip"),
        ("zstd, new bodies", "/new", "zstd"),
        ("gzip, same body", "/same", "gzip"),
        ("zstd, same body", "/same", "zstd"),
    ] {
        let mut best = f64::MAX;
        let mut bytes = 0;
        for _ in 0..5 {
            // warm connection and code
            run(address, path, accept, 50)?;
            let before = cpu_ns()?;
            bytes = run(address, path, accept, requests / 5)?;
            let spent = (cpu_ns()? - before) as f64 / 1000.0 / f64::from(requests / 5);
            best = best.min(spent);
        }
        println!("{what:<22} {best:>10.1} {bytes:>10}");
    }
    router.stop();
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

fn start(dir: &std::path::Path, backend: SocketAddr) -> anyhow::Result<hokku_router::Router> {
    let target = Target {
        dyno: DynoId(1),
        name: "web.1".parse()?,
        addr: backend.into(),
    };
    let app = AppRoutes {
        hosts: vec!["app.test".into()],
        release: Some(1),
        targets: vec![target],
        ..AppRoutes::new("app".parse()?, AppState::Running)
    };
    let table = RouteTable {
        version: 1,
        apps: [(AppId(1), app)].into(),
        ..RouteTable::default()
    };
    std::fs::write(dir.join("routes.json"), serde_json::to_vec(&table)?)?;
    let mut config = hokku_router::Config::new(
        dir.join("router.sock"),
        dir.join("routes.json"),
        dir.join("logs"),
    );
    config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    config.threads = 1;
    hokku_router::start(config)
}

/// Nanoseconds the router's thread was on a processor.
fn cpu_ns() -> anyhow::Result<u64> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm"))?.trim() == "router-0" {
            let stat = std::fs::read_to_string(task.join("schedstat"))?;
            return Ok(stat.split(' ').next().unwrap_or("").parse()?);
        }
    }
    anyhow::bail!("there is no router thread")
}

/// Asks so often, on one connection; returns the size of the last body.
fn run(address: SocketAddr, path: &str, accept: &str, times: u32) -> anyhow::Result<usize> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(65536, stream.try_clone()?);
    let ask = format!("GET {path} HTTP/1.1\r\nHost: app.test\r\nAccept-Encoding: {accept}\r\n\r\n");
    let mut body = Vec::new();
    for _ in 0..times {
        stream.write_all(ask.as_bytes())?;
        let (mut line, mut length) = (String::new(), 0);
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
            if line.trim().is_empty() {
                break;
            }
        }
        anyhow::ensure!(length > 0, "an answer without a length");
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
    }
    Ok(body.len())
}

/// The app: `/same` is always the same page, anything else another one each time.
fn serve(listener: &TcpListener) {
    let words = [
        "router",
        "page",
        "of",
        "some",
        "text",
        "which",
        "compresses",
        "about",
        "fourfold",
        "as",
        "do",
        "most",
    ];
    let mut page = String::from("<html><!-- 0000000000 --><body>\n");
    let mut x = 1u64;
    while page.len() < SIZE {
        x = x
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        let word = words[(x >> 33) as usize % words.len()];
        let line = match (x >> 50) % 8 {
            0 => format!("</p>\n<p class=\"text\">{word} <a href=\"/{:x}\">", x >> 40),
            1 => format!("{word}</a> {:x} ", x >> 52),
            _ => format!("{word} "),
        };
        page.push_str(&line);
    }
    page.truncate(SIZE);
    let mut count = 0u64;
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        // of no effect on what is measured
        let _ = stream.set_nodelay(true);
        let page = page.clone();
        count += 1_000_000;
        let mut number = count;
        std::thread::spawn(move || {
            let mut buffer = [0; 16384];
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                let mut page = page.clone();
                if !buffer.starts_with(b"GET /same") {
                    number += 1;
                    page.replace_range(11..21, &format!("{number:010}"));
                }
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {SIZE}\r\n\r\n"
                );
                let whole = [head.as_bytes(), page.as_bytes()].concat();
                if buffer[..n].ends_with(b"\r\n\r\n") && stream.write_all(&whole).is_err() {
                    return;
                }
            }
        });
    }
}
