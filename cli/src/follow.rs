//! Log lines from the server to stdout, coloured for people, and followed through a restart of the agent.

use crate::client::Client;
use crate::fail::{Fail, Result};
use crate::output::{self, Paint};
use crate::steady::steady;
use anstyle::AnsiColor;
use hokku_model::api::{LogSession, LogSessionRequest};
use reqwest::Method;
use reqwest::header::ACCEPT;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How many lines the server keeps, and how many are known again after the stream broke.
const MOST: u32 = 1500;
const REMEMBERED: usize = MOST as usize;
/// Between two attempts, from the first to the last.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// A line longer than this is passed on in pieces, in bytes.
const LONGEST: usize = 64 << 10;
/// How long a server may be away before following ends.
const PATIENCE: Duration = Duration::from_secs(120);

/// Prints the log of `app`. With `tail`, follows it until the program is stopped, asking anew whenever the stream breaks.
///
/// # Errors
/// The server can't be reached or refused; while following, only after it was away for two minutes.
pub fn follow(client: &Client, app: &str, request: LogSessionRequest, paint: Paint) -> Result<()> {
    let tail = request.tail.unwrap_or(false);
    let mut printer = Printer::new(paint);
    let mut request = request;
    let mut known = false;
    let mut away_since: Option<Instant> = None;
    let mut pause = SHORTEST;
    loop {
        printer.connected = false;
        let before = printer.lines;
        let ended = session(client, app, &request, &mut printer);
        printer.flush();
        if !tail {
            return ended;
        }
        if printer.lines > before {
            pause = SHORTEST;
        }
        if printer.connected {
            known = true;
            away_since = None;
        }
        if let Err(e) = ended {
            // A refusal stays one; and a server that was never there is no broken stream.
            let gone = e.http == 0 || e.http >= 500;
            if !gone || !known || away_since.is_some_and(|t| t.elapsed() > PATIENCE) {
                return Err(e);
            }
            if away_since.is_none() && Paint::stderr().is_on() {
                output::warning("The log stream broke; asking again.");
            }
        }
        away_since.get_or_insert_with(Instant::now);
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
        request.lines = Some(MOST);
        printer.reconnected();
    }
}

fn session(
    client: &Client,
    app: &str,
    request: &LogSessionRequest,
    printer: &mut Printer,
) -> Result<()> {
    let session: LogSession = client.send(Method::POST, &["apps", app, "log-sessions"], request)?;
    client.wait(async {
        let ask = client
            .follow(&session.logplex_url)?
            .header(ACCEPT, "text/plain");
        let mut response = client.accept(client.deliver(ask).await?).await?;
        printer.connected = true;
        loop {
            match response.chunk().await {
                Ok(Some(piece)) => printer.take(&piece),
                Ok(None) => return Ok(()),
                Err(e) => return Err(Fail::new(format!("The log stream of {app} broke: {e}."))),
            }
        }
    })
}

/// Cuts the stream into lines, leaves out what was printed before the stream broke, and colours.
struct Printer {
    colours: Colours,
    terminal: bool,
    rest: Vec<u8>,
    recent: VecDeque<u64>,
    skipping: Option<HashSet<u64>>,
    connected: bool,
    lines: u64,
    printed: Vec<u8>,
}

fn mark(line: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    line.hash(&mut hasher);
    hasher.finish()
}

impl Printer {
    fn new(paint: Paint) -> Printer {
        Printer {
            colours: Colours::new(paint),
            terminal: std::io::stdout().is_terminal(),
            rest: Vec::new(),
            recent: VecDeque::new(),
            skipping: None,
            connected: false,
            lines: 0,
            printed: Vec::new(),
        }
    }

    fn reconnected(&mut self) {
        self.rest.clear();
        self.skipping = Some(self.recent.iter().copied().collect());
    }

    fn take(&mut self, piece: &[u8]) {
        self.accept(piece);
        output::bytes(&std::mem::take(&mut self.printed));
    }

    fn accept(&mut self, piece: &[u8]) {
        self.rest.extend_from_slice(piece);
        let whole = std::mem::take(&mut self.rest);
        let mut left = whole.as_slice();
        while let Some(at) = left.iter().position(|b| *b == b'\n') {
            self.line(&left[..at]);
            left = &left[at + 1..];
        }
        while left.len() > LONGEST {
            self.line(&left[..LONGEST]);
            left = &left[LONGEST..];
        }
        self.rest = left.to_vec();
    }

    fn line(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mark = mark(line);
        // Old lines come first, in their old order; the first new one ends the looking back.
        if let Some(known) = &self.skipping {
            if known.contains(&mark) {
                return;
            }
            self.skipping = None;
        }
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(mark);
        self.lines += 1;
        if self.terminal {
            self.colours.write(&steady(line), &mut self.printed);
        } else {
            self.colours.write(line, &mut self.printed);
        }
        self.printed.push(b'\n');
    }

    /// Prints what is left when a stream ends without a line end.
    fn flush(&mut self) {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            self.line(&rest);
        }
        output::bytes(&std::mem::take(&mut self.printed));
    }
}

/// One colour per process type, given out in order, as Heroku does.
struct Colours {
    paint: Paint,
    given: HashMap<String, AnsiColor>,
    next: usize,
}

