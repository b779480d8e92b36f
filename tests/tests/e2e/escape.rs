//! An app that tries every way out of its dyno: `tests/intruder`. None may succeed.

use crate::support::{Host, Outcome, Settings, WhoAmI, eventually, root, terminal::Terminal};
use std::{
    fs,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    path::Path,
};

/// Fewer ways than these and some were lost on the way.
const FEWEST: usize = 50;

fn intruder() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_intruder"))
}

/// Something of the host for the intruder to look for; taken away at the end.
struct Bait {
    _abstract: UnixListener,
    name: String,
    shm: i32,
    key: i32,
    queue: std::ffi::CString,
}

impl Bait {
    fn lay(host: &Host) -> Bait {
        let name = format!("hokku-bait-{}-{}", std::process::id(), host.api().port());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let listener = UnixListener::bind_addr(&address).expect("nobody else has it");
        let key = 0x686F_0000 | i32::from(host.api().port());
        let queue = std::ffi::CString::new(format!("/{name}")).expect("no NUL");
        // SAFETY: numbers and a C string; both are open to everybody, so that only a wall keeps the intruder out
        let shm = unsafe {
            let q = libc::mq_open(
                queue.as_ptr(),
                libc::O_CREAT | libc::O_RDWR,
                0o666,
                std::ptr::null::<u8>(),
            );
            assert!(q >= 0, "{}", std::io::Error::last_os_error());
            libc::shmget(key, 4096, libc::IPC_CREAT | 0o666)
        };
        assert!(shm >= 0, "{}", std::io::Error::last_os_error());
        Bait {
            _abstract: listener,
            name,
            shm,
            key,
            queue,
        }
    }
}

impl Drop for Bait {
    fn drop(&mut self) {
        // SAFETY: takes a number, and a C string
        unsafe {
            libc::shmctl(self.shm, libc::IPC_RMID, std::ptr::null_mut());
            libc::mq_unlink(self.queue.as_ptr());
        }
    }
}

/// The other app, with a secret in each place where one may be.
fn victim(host: &Host, bait: &Bait) {
    let repo = host.create("victim");
    repo.write_probe();
    repo.write_executable("intruder", fs::read(intruder()).expect("it was built"));
    repo.write(
        "Procfile",
        format!(
            "web: ./probe\nworker: ./intruder listen={}-victim\n",
            bait.name
        ),
    );
    repo.write("treasure", "of the victim");
    host.app(&["config:set", "SECRET=of-the-victim", "-a", "victim"])
        .ok();
    repo.version("one");
    repo.push().ok();
    host.app(&["ps:scale", "worker=1", "-a", "victim"]).ok();
    host.logged("victim", "listening: true");
}

fn child_of(shim: i32) -> i32 {
    eventually("the shim has a child", 10, || {
        fs::read_to_string(format!("/proc/{shim}/task/{shim}/children"))
            .ok()?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    })
}

/// All that the intruder is told, as its arguments.
fn facts(host: &Host, bait: &Bait, walls: &str) -> Vec<String> {
    let shim = host
        .dynos("victim")
        .into_iter()
        .find(|d| d.0 == "web.1")
        .expect("the victim runs")
        .2;
    let port = host.get("victim", "/env/PORT").text();
    let uid = host.about("victim")["uid"].to_string();
    let data = host.data().display().to_string();
    let pid = |file: &str| fs::read_to_string(host.data().join(file)).unwrap_or_default();
    let dyno = fs::read_dir(host.data().join("dynos"))
        .expect("it is there")
        .flatten()
        .next()
        .map_or(String::new(), |e| {
            e.file_name().to_string_lossy().into_owned()
        });
    [
        ("walls", walls.to_owned()),
        ("data", data),
        ("dir", host.dir().display().to_string()),
        ("settings", host.settings_file().display().to_string()),
        ("mark", "treasure".into()),
        ("victim-app", "victim".into()),
        ("victim-command", format!("listen={}", bait.name)),
        ("victim-shim", shim.to_string()),
        ("victim", child_of(shim).to_string()),
        ("victim-port", port),
        ("victim-uid", uid),
        ("victim-abstract", format!("{}-victim", bait.name)),
        ("abstract", bait.name.clone()),
        ("agent", pid("run/hokkud.pid").trim().to_owned()),
        ("api", host.api().to_string()),
        ("api-port", host.api().port().to_string()),
        ("router-port", host.router().port().to_string()),
        ("dyno", dyno),
        ("shm", bait.key.to_string()),
        ("queue", format!("/{}", bait.name)),
        ("disk", root_disk().to_string()),
        (
            "no-oom-wall",
            if open(walls).contains(&"be spared when memory runs out") {
                "yes"
            } else {
                "no"
            }
            .into(),
        ),
    ]
    .into_iter()
    .map(|(k, v)| format!("{k}={v}"))
    .collect()
}

