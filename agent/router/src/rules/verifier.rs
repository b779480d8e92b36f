//! Threads for work that takes milliseconds: password hashes. Few, of low priority, with a short queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Jobs that may wait, of all apps together.
const QUEUE: usize = 64;

type Job = Box<dyn FnOnce() + Send>;

/// The threads. They start with the first job and end when this is dropped.
pub(crate) struct Verifier {
    queue: OnceLock<SyncSender<Job>>,
    threads: usize,
}

impl Default for Verifier {
    /// Half as many threads as there are cores, one to four.
    fn default() -> Verifier {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Verifier {
            queue: OnceLock::new(),
            threads: (cores / 2).clamp(1, 4),
        }
    }
}

impl Verifier {
    /// Has this done as soon as a thread is free. False when too much waits already.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) -> bool {
        let queue = self.queue.get_or_init(|| self.start());
        queue.try_send(Box::new(job)).is_ok()
    }

    fn start(&self) -> SyncSender<Job> {
        let (queue, jobs) = sync_channel::<Job>(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..self.threads {
            let jobs = jobs.clone();
            let thread = std::thread::Builder::new().name(format!("router-verify-{number}"));
            if let Err(e) = thread.spawn(move || work(&jobs)) {
                tracing::error!("passwords are verified by fewer threads: {e}");
            }
        }
        queue
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    // SAFETY: takes and gives numbers only. On Linux 0 is the calling thread, so that a flood of passwords takes no
    // time from those that serve.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            // who waits for the job sees that its end was dropped
            tracing::error!("verifying a password panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn works_in_order_and_survives_a_panic() {
        let verifier = Verifier {
            queue: OnceLock::new(),
            threads: 1,
        };
        let (tell, told) = channel();
        assert!(verifier.submit(|| panic!("a test")));
        for n in 0..10 {
            let tell = tell.clone();
            assert!(verifier.submit(move || tell.send(n).unwrap()));
        }
        drop(tell);
        assert_eq!(told.iter().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn the_queue_ends() {
        let verifier = Verifier {
            queue: OnceLock::new(),
            threads: 1,
        };
        let (open, gate) = channel::<()>();
        let (tell, started) = channel();
        assert!(verifier.submit(move || {
            tell.send(()).unwrap();
            _ = gate.recv();
        }));
        started.recv().unwrap();
        let taken = (0..QUEUE + 10).filter(|_| verifier.submit(|| {})).count();
        assert_eq!(taken, QUEUE);
        drop(open);
    }
}