const WHEEL: [AnsiColor; 9] = [
    AnsiColor::Cyan,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightGreen,
    AnsiColor::BrightCyan,
    AnsiColor::BrightMagenta,
    AnsiColor::BrightBlue,
    AnsiColor::BrightYellow,
    AnsiColor::BrightRed,
];

/// `2026-11-20T15:19:08+00:00 app[web.1]:` and the process type in it.
fn prefix(line: &str) -> Option<(&str, &str)> {
    let end = line.find("]:")?;
    let open = line[..end].rfind('[')?;
    let name = &line[open + 1..end];
    let valid = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    valid.then(|| (&line[..end + 2], name.split('.').next().unwrap_or(name)))
}

impl Colours {
    fn new(paint: Paint) -> Colours {
        let given = [
            ("run", AnsiColor::Yellow),
            ("router", AnsiColor::Green),
            ("api", AnsiColor::White),
            ("web", WHEEL[0]),
        ];
        Colours {
            paint,
            given: given.map(|(n, c)| (n.to_owned(), c)).into(),
            next: 1,
        }
    }

    fn of(&mut self, kind: &str) -> AnsiColor {
        if let Some(colour) = self.given.get(kind) {
            return *colour;
        }
        let colour = WHEEL[self.next % WHEEL.len()];
        self.next += 1;
        if self.given.len() < 256 {
            self.given.insert(kind.to_owned(), colour);
        }
        colour
    }

    fn write(&mut self, line: &[u8], to: &mut Vec<u8>) {
        let text = if self.paint.is_on() {
            std::str::from_utf8(line).ok()
        } else {
            None
        };
        let Some((head, kind)) = text.and_then(prefix) else {
            to.extend_from_slice(line);
            return;
        };
        let head_colour = self.of(kind);
        let body = text.map(|t| &t[head.len()..]).unwrap_or_default();
        to.extend_from_slice(self.paint.colour(head_colour, head).as_bytes());
        let coloured = self.body(kind, body);
        to.extend_from_slice(coloured.as_bytes());
    }

    fn body(&self, kind: &str, body: &str) -> String {
        let text = body.trim_start();
        let alarm = text.starts_with("Error ")
            || text.ends_with(" to crashed")
            || (kind == "router" && text.starts_with("at=error"))
            || (kind == "api" && text.starts_with("Build failed"));
        if alarm {
            return self.paint.colour(AnsiColor::Red, body);
        }
        if kind == "router" && text.starts_with("at=info") {
            return self.paint.dim(body);
        }
        match text
            .strip_prefix("State changed from ")
            .and_then(|t| t.split_once(" to "))
        {
            Some((from, to)) => {
                format!(
                    " State changed from {} to {}",
                    self.paint.colour(AnsiColor::Yellow, from),
                    self.paint.colour(AnsiColor::Green, to)
                )
            }
            None => body.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(p: &mut Printer) -> String {
        String::from_utf8(std::mem::take(&mut p.printed)).unwrap()
    }

    #[test]
    fn lines_whatever_the_pieces() {
        let mut p = Printer::new(Paint::always(false));
        for piece in ["a", "b\nc\r", "\n\nd"] {
            p.accept(piece.as_bytes());
        }
        assert_eq!(printed(&mut p), "ab\nc\n\n");
        assert_eq!(p.rest, b"d");
        let mut raw = Printer::new(Paint::always(true));
        raw.terminal = false;
        raw.accept(b"T app[web.1]: \xff\xfe\n");
        assert_eq!(raw.printed, b"T app[web.1]: \xff\xfe\n");
        let mut long = Printer::new(Paint::always(false));
        long.accept(&vec![b'x'; LONGEST + 10]);
        assert_eq!((long.lines, long.rest.len()), (1, 10));
    }

    #[test]
    fn a_broken_stream_repeats_nothing_and_loses_nothing() {
        let mut p = Printer::new(Paint::always(false));
        p.accept(b"1\n2\n3\nhal");
        p.reconnected();
        p.accept(b"2\n3\nhalf\n4\n3\n");
        assert_eq!(printed(&mut p), "1\n2\n3\nhalf\n4\n3\n");
    }

    #[test]
    fn colours_by_process_type() {
        let mut c = Colours::new(Paint::always(true));
        let mut show = |l: &str| {
            let mut to = Vec::new();
            c.write(l.as_bytes(), &mut to);
            String::from_utf8(to).unwrap()
        };
        assert_eq!(
            show("T app[web.1]: hi"),
            "\u{1b}[36mT app[web.1]:\u{1b}[0m hi"
        );
        assert_eq!(
            show("T app[run.12]: hi"),
            "\u{1b}[33mT app[run.12]:\u{1b}[0m hi"
        );
        assert!(
            show("T heroku[router]: at=error code=H12")
                .ends_with("\u{1b}[31m at=error code=H12\u{1b}[0m")
        );
        assert_eq!(
            show("T app[worker.1]: a"),
            "\u{1b}[35mT app[worker.1]:\u{1b}[0m a"
        );
        assert_eq!(
            show("T app[worker.2]: a"),
            "\u{1b}[35mT app[worker.2]:\u{1b}[0m a"
        );
        for plain in ["no prefix", "a [b c]: d", "[]: x", ""] {
            assert_eq!(show(plain), plain);
        }
    }
}