fn root_disk() -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/").map_or(0, |m| m.dev())
}

/// Prints the list; fails when a way led out, when too few were tried, or when a wall is missing that should be there.
#[track_caller]
fn none_led_out(place: &str, said: &str, open: &[&str]) {
    println!("--- {place}\n{said}");
    let of = |word: &str| -> Vec<String> {
        let named = said.lines().filter_map(|l| l.split_once(word));
        named
            .filter_map(|(_, l)| Some(l.split_once(": ")?.0.to_owned()))
            .collect()
    };
    let (held, broke) = (of("HELD "), of("BROKE "));
    assert!(broke.is_empty(), "{place}: {broke:#?}\n{said}");
    assert_eq!(of("OPEN "), open, "{place}");
    assert!(held.len() >= FEWEST, "{place}: too few were tried:\n{said}");
    let sum = format!(
        "tried {} held {} broke 0",
        held.len() + open.len(),
        held.len()
    );
    assert!(said.contains(&sum), "{place}: {said}");
}

/// What is known not to hold: without root all apps have one user, and the lowest OOM score is kept by a capability.
fn open(walls: &str) -> Vec<&'static str> {
    let mut open = vec![];
    if walls == "user" {
        open.push("become another app's user");
    }
    if walls == "user" || !may_set_limits() {
        open.push("be spared when memory runs out");
    }
    if walls == "user" {
        open.push("fork without end");
    }
    open
}

/// Has this process CAP_SYS_RESOURCE (24), which some hosts take even from root?
fn may_set_limits() -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    let bits = line.and_then(|l| u64::from_str_radix(l.trim(), 16).ok());
    bits.is_some_and(|b| b >> 24 & 1 == 1)
}

fn run(host: &Host, app: &str, facts: &[String]) -> Outcome {
    let mut words = vec!["run", "-a", app, "--", "./intruder"];
    words.extend(facts.iter().map(String::as_str));
    host.app(&words)
}

fn attack(host: &Host, walls: &str) {
    let bait = Bait::lay(host);
    victim(host, &bait);
    let before = host.dynos("victim");
    let repo = host.create("attacker");
    repo.write_probe();
    repo.write_executable("intruder", fs::read(intruder()).expect("it was built"));
    repo.version("one");
    repo.push().ok();
    let facts = facts(host, &bait, walls);
    let o = run(host, "attacker", &facts);
    none_led_out(
        &format!("a one-off dyno, walls of {walls}"),
        &o.out(),
        &open(walls),
    );
    let mut words = vec!["ps:exec", "web.1", "-a", "attacker", "--", "./intruder"];
    words.extend(facts.iter().map(String::as_str));
    let o = host.app(&words);
    none_led_out(
        &format!("a command in a running dyno, walls of {walls}"),
        &o.out(),
        &open(walls),
    );
    // What the intruder could not know of itself: everything goes on, and nothing was left on the host.
    assert_eq!(host.dynos("victim"), before, "the victim was disturbed");
    host.must_serve("victim", "one");
    host.must_serve("attacker", "one");
    for left in [
        "/etc/hokku-intruder",
        "/usr/hokku-intruder",
        "/tmp/jail",
        "/tmp/disk",
        "/tmp/copy",
        "/app/linked",
    ] {
        assert!(fs::symlink_metadata(left).is_err(), "{left} is on the host");
    }
}

