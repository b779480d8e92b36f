//! What of a test is still on the machine: processes that know its directory, and mounts of it.

use std::{fs, path::Path};

/// All that is left, in words; empty when there is nothing.
pub fn of(dir: &Path) -> Vec<String> {
    let Some(mark) = dir.file_name().map(|n| n.to_string_lossy().into_owned()) else {
        return vec![];
    };
    let mut left = vec![];
    let ours = fs::read_link("/proc/self/ns/mnt").unwrap_or_default();
    for line in fs::read_to_string("/proc/self/mountinfo")
        .unwrap_or_default()
        .lines()
        .filter(|l| l.split(' ').nth(4).is_some_and(|p| p.contains(&mark)))
    {
        left.push(format!("mount {line}"));
    }
    let me = std::process::id();
    for pid in fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok())
        .filter(|p| *p != me)
    {
        let proc = |f: &str| {
            String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{f}")).unwrap_or_default())
                .replace('\0', " ")
        };
        let link = |f: &str| {
            fs::read_link(format!("/proc/{pid}/{f}"))
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        let state = proc("stat");
        if state
            .rsplit_once(')')
            .is_some_and(|(_, r)| r.trim_start().starts_with(['Z', 'X']))
        {
            continue;
        }
        let foreign_namespace = fs::read_link(format!("/proc/{pid}/ns/mnt"))
            .is_ok_and(|n| n != ours)
            && proc("mountinfo").contains(&mark);
        let command = proc("cmdline");
        if foreign_namespace
            || command.contains(&mark)
            || link("cwd").contains(&mark)
            || link("exe").contains(&mark)
            || proc("environ").contains(&mark)
        {
            let name = proc("comm");
            left.push(format!("process {pid} {} {}", name.trim(), command.trim()));
        }
    }
    left
}

/// Kills every process among what is left.
pub fn kill(left: &[String]) {
    for pid in left
        .iter()
        .filter_map(|l| l.strip_prefix("process ")?.split(' ').next()?.parse().ok())
    {
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::SIGKILL,
        );
    }
}

/// A check that finds nothing has to be able to find something.
mod tests {
    #[test]
    fn a_process_is_found_by_its_directory_and_killed() {
        let dir = tempfile::Builder::new()
            .prefix("hokku-test-")
            .tempdir()
            .expect("a directory");
        assert_eq!(super::of(dir.path()), Vec::<String>::new());
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .current_dir(dir.path())
            .spawn()
            .expect("sleep starts");
        let left = super::of(dir.path());
        assert_eq!(left.len(), 1, "{left:?}");
        super::kill(&left);
        child.wait().expect("our child");
        assert_eq!(super::of(dir.path()), Vec::<String>::new());
    }
}
