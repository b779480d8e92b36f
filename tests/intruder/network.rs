//! Ways through the network that all share: sockets of the agent, the router and other apps, and the instance's metadata.

use super::{Facts, SKIPPED, Verdict, Way, any, gained, last, refused};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as UnixAddr, UnixStream},
    },
    time::Duration,
};

pub const WAYS: &[Way] = &[
    Way("connect to the agent's socket", |f| {
        gained(
            UnixStream::connect(format!("{}/run/hokkud.sock", f.get("data"))),
            "connected",
        )
    }),
    Way("connect to the router's socket", |f| {
        gained(
            UnixStream::connect(format!("{}/router/router.sock", f.get("data"))),
            "connected",
        )
    }),
    Way("connect to the shim's socket", |f| {
        any(["ctl.sock"], |n| {
            gained(
                UnixStream::connect(format!("{}/dynos/{}/{n}", f.get("data"), f.get("dyno"))),
                "connected",
            )
        })
    }),
    Way("connect to the host's services", |_| {
        any(
            [
                "/run/docker.sock",
                "/var/run/docker.sock",
                "/run/containerd/containerd.sock",
                "/run/dbus/system_bus_socket",
                "/run/systemd/private",
                "/run/systemd/journal/socket",
                "/run/systemd/notify",
                "/dev/log",
            ],
            |p| gained(UnixStream::connect(p), p),
        )
    }),
    Way("connect to an abstract socket of the host", |f| {
        let name = UnixAddr::from_abstract_name(f.get("abstract")).map_err(|e| e.to_string())?;
        gained(UnixStream::connect_addr(&name), "connected")
    }),
    Way("connect to an abstract socket of another app", |f| {
        let name =
            UnixAddr::from_abstract_name(f.get("victim-abstract")).map_err(|e| e.to_string())?;
        gained(UnixStream::connect_addr(&name), "connected")
    }),
    Way("ask the API without a token", |f| {
        ask(
            f.get("api"),
            "GET /apps HTTP/1.1\r\nHost: localhost\r\nAccept: application/vnd.heroku+json; version=3\r\n",
            " 200 ",
        )
    }),
    Way("ask the API with a made-up token", |f| {
        ask(
            f.get("api"),
            "GET /apps HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer root\r\nX-Forwarded-For: 127.0.0.1\r\n",
            " 200 ",
        )
    }),
    Way("run the other app's console through the API", |f| {
        ask(
            f.get("api"),
            &format!(
                "POST /apps/{}/dynos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n",
                f.get("victim-app")
            ),
            " 20",
        )
    }),
    Way("fetch the other app's code by git", |f| {
        ask(
            f.get("api"),
            &format!(
                "GET /{}.git/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: localhost\r\n",
                f.get("victim-app")
            ),
            " 200 ",
        )
    }),
    Way("take the other app's port", |f| {
        any(["0.0.0.0", "127.0.0.1", "::"], |ip| {
            bind(ip, f.number("victim-port") as u16)
        })
    }),
    Way("share the other app's port", |f| {
        reuse(f.number("victim-port") as u16)
    }),
    Way("share the router's port", |f| {
        any(["router-port", "api-port"], |n| reuse(f.number(n) as u16))
    }),
    Way("open a raw socket", |_| {
        any(
            [
                (libc::AF_INET, libc::SOCK_RAW, 255),
                (libc::AF_INET, libc::SOCK_RAW, 1),
                (libc::AF_PACKET, libc::SOCK_RAW, 0x300),
            ],
            socket,
        )
    }),
    Way("listen to the kernel's audit and sockets", |_| {
        any([9, 4, 12, 15, 6], |p| {
            socket((libc::AF_NETLINK, libc::SOCK_RAW, p))
        })
    }),
    Way("open sockets of rare kinds", |_| {
        any(
            [
                (40, 1, 0),
                (38, 5, 0),
                (31, 3, 1),
                (29, 3, 1),
                (30, 1, 0),
                (44, 3, 0),
                (2, 1, 132),
                (2, 6, 33),
            ],
            socket,
        )
    }),
    Way("give the machine another address", address),
    Way("read the instance's metadata", |f| {
        metadata(f, "169.254.169.254:80")
    }),
    Way("read the instance's metadata by IPv6", |f| {
        metadata(f, "[fd00:ec2::254]:80")
    }),
    Way("read the instance's metadata by a mapped address", |f| {
        metadata(f, "[::ffff:169.254.169.254]:80")
    }),
    Way("send the metadata service a datagram", |f| {
        if f.get("imds").is_empty() {
            return Err(SKIPPED.into());
        }
        let s = UdpSocket::bind("0.0.0.0:0").map_err(|e| e.to_string())?;
        gained(s.send_to(b"x", "169.254.169.254:80"), "sent")
    }),
    Way("reach a private app's port", |f| private(f, "127.0.0.1")),
    Way("reach a private app's port by IPv6", |f| private(f, "::1")),
    Way("reach a private app's port by the machine's address", |f| {
        private(f, f.get("address"))
    }),
];