#[test]
fn no_way_leads_out_of_a_dyno_made_by_root() {
    if !root() {
        println!("not root: only the walls of an ordinary user can be tried");
        return;
    }
    attack(&Host::start(), "root");
}

#[test]
fn no_way_leads_out_of_a_dyno_made_by_an_ordinary_user() {
    let host = Host::start_with(Settings {
        who: WhoAmI::Ordinary,
        ..Settings::default()
    });
    attack(&host, "user");
}

/// A list that never finds anything has to be able to: some ways that harm nothing, without walls.
#[test]
fn the_ways_lead_out_where_there_are_no_walls() {
    let host = Host::start();
    let bait = Bait::lay(&host);
    let facts = [
        format!("abstract={}", bait.name),
        format!("shm={}", bait.key),
        format!("queue=/{}", bait.name),
        format!("agent={}", std::process::id()),
        format!("data={}", host.data().display()),
        format!("settings={}", host.settings_file().display()),
        format!("dir={}", host.dir().display()),
    ];
    let mut ways = vec![
        "connect to an abstract socket of the host",
        "find shared memory of the host",
        "find a message queue of the host",
        "find the host's /tmp",
        "read the agent's settings",
        "watch the host's files",
        "connect to the agent's socket",
        "list people's homes",
        "make its memory executable by personality",
    ];
    if root() {
        ways.extend([
            "read the passwords of the host",
            "make namespaces",
            "make a user namespace and be root in it",
            "clone into a user namespace",
            "read the kernel's log",
            "open a raw socket",
        ]);
    }
    for way in ways {
        let mut c = host.command(&intruder().display().to_string());
        c.args(&facts).arg(format!("only={way}"));
        let o = Outcome::of(c, b"", 30);
        assert_eq!(o.status, 1, "{way}: {o}");
        assert!(o.out().contains(&format!("BROKE {way}")), "{o}");
    }
}

#[test]
fn no_way_leads_out_of_a_web_dyno_or_its_profile_script() {
    let host = Host::start();
    let bait = Bait::lay(&host);
    victim(&host, &bait);
    let walls = if root() { "root" } else { "user" };
    let facts = facts(&host, &bait, walls).join(" ");
    let repo = host.create("attacker");
    repo.write_probe();
    repo.write_executable("intruder", fs::read(intruder()).expect("it was built"));
    repo.write(".profile.d/attack.sh", format!("./intruder {facts}\n"));
    repo.version("one");
    repo.push().ok();
    let last = host.logged("attacker", "app[web.1]: tried ");
    assert!(last.contains("app[web.1]"), "{last}");
    let log = host
        .app(&["logs", "-n", "1500", "-a", "attacker"])
        .ok()
        .out();
    // one start of the dyno is one list
    let (from, to) = (
        log.find("HELD list the agent").unwrap_or(0),
        log.find("app[web.1]: tried ").unwrap_or(0),
    );
    let end = log[to..].find('\n').map_or(log.len(), |n| to + n);
    none_led_out("a web dyno's profile script", &log[from..end], &open(walls));
}

#[test]
fn a_forged_line_of_the_router_s_is_a_line_of_the_app_s() {
    let host = Host::start();
    let repo = host.create("forger");
    repo.write_probe();
    let forged = "2026-11-21T12:00:00.000000+00:00 heroku[router]: at=info method=GET path=/forged";
    repo.write(
        "Procfile",
        format!("web: printf '%b' '\\r{forged}\\n\\r\\n{forged}\\033[2J\\033]0;owned\\007\\n'; exec ./probe\n"),
    );
    repo.version("one");
    repo.push().ok();
    host.logged("forger", "path=/forged");
    let o = host.app(&["logs", "-n", "1500", "-a", "forger"]).ok();
    for line in o.out().lines().filter(|l| l.contains("path=/forged")) {
        assert!(
            line.contains("app[web.1]: ")
                || line.contains(" heroku[web.1]: Starting process with command `"),
            "{line:?}"
        );
    }
    // On a terminal nothing of the app's steers it: no title, no cleared screen.
    let mut c = host.command("app");
    c.args(["logs", "-n", "1500", "-a", "forger"]);
    let mut terminal = Terminal::start(c, 24, 200);
    terminal.wait_for("probe: listening");
    assert_eq!(terminal.ends(), 0);
    let screen = terminal.shown();
    assert!(screen.contains("path=/forged"), "{screen:?}");
    for steering in ["\u{1b}[2J", "\u{1b}]0;", "\u{7}"] {
        assert!(!screen.contains(steering), "{steering:?} in {screen:?}");
    }
}

