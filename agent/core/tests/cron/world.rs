//! A store that keeps what was committed, a machine that keeps what was started, and an agent that may die in between.

use hokku_core::cron::{
    end::{End, after},
    judge::{What, judge},
    schedule::Schedule,
};
use hokku_model::{
    AppId, DynoId, Micros,
    cron::{Entry, EntryName, Missed, Open, Overlap, Run, Status, Trigger},
    dyno::Exit,
};
use std::collections::BTreeMap;

const SECOND: i64 = 1_000_000;

/// What is wrong with the agent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    None,
    /// Starts before the claim is on disk.
    StartsFirst,
    /// Moves the mark, and keeps the run in its memory only.
    ClaimsHalf,
    /// Takes a run without a process for one that was started.
    ForgetsUnstarted,
    /// Removes what a process left before its end is on disk.
    ForgetsEarly,
    /// Starts beside a run that has to be alone.
    IgnoresOthers,
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// A process, as it is found by the dyno's id.
pub struct Process {
    pub tick: Option<Micros>,
    ends_at: Micros,
    exit: Exit,
    /// What is left of it lies in its folder.
    folder: bool,
    pub attempt: u32,
    counted: bool,
}

/// What survives the agent.
pub struct World {
    dice: Dice,
    now: Micros,
    entry: Entry,
    schedule: Schedule,
    begun: Micros,
    // the store
    until: Micros,
    open: BTreeMap<DynoId, Open>,
    history: Vec<Run>,
    numbers: u32,
    // the machine
    pub processes: BTreeMap<DynoId, Process>,
    pub deaths: u32,
    ids: u128,
    fault: Fault,
    /// The agent dies at this step of its work, counted down.
    dies_in: Option<u64>,
    /// In the agent's memory: started and not yet heard of.
    live: Vec<DynoId>,
    ghost: Vec<Open>,
    /// No more ticks come.
    rests: bool,
}

/// The agent is dead.
struct Dead;

impl World {
    /// A life of some minutes.
    pub fn live(seed: u64, fault: Fault) -> Result<World, String> {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut entry = Entry::new(EntryName::of_command("x", 1), "*/5 * * * * *", "x");
        entry.overlap = [Overlap::Allow, Overlap::Forbid, Overlap::Replace][dice.roll(3) as usize];
        entry.missed = [Missed::Skip, Missed::Once, Missed::All][dice.roll(3) as usize];
        entry.retries = dice.roll(3) as u32;
        entry.timeout = 20;
        let begun = Micros(1_700_000_000 * SECOND);
        let mut world = World {
            schedule: Schedule::of(&entry, AppId(1)).unwrap(),
            entry,
            dice,
            now: begun,
            begun,
            until: begun,
            open: BTreeMap::new(),
            history: vec![],
            numbers: 0,
            processes: BTreeMap::new(),
            deaths: 0,
            ids: 0,
            fault,
            dies_in: None,
            live: vec![],
            ghost: vec![],
            rests: false,
        };
        for _ in 0..60 {
            world.turn();
            world.check()?;
        }
        // left alone it comes to rest
        world.rests = true;
        for _ in 0..400 {
            if world.open.is_empty() {
                break;
            }
            world.now = Micros(world.now.0 + 5 * SECOND);
            world.dies_in = None;
            let _ = world.work();
            world.check()?;
        }
        world.check_rest()?;
        Ok(world)
    }

    /// Time passes, and the agent works until it dies, if it does.
    fn turn(&mut self) {
        let pause = match self.dice.roll(12) {
            0 => 150 * SECOND,
            1..4 => 20 * SECOND,
            _ => self.dice.roll(4 * SECOND as u64) as i64,
        };
        self.now = Micros(self.now.0 + pause);
        self.dies_in = (self.dice.roll(3) == 0).then(|| self.dice.roll(8));
        if self.work().is_err() {
            self.deaths += 1;
            // memory is gone; what it ordered lives on. The next agent finds what has a folder.
            self.ghost.clear();
            self.live = self
                .processes
                .iter()
                .filter(|(_, p)| p.folder)
                .map(|(d, _)| *d)
                .collect();
        }
    }

