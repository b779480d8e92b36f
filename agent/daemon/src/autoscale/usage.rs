//! CPU and memory of dynos, from their cgroups or, without those, from their processes.

use crate::{
    control::DynoView,
    sys::{
        cgroup::{self, Group, Kind},
        proc,
    },
};
use hokku_model::{DynoId, limits::Quota};
use std::{collections::BTreeMap, time::Instant};

/// One look at one dyno.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    at: Instant,
    /// Microseconds of CPU time so far.
    cpu: u64,
    /// Bytes.
    pub memory: u64,
}

/// Looks at all of them; reads many small files, so not on a thread that must not wait.
pub fn look(dynos: &[(DynoId, i32, Quota)]) -> BTreeMap<DynoId, Look> {
    let one = |(id, pid, quota): &(DynoId, i32, Quota)| {
        let group = cgroup::existing(Kind::Dyno, &id.to_string());
        let enough = quota.memory_soft.or(quota.memory).unwrap_or(u64::MAX);
        let look = Look {
            at: Instant::now(),
            cpu: group
                .as_ref()
                .and_then(Group::cpu)
                .unwrap_or_else(|| proc::cpu_of_dyno(*pid)),
            memory: group
                .as_ref()
                .and_then(Group::memory)
                .unwrap_or_else(|| proc::memory_of_dyno(*pid, enough)),
        };
        (*id, look)
    };
    dynos.iter().map(one).collect()
}

/// What [`look`] needs of a dyno; `None` while no process runs.
pub fn of(view: &DynoView) -> Option<(DynoId, i32, Quota)> {
    (view.pid > 0).then(|| (view.record.id, view.pid, (*view.record.quota).clone()))
}

impl Look {
    /// The part of what it may use that a dyno used since an earlier look: of its CPU cap, or of one CPU without a cap,
    /// because most runtimes use no more in one process.
    pub fn cpu_since(&self, before: &Look, quota: &Quota) -> Option<f64> {
        let elapsed = self.at.duration_since(before.at).as_micros() as f64;
        let used = self.cpu.saturating_sub(before.cpu) as f64;
        let may = quota
            .cpu
            .map_or(1.0, |thousandths| f64::from(thousandths) / 1000.0);
        (elapsed > 0.0 && may > 0.0).then(|| used / elapsed / may)
    }

    /// The part of its limit; `None` without one.
    pub fn memory_part(&self, quota: &Quota) -> Option<f64> {
        let limit = quota.memory_soft.or(quota.memory)?;
        (limit > 0).then(|| self.memory as f64 / limit as f64)
    }
}

/// How many more dynos of this size the host's memory has place for; a tenth of it is left alone.
pub fn room(one: u64) -> u32 {
    let free = proc::memory_available().saturating_sub(proc::memory_of_machine() / 10);
    u32::try_from(free / one.max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_process_is_seen() {
        let script = "while :; do :; done";
        let mut child = std::process::Command::new("sh")
            .args(["-c", "sh -c \"$1\"; true", "sh", script])
            .spawn()
            .unwrap();
        let pid = child.id() as i32;
        let dyno = [(
            DynoId(1),
            pid,
            Quota {
                cpu: Some(500),
                memory: Some(1 << 30),
                ..Quota::default()
            },
        )];
        let end = Instant::now() + std::time::Duration::from_secs(30);
        let first = look(&dyno)[&DynoId(1)];
        let mut second = first;
        while second.cpu < first.cpu + 200_000 && Instant::now() < end {
            std::thread::sleep(std::time::Duration::from_millis(20));
            second = look(&dyno)[&DynoId(1)];
        }
        let inside = std::process::Command::new("pkill")
            .args(["-P", &pid.to_string()])
            .status()
            .unwrap();
        child.wait().unwrap();
        assert!(inside.success());
        let part = second.cpu_since(&first, &dyno[0].2).unwrap();
        assert!(part > 0.05 && part < 3.0, "{part}");
        assert!(second.memory_part(&dyno[0].2).unwrap() < 0.5);
        assert!(second.memory_part(&Quota::default()).is_none());
        assert!(room(1 << 20) > room(1 << 30));
    }
}