fn socket((family, kind, protocol): (i32, i32, i32)) -> Verdict {
    // SAFETY: takes no pointers
    refused(i64::from(unsafe { libc::socket(family, kind, protocol) }))
}

fn connect(to: &str) -> Result<TcpStream, String> {
    let to: SocketAddr = to
        .to_socket_addrs()
        .map_err(|e| e.to_string())?
        .next()
        .ok_or("no address")?;
    let s = TcpStream::connect_timeout(&to, Duration::from_secs(3)).map_err(|e| e.to_string())?;
    let _ = s.set_read_timeout(Some(Duration::from_secs(3)));
    Ok(s)
}

fn ask(to: &str, head: &str, success: &str) -> Verdict {
    let mut s = connect(to)?;
    s.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())
        .map_err(|e| e.to_string())?;
    let mut text = vec![];
    let _ = s.take(64 * 1024).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    let first = text.lines().next().unwrap_or("no answer").to_owned();
    if first.contains(success) {
        Ok(text.into_owned())
    } else {
        Err(first)
    }
}

fn metadata(f: &Facts, to: &str) -> Verdict {
    if f.get("imds").is_empty() {
        return Err(SKIPPED.into());
    }
    let mut s = connect(to)?;
    let _ = s.write_all(b"GET /latest/meta-data/iam/security-credentials/ HTTP/1.0\r\n\r\n");
    let mut text = String::new();
    let _ = s.read_to_string(&mut text);
    Ok(format!("connected: {text}"))
}

fn private(f: &Facts, ip: &str) -> Verdict {
    if f.get("private").is_empty() {
        return Err(SKIPPED.into());
    }
    let to = if ip.contains(':') {
        format!("[{ip}]:{}", f.number("victim-port"))
    } else {
        format!("{ip}:{}", f.number("victim-port"))
    };
    connect(&to).map(|_| format!("connected to {to}"))
}

fn bind(ip: &str, port: u16) -> Verdict {
    gained(TcpListener::bind((ip, port)), ip)
}

/// Listening beside another user's socket, with the option that lets one user's programs share a port.
fn reuse(port: u16) -> Verdict {
    // SAFETY: pointers and lengths are those of structs that outlive the calls
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
        let on = 1i32;
        for option in [libc::SO_REUSEPORT, libc::SO_REUSEADDR] {
            libc::setsockopt(fd, libc::SOL_SOCKET, option, (&raw const on).cast(), 4);
        }
        let mut a: libc::sockaddr_in = std::mem::zeroed();
        a.sin_family = libc::AF_INET as u16;
        a.sin_port = port.to_be();
        a.sin_addr.s_addr = u32::from_be_bytes([127, 0, 0, 1]).to_be();
        if libc::bind(fd, (&raw const a).cast(), size_of_val(&a) as u32) < 0 {
            return Err(last());
        }
        refused(i64::from(libc::listen(fd, 1)))
    }
}

/// SIOCSIFADDR on the loopback interface.
fn address(_: &Facts) -> Verdict {
    // SAFETY: a zeroed request with a name in it, which outlives the call
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_addr.sa_family = libc::AF_INET as u16;
        refused(i64::from(libc::ioctl(
            fd,
            libc::SIOCSIFADDR as _,
            &raw const request,
        )))
    }
}
