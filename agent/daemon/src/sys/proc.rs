//! Processes by number: told apart from later ones that got the same number.

use hokku_model::shim::ShimPid;

/// Is the process still the one that was written down? A number alone may have been given to another process.
pub fn is_alive(shim: &ShimPid) -> bool {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    boot.trim() == shim.boot_id && start_ticks(shim.pid) == Some(shim.start_ticks)
}

/// Is there no process of this number, or only a zombie?
pub fn is_gone(pid: i32) -> bool {
    stat(pid).is_none_or(|fields| matches!(fields.first().map(String::as_str), Some("Z" | "X")))
}

/// Field 22 of `/proc/<pid>/stat`: clock ticks from boot to the process's start.
pub fn start_ticks(pid: i32) -> Option<u64> {
    stat(pid)?.get(19)?.parse().ok()
}

/// The fields from the third on; the second, the name, may hold blanks and parentheses.
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(
        text.rsplit_once(')')?
            .1
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_number_is_not_the_same_process() {
        let me = std::process::id() as i32;
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .unwrap()
            .trim()
            .to_owned();
        let shim = ShimPid {
            pid: me,
            start_ticks: start_ticks(me).unwrap(),
            boot_id,
        };
        assert!(is_alive(&shim) && !is_gone(me));
        assert!(!is_alive(&ShimPid {
            start_ticks: shim.start_ticks + 1,
            ..shim.clone()
        }));
        assert!(!is_alive(&ShimPid {
            boot_id: "another".into(),
            ..shim
        }));
    }
}
