//! The clients of `ctl.sock`: bytes in and out, bounded, never waited for.

use crate::call;
use hokku_model::shim::{Frame, MAX_FRAME};
use std::{
    io::{Read, Write},
    os::{
        fd::AsRawFd,
        unix::net::{UnixListener, UnixStream},
    },
};

/// More clients than this are turned away.
const MOST: usize = 32;

/// A client with more than this unread is cut off, unless it is the attached one (then the process waits).
const MOST_UNREAD: usize = 1 << 20;

/// Output for the attached client is read from the process while less than this is unread.
const ROOM: usize = 256 * 1024;

/// One client.
pub struct Client {
    /// Never used twice.
    pub id: u64,
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    sent: usize,
    /// It hung up, or broke the protocol.
    pub gone: bool,
}

/// All of them.
pub struct Clients {
    listener: UnixListener,
    next: u64,
    /// Those that are connected.
    pub all: Vec<Client>,
}

impl Clients {
    /// Nobody yet.
    pub fn new(listener: UnixListener) -> Clients {
        Clients {
            listener,
            next: 0,
            all: Vec::new(),
        }
    }

    /// For `poll`.
    pub fn listener(&self) -> i32 {
        self.listener.as_raw_fd()
    }

    /// Takes in who waits at the door.
    pub fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.all.len() < MOST && stream.set_nonblocking(true).is_ok() {
                self.next += 1;
                self.all.push(Client {
                    id: self.next,
                    stream,
                    input: Vec::new(),
                    output: Vec::new(),
                    sent: 0,
                    gone: false,
                });
            }
        }
    }

    /// One of them.
    pub fn get(&mut self, id: u64) -> Option<&mut Client> {
        self.all.iter_mut().find(|c| c.id == id)
    }
}

impl Client {
    /// For `poll`.
    pub fn fd(&self) -> i32 {
        self.stream.as_raw_fd()
    }

    /// Reads once and gives the whole frames that are there.
    pub fn receive(&mut self, buf: &mut [u8]) -> Vec<Frame> {
        match self.stream.read(buf) {
            Ok(0) => self.gone = true,
            Ok(n) => self.input.extend_from_slice(&buf[..n]),
            Err(e) if call::not_now(&e) => {}
            Err(_) => self.gone = true,
        }
        let mut frames = Vec::new();
        loop {
            match Frame::decode(&mut self.input) {
                Ok(Some(f)) => frames.push(f),
                Ok(None) => break,
                Err(_) => {
                    self.gone = true;
                    break;
                }
            }
        }
        if self.input.is_empty() && self.input.capacity() > 4096 {
            self.input = Vec::new();
        }
        frames
    }

    /// Queues a frame.
    pub fn tell(&mut self, frame: &Frame) {
        self.output.extend_from_slice(&frame.encode());
        if self.unread() > MOST_UNREAD {
            self.gone = true;
        }
    }

    /// Queues output; in as many frames as it takes.
    pub fn give(&mut self, bytes: &[u8], error: bool) {
        for part in bytes.chunks(MAX_FRAME) {
            self.output.push(if error { 2 } else { 1 });
            self.output
                .extend_from_slice(&(part.len() as u32).to_be_bytes());
            self.output.extend_from_slice(part);
        }
    }

    /// Bytes that wait for the client.
    pub fn unread(&self) -> usize {
        self.output.len() - self.sent
    }

    /// May more output be read for it?
    pub fn has_room(&self) -> bool {
        self.unread() < ROOM
    }

    /// Writes what the socket takes; true when it took something.
    pub fn send(&mut self) -> bool {
        let before = self.sent;
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) if call::not_now(&e) => break,
                Err(_) => {
                    self.gone = true;
                    break;
                }
            }
        }
        let moved = self.sent > before;
        if self.sent == self.output.len() {
            self.sent = 0;
            self.output.clear();
            if self.output.capacity() > 4096 && self.output.capacity() < ROOM {
                // kept while much flows, given back when little does
                self.output = Vec::new();
            }
        } else if self.sent > ROOM {
            self.output.drain(..self.sent);
            self.sent = 0;
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_for_a_client_is_frames_of_the_model() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut all = Clients::new(listener);
        let mut them = UnixStream::connect(&path).unwrap();
        all.accept();
        let c = &mut all.all[0];
        c.give(&vec![7; MAX_FRAME + 1], true);
        c.tell(&Frame::Kill);
        assert!(c.send() && c.unread() == 0);
        let mut buf = vec![0; 2 * MAX_FRAME];
        let mut got = Vec::new();
        while got.len() < MAX_FRAME + 1 + 15 {
            let n = them.read(&mut buf).unwrap();
            got.extend_from_slice(&buf[..n]);
        }
        assert_eq!(
            Frame::decode(&mut got),
            Ok(Some(Frame::Stderr(vec![7; MAX_FRAME])))
        );
        assert_eq!(Frame::decode(&mut got), Ok(Some(Frame::Stderr(vec![7]))));
        assert_eq!(Frame::decode(&mut got), Ok(Some(Frame::Kill)));
        them.write_all(&[99, 0, 0, 0, 0]).unwrap();
        assert!(
            c.receive(&mut buf).is_empty() && c.gone,
            "a broken peer is dropped"
        );
    }
}