    /// A point at which it may die.
    fn point(&mut self) -> Result<(), Dead> {
        match &mut self.dies_in {
            Some(0) => Err(Dead),
            Some(n) => {
                *n -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn id(&mut self) -> DynoId {
        self.ids += 1;
        DynoId(self.ids)
    }

    fn work(&mut self) -> Result<(), Dead> {
        self.hear()?;
        self.claim()?;
        self.start()?;
        self.stop();
        Ok(())
    }

    /// Ends that were not yet written down.
    fn hear(&mut self) -> Result<(), Dead> {
        let now = self.now;
        let over = |p: &Process| p.folder && p.ends_at <= now;
        let ended: Vec<DynoId> = self
            .processes
            .iter()
            .filter(|(_, p)| over(p))
            .map(|(d, _)| *d)
            .collect();
        for dyno in ended {
            self.point()?;
            if self.fault == Fault::ForgetsEarly {
                self.forget(dyno);
                self.point()?;
            }
            let p = &self.processes[&dyno];
            let end = End {
                started_at: Some(p.ends_at),
                ordered_at: Some(p.ends_at),
                ended_at: p.ends_at,
                exit: Some(p.exit),
                stopped: false,
            };
            self.end(dyno, &end);
            self.point()?;
            self.forget(dyno);
        }
        Ok(())
    }

    fn forget(&mut self, dyno: DynoId) {
        if let Some(p) = self.processes.get_mut(&dyno) {
            p.folder = false;
        }
        self.live.retain(|d| *d != dyno);
    }

    /// One transaction.
    fn end(&mut self, dyno: DynoId, end: &End) {
        let Some(open) = self.open.remove(&dyno) else {
            return;
        };
        let said = after(&open, end);
        let mut run = open.run.clone();
        (run.status, run.ended_at) = (said.status, Some(end.ended_at));
        run.dyno = end.exit.map(|_| dyno);
        self.history.push(run);
        if let Some(pause) = said.retry {
            let id = self.id();
            self.numbers += 1;
            let mut next = open.clone();
            next.run.trigger = Trigger::Retry;
            next.run.attempt += 1;
            next.run.number = self.numbers;
            next.retries -= 1;
            next.dyno = id;
            next.not_before = end.ended_at.plus(pause);
            self.open.insert(id, next);
        }
    }

    fn claim(&mut self) -> Result<(), Dead> {
        if self.rests {
            return Ok(());
        }
        let said = judge(
            &self.entry,
            &self.schedule,
            self.until,
            self.open.len(),
            self.now,
        );
        self.point()?;
        let mut opens = vec![];
        let mut lines = vec![];
        let mut number = self.numbers;
        for c in &said.claims {
            number += 1;
            let dyno = self.id();
            let mut run = Run {
                entry: self.entry.name.clone(),
                number,
                trigger: Trigger::Schedule,
                status: Status::Waiting,
                tick: Some(c.tick),
                ticks: c.ticks,
                attempt: 1,
                user: None,
                dyno: Some(dyno),
                release: None,
                claimed_at: self.now,
                started_at: None,
                ended_at: None,
                exit_code: None,
                peak_memory: None,
                reason: String::new(),
            };
            match &c.what {
                What::Run(trigger) => {
                    run.trigger = *trigger;
                    opens.push(Open {
                        app: AppId(1),
                        dyno,
                        command: "x".into(),
                        timeout: self.entry.timeout,
                        retries: self.entry.retries,
                        alone: self.entry.overlap != Overlap::Allow,
                        not_before: Micros(0),
                        replaced: false,
                        env: BTreeMap::new(),
                        run,
                    });
                }
                What::Skip(_) | What::Missed => {
                    run.status = match c.what {
                        What::Missed => Status::Missed,
                        _ => Status::Skipped,
                    };
                    run.dyno = None;
                    lines.push(run);
                }
            }
        }
        if self.fault == Fault::StartsFirst {
            for open in &opens {
                self.run(open);
            }
            self.point()?;
        }
        // one transaction
        if said.replaces {
            for open in self.open.values_mut() {
                open.replaced = true;
            }
        }
        self.until = said.until;
        self.numbers = number;
        self.history.extend(lines);
        match self.fault {
            Fault::ClaimsHalf => self.ghost.extend(opens),
            _ => self.open.extend(opens.into_iter().map(|o| (o.dyno, o))),
        }
        self.point()?;
        let ghost = std::mem::take(&mut self.ghost);
        self.open.extend(ghost.into_iter().map(|o| (o.dyno, o)));
        Ok(())
    }

    fn start(&mut self) -> Result<(), Dead> {
        let all: Vec<DynoId> = self.open.keys().copied().collect();
        for dyno in all {
            let open = self.open[&dyno].clone();
            let known = self.processes.get(&dyno).is_some_and(|p| p.folder);
            if self.live.contains(&dyno) || open.not_before > self.now {
                continue;
            }
            // no folder: it never started
            if known {
                continue;
            }
            if open.replaced {
                let end = End {
                    started_at: None,
                    ordered_at: None,
                    ended_at: self.now,
                    exit: None,
                    stopped: false,
                };
                self.end(dyno, &end);
                continue;
            }
            if self.fault == Fault::ForgetsUnstarted && open.run.claimed_at < self.now {
                continue;
            }
            let busy = self
                .open
                .keys()
                .any(|d| *d != dyno && self.live.contains(d));
            if open.alone && busy && self.fault != Fault::IgnoresOthers {
                continue;
            }
            self.point()?;
            self.run(&open);
            self.live.push(dyno);
            self.point()?;
        }
        Ok(())
    }

    /// The machine starts it; one of this id that runs is left alone.
    fn run(&mut self, open: &Open) {
        let takes = self.dice.roll(12 * SECOND as u64) as i64;
        let exit = Exit::Code((self.dice.roll(3) == 0).into());
        let again = self.processes.get(&open.dyno).is_some_and(|p| !p.folder);
        let new = Process {
            tick: open.run.tick,
            ends_at: Micros(self.now.0 + takes),
            exit,
            folder: true,
            attempt: open.run.attempt,
            counted: again,
        };
        match self.processes.get_mut(&open.dyno) {
            Some(p) if p.folder => {}
            _ => {
                self.processes.insert(open.dyno, new);
            }
        }
    }

    /// What is replaced is stopped.
    fn stop(&mut self) {
        for open in self.open.values().filter(|o| o.replaced) {
            if let Some(p) = self.processes.get_mut(&open.dyno) {
                p.ends_at = p.ends_at.min(Micros(self.now.0 + SECOND));
            }
        }
    }

    /// What holds at any time.
    fn check(&self) -> Result<(), String> {
        let mut ran: BTreeMap<(Option<Micros>, u32), u32> = BTreeMap::new();
        for p in self.processes.values() {
            let n = ran.entry((p.tick, p.attempt)).or_default();
            *n += 1 + u32::from(p.counted);
            if *n > 1 {
                return Err(format!("the tick {:?} ran twice", p.tick));
            }
        }
        if self.entry.overlap != Overlap::Allow {
            let now = self.now;
            let up = self.processes.values().filter(|p| p.ends_at > now).count();
            if up > 1 {
                return Err(format!("{up} runs at once that have to be alone"));
            }
        }
        let decided: u32 = self
            .history
            .iter()
            .chain(self.open.values().map(|o| &o.run))
            .filter(|r| r.attempt == 1)
            .map(|r| r.ticks)
            .sum();
        let all = ((self.until.0 - self.begun.0) / (5 * SECOND)) as u32;
        if decided != all {
            return Err(format!(
                "{all} ticks have come, {decided} are accounted for"
            ));
        }
        Ok(())
    }

    /// What holds in the end.
    fn check_rest(&self) -> Result<(), String> {
        if !self.open.is_empty() {
            return Err(format!("{} runs never ended", self.open.len()));
        }
        let done = self.history.iter().filter(|r| r.dyno.is_some()).count();
        if done != self.processes.len() {
            return Err(format!(
                "{} processes ran, the history has {done}",
                self.processes.len()
            ));
        }
        Ok(())
    }
}
