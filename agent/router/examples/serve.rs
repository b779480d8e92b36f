//! For measuring: a router in front of a dyno that always says the same 200 bytes.
//!
//! `serve backend PORT` is the dyno; `serve router PORT BACKEND_PORT APPS` routes hosts `app0.test` … to it.

use hokku_model::route::{AppRoutes, AppState, RouteTable, Target};
use hokku_model::{AppId, DynoId};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let port =
        |i: usize| -> anyhow::Result<u16> { Ok(args.get(i).map_or("0", |s| s.as_str()).parse()?) };
    match args.first().map(String::as_str) {
        Some("backend") => backend(port(1)?),
        Some("router") => router(port(1)?, port(2)?, port(3)?.max(1)),
        _ => anyhow::bail!("serve backend PORT | serve router PORT BACKEND_PORT APPS"),
    }
}

/// One thread per connection; whatever comes with an empty line in it is a request.
fn backend(port: u16) -> anyhow::Result<()> {
    let body = "x".repeat(200);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    for stream in TcpListener::bind(("127.0.0.1", port))?.incoming() {
        let (mut stream, answer) = (stream?, answer.clone());
        stream.set_nodelay(true)?;
        std::thread::spawn(move || {
            let mut buffer = [0; 16384];
            while let Ok(n) = stream.read(&mut buffer) {
                if n == 0
                    || (buffer[..n].ends_with(b"\r\n\r\n")
                        && stream.write_all(answer.as_bytes()).is_err())
                {
                    return;
                }
            }
        });
    }
    Ok(())
}

fn router(port: u16, backend: u16, apps: u16) -> anyhow::Result<()> {
    let dir = std::env::temp_dir().join(format!("hokku-router-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let mut table = RouteTable {
        version: 1,
        ..RouteTable::default()
    };
    for i in 0..apps {
        let target = Target {
            dyno: DynoId(u128::from(i)),
            name: "web.1".parse()?,
            addr: SocketAddr::from(([127, 0, 0, 1], backend)).into(),
        };
        let routes = AppRoutes {
            hosts: vec![format!("app{i}.test")],
            release: Some(1),
            targets: vec![target],
            ..AppRoutes::new(format!("app{i}").parse()?, AppState::Running)
        };
        table.apps.insert(AppId(u128::from(i)), routes);
    }
    std::fs::write(dir.join("routes.json"), serde_json::to_vec(&table)?)?;
    let mut config = hokku_router::Config::new(
        dir.join("router.sock"),
        dir.join("routes.json"),
        dir.join("logs"),
    );
    config.listen = vec![SocketAddr::from(([127, 0, 0, 1], port))];
    hokku_router::serve(config)?;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
