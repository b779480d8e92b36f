//! Destroying an app: whenever it is done, nothing of the app stays, and nothing of another app goes.

use crate::support::{Host, Outcome, eventually, repo::REMOTE};
use std::path::{Path, PathBuf};

/// The app's id, which names all that is kept of it.
fn id(host: &Host, app: &str) -> String {
    let info = host.app(&["apps:info", "--json", "-a", app]).ok().out();
    let info: serde_json::Value = serde_json::from_str(&info).expect("JSON");
    let id = info["app"]["id"].as_str().expect("an app has an id");
    id.to_owned()
}

/// Files and folders under `dir` with `id` in their name.
fn named(dir: &Path, id: &str) -> Vec<PathBuf> {
    let mut found = vec![];
    for e in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if e.file_name().to_string_lossy().contains(id) {
            found.push(e.path());
        } else if e.file_type().is_ok_and(|t| t.is_dir()) {
            found.extend(named(&e.path(), id));
        }
    }
    found
}

fn nothing_stays(host: &Host, id: &str) {
    eventually("nothing of it stays", 20, || {
        named(host.data(), id).is_empty().then_some(())
    });
}

#[test]
fn during_a_build_it_leaves_nothing_behind() {
    let host = Host::start();
    host.deploy("app10");
    let repo = host.create("app1");
    repo.write_probe();
    repo.write("requirements.txt", "");
    repo.write_executable("bin/pre_compile", "#!/bin/bash\nsleep 2\n");
    repo.version("one");
    let (one, ten) = (id(&host, "app1"), id(&host, "app10"));
    let c = repo.start_git(&["push", REMOTE, "main"]);
    let push = std::thread::spawn(move || Outcome::of(c, b"", 60));
    host.logged("app1", "Build started");
    host.app(&["apps:destroy", "-a", "app1", "--confirm", "app1"])
        .ok();
    push.join().expect("no panic").fails();
    nothing_stays(&host, &one);
    assert!(!named(host.data(), &ten).is_empty());
    host.must_serve("app10", "one");
}

#[test]
fn what_an_agent_did_not_come_to_delete_the_next_one_does() {
    let host = Host::start();
    host.deploy("app10");
    let gone = "5040be48-0786-4c1d-9d9b-8697497ab124";
    host.kill_agent();
    for folder in ["slugs", "releases", "cache", "logs/dynos"] {
        let dir = host.data().join(folder).join(gone);
        std::fs::create_dir_all(&dir).expect("a directory can be made");
        std::fs::write(dir.join("old"), "old").expect("a file can be written");
    }
    host.start_agent();
    nothing_stays(&host, gone);
    assert!(!named(host.data(), &id(&host, "app10")).is_empty());
    host.must_serve("app10", "one");
}
