//! The app behind all proxies of the router's bench: small answers, pages, a big file, uploads, WebSockets.
//!
//! `bench-backend FD SOCKET` takes connections on the listening TCP socket that it was given as file descriptor FD, and
//! on the Unix socket SOCKET. One thread, so that it takes as little as possible from what is measured.

use std::cell::Cell;
use std::io;
use std::os::fd::FromRawFd;
use std::rc::Rc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A request's head may be so long.
const HEAD_MAX: usize = 64 * 1024;
/// Uploads are read in pieces of this size.
const PIECE: usize = 256 * 1024;
/// Places of a page where a page that is never the same twice differs.
const MARK: &[u8] = b"@@@@@@@@@@@@";

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(Ok(fd)), Some(path)) = (args.next().map(|a| a.parse()), args.next()) else {
        return Err(io::Error::other("use: bench-backend FD SOCKET"));
    };
    // SAFETY: the caller hands this descriptor over, and nobody else here uses it.
    let tcp = unsafe { std::net::TcpListener::from_raw_fd(fd) };
    tcp.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let tcp = tokio::net::TcpListener::from_std(tcp)?;
        let unix = tokio::net::UnixListener::bind(path)?;
        let answers = Rc::new(Answers::new());
        loop {
            tokio::select! {
                Ok((stream, _)) = tcp.accept() => {
                    stream.set_nodelay(true)?;
                    let who = stream.local_addr()?.ip().to_string();
                    tokio::task::spawn_local(serve(stream, who, answers.clone()));
                }
                Ok((stream, _)) = unix.accept() => {
                    tokio::task::spawn_local(serve(stream, "unix".to_owned(), answers.clone()));
                }
            }
        }
    })
}

/// Everything that is ever said, made once.
struct Answers {
    small: Vec<u8>,
    text: Vec<u8>,
    page: Vec<u8>,
    marks: Vec<usize>,
    big: Vec<u8>,
    asked: Cell<u64>,
}

impl Answers {
    fn new() -> Answers {
        let page = answer("text/html; charset=utf-8", &page());
        let mut answers = Answers {
            small: answer("text/plain", &b"x".repeat(200)),
            text: Vec::new(),
            marks: memmem(&page, MARK).collect(),
            page,
            big: answer("application/octet-stream", &noise(1024 * 1024)),
            asked: Cell::new(1),
        };
        answers.text = answers.other();
        answers
    }

    /// A page of the same size and kind as the others, that nobody was ever told.
    fn other(&self) -> Vec<u8> {
        let mut page = self.page.clone();
        let mut seed = self.asked.get();
        self.asked.set(seed + 1);
        for at in &self.marks {
            seed = next(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let text = format!("{seed:016x}");
            page[*at..*at + MARK.len()].copy_from_slice(&text.as_bytes()[..MARK.len()]);
        }
        page
    }
}

fn answer(kind: &str, body: &[u8]) -> Vec<u8> {
    let mut all = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    all.extend_from_slice(body);
    all
}

fn memmem<'a>(all: &'a [u8], part: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    (0..all.len().saturating_sub(part.len())).filter(move |at| all[*at..].starts_with(part))
}

/// xorshift64*: the same pages in every run.
fn next(mut seed: u64) -> u64 {
    seed |= 1;
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    seed.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

fn noise(len: usize) -> Vec<u8> {
    let mut seed = 7;
    (0..len)
        .map(|_| {
            seed = next(seed);
            (seed >> 56) as u8
        })
        .collect()
}

/// 20 KB of HTML like a documentation page: items of words, of which few are frequent, with marks in them.
fn page() -> Vec<u8> {
    const PARTS: [&str; 20] = [
        "con", "ter", "a", "re", "lo", "ment", "in", "de", "ver", "st", "ra", "ing", "po", "sk",
        "al", "um", "ti", "er", "ob", "que",
    ];
    let mut seed = 42;
    let mut roll = |below: u64| {
        seed = next(seed);
        (seed >> 33) % below
    };
    let words: Vec<String> = (0..700)
        .map(|_| {
            (0..=roll(3))
                .map(|_| PARTS[roll(20) as usize])
                .collect::<String>()
        })
        .collect();
    let mut page =
        String::from("<!doctype html><html><head><title>List</title></head><body><ul>\n");
    while page.len() < 20_400 {
        page.push_str("<li class=\"item\"><a href=\"/items/@@@@@@@@@@@@\">");
        for _ in 0..3 + roll(20) {
            let most = 1 + roll(700);
            page.push_str(&words[roll(most) as usize]);
            page.push(' ');
        }
        page.push_str("</a></li>\n");
    }
    page.push_str("</ul></body></html>\n");
    page.into_bytes()
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, who: String, answers: Rc<Answers>) {
    // A proxy that goes away in the middle is its own business; it is seen from the clients' side.
    let _ = talk(stream, &who, &answers).await;
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    who: &str,
    answers: &Answers,
) -> io::Result<()> {
    let mut have = Vec::with_capacity(4096);
    loop {
        let end = loop {
            if let Some(at) = memmem_end(&have) {
                break at;
            }
            if have.len() > HEAD_MAX || stream.read_buf(&mut have).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&have[..end]).into_owned();
        have.drain(..end);
        let path = head.split(' ').nth(1).unwrap_or("/");
        let header = |name: &str| {
            head.lines().skip(1).find_map(|l| {
                let (n, v) = l.split_once(':')?;
                n.eq_ignore_ascii_case(name).then(|| v.trim())
            })
        };
        if header("transfer-encoding").is_some() {
            stream
                .write_all(b"HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .await?;
            return Ok(());
        }
        if let Some(length) = header("content-length") {
            let length: usize = length.parse().map_err(io::Error::other)?;
            take(&mut stream, &mut have, length).await?;
        }
        if header("upgrade").is_some_and(|u| u.eq_ignore_ascii_case("websocket")) {
            // the answer to the key of RFC 6455, section 1.3, which the bench always sends
            let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await?;
            let mut rest = [0; 256];
            while stream.read(&mut rest).await? > 0 {}
            return Ok(());
        }
        match path {
            "/text" => stream.write_all(&answers.text).await?,
            "/other" => stream.write_all(&answers.other()).await?,
            "/big" => stream.write_all(&answers.big).await?,
            "/who" => {
                stream
                    .write_all(&answer("text/plain", who.as_bytes()))
                    .await?
            }
            _ => stream.write_all(&answers.small).await?,
        }
        if header("connection").is_some_and(|c| c.eq_ignore_ascii_case("close"))
            || head.lines().next().is_some_and(|l| l.ends_with("HTTP/1.0"))
        {
            return Ok(());
        }
        have.shrink_to(4096);
    }
}

fn memmem_end(have: &[u8]) -> Option<usize> {
    have.windows(4)
        .position(|w| w == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// Reads a body and forgets it.
async fn take<S: AsyncRead + Unpin>(
    stream: &mut S,
    have: &mut Vec<u8>,
    length: usize,
) -> io::Result<()> {
    let mut left = length - length.min(have.len());
    have.drain(..length.min(have.len()));
    if left == 0 {
        return Ok(());
    }
    let mut piece = vec![0; PIECE];
    while left > 0 {
        let most = left.min(PIECE);
        let n = stream.read(&mut piece[..most]).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left -= n;
    }
    Ok(())
}
