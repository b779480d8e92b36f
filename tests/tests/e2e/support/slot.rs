//! Ports and user ids that no other test has: a slot is a locked file, freed by the kernel when its holder is gone.

use nix::fcntl::{Flock, FlockArg};
use std::{fs::OpenOptions, net::TcpListener, os::unix::fs::OpenOptionsExt};

/// Below the ports of an agent with the usual settings, and those that the kernel gives.
const FIRST_PORT: u16 = 10_000;
const PORTS: u16 = 200;
const SLOTS: u16 = 50;

/// 200 ports and 1000 user ids.
pub struct Slot {
    _lock: Flock<std::fs::File>,
    number: u16,
}

impl Slot {
    /// The first slot that is free.
    ///
    /// # Panics
    /// All are taken.
    pub fn take() -> Slot {
        let dir = std::env::temp_dir().join(format!("hokku-test-slots-{}", nix::unistd::getuid()));
        std::fs::create_dir_all(&dir).expect("the temporary directory is writable");
        for number in 0..SLOTS {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(dir.join(number.to_string()))
                .expect("the slot's file can be opened");
            let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else {
                continue;
            };
            let slot = Slot {
                _lock: lock,
                number,
            };
            // Somebody else's program may sit on a port of the range.
            if [slot.api(), slot.router()]
                .iter()
                .all(|p| TcpListener::bind(("127.0.0.1", *p)).is_ok())
            {
                return slot;
            }
        }
        panic!("all {SLOTS} slots of ports are taken");
    }

    fn first(&self) -> u16 {
        FIRST_PORT + self.number * PORTS
    }

    /// For the API.
    pub fn api(&self) -> u16 {
        self.first()
    }

    /// For the router.
    pub fn router(&self) -> u16 {
        self.first() + 1
    }

    /// One that nothing of the platform listens on.
    pub fn spare(&self) -> u16 {
        self.first() + 2
    }

    /// The first of 190 for dynos.
    pub fn first_dyno(&self) -> u16 {
        self.first() + 10
    }

    /// User ids of apps begin here.
    pub fn first_uid(&self) -> u32 {
        300_000 + u32::from(self.number) * 1000
    }
}