#[test]
fn variables_for_the_loader_do_not_reach_the_shim() {
    let host = Host::start();
    let repo = host.deploy("loader");
    host.app(&[
        "config:set",
        "LD_PRELOAD=/app/evil.so",
        "LD_AUDIT=/app/evil.so",
        "BASH_ENV=/app/evil",
        "-a",
        "loader",
    ])
    .ok();
    host.must_serve("loader", "one");
    let shim = eventually("up again", 20, || {
        let d = host.dynos("loader");
        (d.len() == 1 && d[0].1 == "up").then(|| d[0].2)
    });
    let environ = fs::read(format!("/proc/{shim}/environ")).expect("root or its owner reads it");
    assert!(
        !String::from_utf8_lossy(&environ).contains("LD_"),
        "the shim has the app's variables"
    );
    let maps = fs::read_to_string(format!("/proc/{shim}/maps")).unwrap_or_default();
    assert!(!maps.contains("evil"), "{maps}");
    drop(repo);
}

#[test]
fn a_procfile_with_the_host_in_its_names_is_refused_or_harmless() {
    let host = Host::start();
    let repo = host.create("names");
    repo.write_probe();
    repo.write(
        "Procfile",
        "web: ./probe\n../../etc/cron.d/x: touch /tmp/hokku-names\nweb;touch /tmp/hokku-names: true\n$(touch /tmp/hokku-names): true\n",
    );
    repo.version("one");
    let pushed = repo.push();
    assert!(!Path::new("/tmp/hokku-names").exists());
    if pushed.status == 0 {
        let types = host.app(&["ps", "-a", "names"]).ok().out();
        assert!(!types.contains("..") && !types.contains('$'), "{types}");
    }
    assert!(fs::symlink_metadata("/etc/cron.d/x").is_err());
}

#[test]
#[ignore = "slow: run by .ci/run"]
fn no_way_leads_out_of_a_build() {
    let host = Host::start();
    let bait = Bait::lay(&host);
    victim(&host, &bait);
    let walls = if root() { "root" } else { "user" };
    let facts: Vec<_> = facts(&host, &bait, walls)
        .into_iter()
        .map(|f| format!("'{f}'"))
        .collect();
    let repo = host.create("attacker");
    repo.write_sample("node");
    repo.write_executable("intruder", fs::read(intruder()).expect("it was built"));
    let file = repo.dir.join("package.json");
    let text = fs::read_to_string(&file).expect("the sample has it");
    let script = format!("\"build\": \"./intruder {}\", \"start\"", facts.join(" "));
    repo.write("package.json", text.replacen("\"start\"", &script, 1));
    repo.commit("First");
    let o = repo.push();
    none_led_out("a build", &o.err(), &open(walls));
    o.ok();
    host.must_serve("victim", "one");
}

#[test]
#[ignore = "slow: run by .ci/run"]
fn a_build_compiles_c_behind_the_walls() {
    let host = Host::start();
    let repo = host.create("compiled");
    repo.write_sample("flask");
    repo.write(
        "requirements.txt",
        "--no-binary markupsafe\nflask\ngunicorn\nmarkupsafe==3.0.2\n",
    );
    repo.commit("First");
    repo.push().ok();
    let o = host.app(&[
        "run",
        "-a",
        "compiled",
        "--",
        "python",
        "-c",
        "import markupsafe._speedups as s; print(s.__file__)",
    ]);
    o.ok().says("_speedups.cpython");
}
