//! The import rule of `agent/README.md`: arrows point down only, and no room imports a neighbour on its own floor.

use std::{collections::BTreeSet, fs, path::Path};

/// Each room and the rooms it may import. `config` is the settings' type, open to all but the ground.
const RULE: &[(&str, &[&str])] = &[
    (
        "api",
        &[
            "ops",
            "autoscale",
            "control",
            "logs",
            "alert",
            "sys",
            "config",
        ],
    ),
    ("git", &["ops", "control", "logs", "sys", "config"]),
    (
        "control",
        &[
            "ops",
            "supervisor",
            "router",
            "build",
            "slug",
            "logs",
            "alert",
            "sys",
            "config",
        ],
    ),
    ("acme", &["ops", "sys", "config"]),
    (
        "autoscale",
        &["ops", "control", "router", "logs", "sys", "config"],
    ),
    // beside the agent: it asks as anyone does, and shares only the ground
    ("doctor", &["sys", "config"]),
    ("ops", &["store", "config"]),
    ("build", &["slug", "sys", "config"]),
    ("slug", &["sys", "config"]),
    ("supervisor", &["sys", "config"]),
    ("router", &["sys", "config"]),
    ("logs", &["sys", "config"]),
    ("alert", &["sys", "config"]),
    ("store", &["sys", "config"]),
    ("sys", &[]),
    ("config", &[]),
];

fn sources(dir: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push((
                path.display().to_string(),
                fs::read_to_string(&path).unwrap(),
            ));
        }
    }
}

/// Rooms named after `crate::` in a text, single or in braces.
fn imported(text: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let word = |s: &str| {
            s.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect::<String>()
        };
        let Some(group) = rest.strip_prefix('{') else {
            rooms.insert(word(rest));
            continue;
        };
        let (mut depth, mut start) = (0, true);
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && c.is_alphabetic() => {
                    rooms.insert(word(&group[i..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    rooms
}

#[test]
fn rooms_import_downwards_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let rooms: BTreeSet<&str> = RULE.iter().map(|(r, _)| *r).collect();
    let mut broken = vec![];
    for (room, allowed) in RULE {
        let mut files = vec![];
        match src.join(room) {
            dir if dir.is_dir() => sources(&dir, &mut files),
            _ => files.push((
                format!("{room}.rs"),
                fs::read_to_string(src.join(format!("{room}.rs"))).unwrap(),
            )),
        }
        for (file, text) in files {
            for other in imported(&text) {
                if other != *room
                    && rooms.contains(other.as_str())
                    && !allowed.contains(&other.as_str())
                {
                    broken.push(format!("{file}: {room} may not import {other}"));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_room_is_in_the_rule() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let top = ["lib", "main", "run"];
    for entry in fs::read_dir(src).unwrap().flatten() {
        let name = entry
            .path()
            .file_stem()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        assert!(
            top.contains(&name.as_str()) || RULE.iter().any(|(r, _)| *r == name),
            "{name} is in no floor"
        );
    }
}

#[test]
fn the_reader_sees_imports() {
    let text = "use crate::{ops::{Actor, Ops}, store};\nlet x = crate::slug::Slug;";
    let seen: Vec<_> = imported(text).into_iter().collect();
    assert_eq!(seen, ["ops", "slug", "store"]);
}
