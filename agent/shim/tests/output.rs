//! The log file.
#![allow(missing_docs)]

mod support;
use hokku_model::{
    dyno::Exit,
    shim::{Frame, Output},
};
use std::{fs, process::Command};
use support::{Bench, texts, until, walled, ways};

#[test]
fn lines_are_stamped_split_and_complete() {
    for way in ways() {
        let b = Bench::new(
            way,
            "echo one; echo two >&2; printf 'a\\r\\n\\nno end'; head -c 25000 /dev/zero | tr '\\0' x; echo; printf last",
        );
        let (exit, log) = b.run();
        assert_eq!(exit, Exit::Code(0));
        let out: Vec<_> = log.iter().filter(|l| *l != "two").collect();
        assert_eq!(out[..3], ["one", "a", ""], "{way:?}");
        let x: Vec<_> = out[3..out.len() - 1].iter().map(|l| l.len()).collect();
        assert_eq!(x, [10_000, 10_000, 5_006]);
        assert_eq!(*out[out.len() - 1], "last");
        assert!(log.contains(&"two".to_owned()));
        let text = fs::read_to_string(b.path("logs/dyno.log")).unwrap();
        assert!(
            text.lines()
                .all(|l| &l[19..20] == "." && &l[26..45] == "+00:00 app[web.1]: ")
        );
    }
}

#[test]
fn a_prompt_without_line_end_is_seen_while_the_process_runs() {
    for way in ways() {
        let b = Bench::new(
            way,
            "printf 'waiting for '; sleep 0.01; printf input; sleep 100",
        );
        let _d = b.start().unwrap();
        until("the started line", || b.log() == ["waiting for input"]);
    }
}

#[test]
fn full_files_are_rotated_and_whole() {
    for way in ways() {
        let mut b = Bench::new(way, "for i in $(seq 30000); do echo line $i; done");
        let file = b.path("logs/dyno.log");
        b.spec.output = Output::Log {
            file: file.clone(),
            source: "app[web.1]".into(),
            max_bytes: 200_000,
        };
        assert_eq!(b.run().0, Exit::Code(0));
        let old = b.path("logs/dyno.log.1");
        for f in [&file, &old] {
            assert!(f.metadata().unwrap().len() <= 200_000, "{way:?}");
        }
        let all = [texts(&old), texts(&file)].concat();
        let first: usize = all[0].strip_prefix("line ").unwrap().parse().unwrap();
        assert!(first > 1 && all.len() > 1000);
        for (i, l) in all.iter().enumerate() {
            assert_eq!(*l, format!("line {}", first + i));
        }
    }
}

#[test]
fn the_last_words_of_a_dying_process_are_kept() {
    for way in ways() {
        let b = Bench::new(
            way,
            "for i in $(seq 3000); do echo line $i; done; printf 'and this'; kill -9 $$",
        );
        let (exit, log) = b.run();
        assert_eq!(exit, Exit::Signal(9));
        assert_eq!(
            (log.len(), log[2999].as_str(), log[3000].as_str()),
            (3001, "line 3000", "and this"),
            "{way:?}"
        );
    }
}

#[test]
fn a_program_may_open_its_output_again_by_name() {
    for way in ways() {
        let b = Bench::new(
            way,
            "exec 3>/dev/stdout 4>/proc/self/fd/2; echo three >&3; echo four >&4; [ -p /dev/stdout ] && echo pipe",
        );
        let (_, mut log) = b.run();
        log.sort();
        assert_eq!(log, ["four", "pipe", "three"], "{way:?}");
    }
}

#[test]
fn a_full_disk_blocks_nobody_and_losses_are_told() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("needs root to mount a small file system: not tested");
        return;
    }
    for way in walled() {
        let mut b = Bench::new(
            way,
            "for i in $(seq 2000); do echo line $i xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done; trap 'echo after; exit 0' USR1; touch /app/done; while :; do sleep 0.02; done",
        );
        let disk = b.path("disk");
        fs::create_dir(&disk).unwrap();
        let owner = way.user.unwrap_or(0);
        let options = format!("size=64k,uid={owner},mode=0755");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "none"])
            .arg(&disk)
            .status();
        assert!(mounted.unwrap().success());
        let file = disk.join("dyno.log");
        b.spec.output = Output::Log {
            file: file.clone(),
            source: "app[web.1]".into(),
            max_bytes: 1 << 30,
        };
        let d = b.start().unwrap();
        until("the process to go on", || {
            b.spec.dir.join("upper/done").exists()
        });
        until("a full disk", || file.metadata().unwrap().len() > 50_000);
        let kept = fs::read_to_string(&file).unwrap();
        // somebody makes room
        fs::write(&file, "").unwrap();
        until("the note", || {
            fs::read_to_string(&file).unwrap().contains("lines dropped")
        });
        d.connect().send(Frame::Signal(libc::SIGUSR1));
        let exit = d.exit();
        let text = fs::read_to_string(&file).unwrap();
        let _ = Command::new("umount").arg(&disk).status();
        assert_eq!(exit, Exit::Code(0), "{way:?}");
        let note = text
            .lines()
            .find(|l| l.contains("heroku[web.1]: Error L10 (disk full): "))
            .unwrap();
        let n: usize = note
            .split("): ")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let whole = kept.lines().filter(|l| l.ends_with("xxx")).count();
        assert!(
            n > 500 && (n + whole).abs_diff(2000) <= 1,
            "{n} dropped, {whole} kept"
        );
        assert!(text.contains("app[web.1]: after\n"), "{text}");
    }
}
