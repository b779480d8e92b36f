//! What an app may reach in the network, and who may reach it. Each test has a network of its own, with a metadata
//! service in it as an EC2 instance has.

use crate::support::{Host, Outcome, eventually, root};
use std::{
    fs,
    io::Write,
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
};

/// An address of the machine that is not loopback's.
const ADDRESS: &str = "10.77.0.1";

/// A network namespace for this thread and what it starts, with the addresses of the metadata service on it.
fn own_network() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("root may");
    for words in [
        "link set lo up",
        "addr add 169.254.169.254/32 dev lo",
        "addr add fd00:ec2::254/128 dev lo nodad",
        "link add side type veth peer name far",
        "link set far up",
        "link set side up",
        "addr add 10.77.0.1/24 dev side",
    ] {
        let o = Outcome::of(
            {
                let mut c = Command::new("ip");
                c.args(words.split(' '));
                c
            },
            b"",
            10,
        );
        o.ok();
    }
    for at in ["169.254.169.254:80", "[fd00:ec2::254]:80"] {
        let listener = TcpListener::bind(at).expect("the address is there");
        std::thread::spawn(move || {
            for mut s in listener.incoming().flatten() {
                let _ = s.write_all(b"HTTP/1.0 200 OK\r\n\r\nrole-of-the-instance");
            }
        });
    }
}

/// An app with the intruder in it.
fn deploy(host: &Host, app: &str) {
    let repo = host.create(app);
    repo.write_probe();
    let intruder = fs::read(Path::new(env!("CARGO_BIN_EXE_intruder"))).expect("it was built");
    repo.write_executable("intruder", intruder);
    repo.version("one");
    repo.push().ok();
}

/// One way of the intruder's, from a dyno of this app: did it lead out?
fn leads_out(host: &Host, app: &str, way: &str, port: &str) -> bool {
    let (port, address) = (format!("victim-port={port}"), format!("address={ADDRESS}"));
    let only = format!("only={way}");
    let words = [
        "run",
        "-a",
        app,
        "--",
        "./intruder",
        "imds=yes",
        "private=yes",
        &port,
        &address,
        &only,
    ];
    let said = host.app(&words).out();
    assert!(said.contains("tried 1 "), "{said}");
    said.contains("BROKE ")
}

const METADATA: [&str; 4] = [
    "read the instance's metadata",
    "read the instance's metadata by IPv6",
    "read the instance's metadata by a mapped address",
    "send the metadata service a datagram",
];

const PORTS: [&str; 2] = [
    "reach a private app's port",
    "reach a private app's port by the machine's address",
];

fn table(host: &Host) -> String {
    let name =
        fs::read_to_string(host.data().join("run/fence")).expect("the agent names its table");
    let mut c = Command::new("nft");
    c.args(["list", "table", "inet", &name]);
    Outcome::of(c, b"", 10).out()
}

#[test]
fn the_instance_s_metadata_is_for_those_who_may() {
    if !root() {
        println!("not root: there is no fence");
        return;
    }
    own_network();
    let host = Host::start();
    deploy(&host, "shop");
    deploy(&host, "trusted");
    host.app(&["isolation:set", "imds=on", "-a", "trusted"])
        .ok();
    let shown = host.json(&["isolation", "-a", "trusted"]);
    assert_eq!(
        (&shown["imds"], &shown["missing"]),
        (&true.into(), &serde_json::Value::Null)
    );
    eventually("the fence has it", 10, || {
        table(&host).contains("elements = { ").then_some(())
    });
    for way in METADATA {
        assert!(!leads_out(&host, "shop", way, "0"), "{way}");
        assert!(
            leads_out(&host, "trusted", way, "0"),
            "{way} is shut for who may"
        );
    }
    // The host itself is not fenced, and what was allowed can be taken back.
    assert!(TcpStream::connect("169.254.169.254:80").is_ok());
    host.app(&["isolation:set", "imds=off", "-a", "trusted"])
        .ok();
    eventually("the fence is shut again", 10, || {
        (!leads_out(&host, "trusted", METADATA[0], "0")).then_some(())
    });
}

#[test]
fn a_build_cannot_reach_the_instance_s_metadata() {
    if !root() {
        return;
    }
    own_network();
    let host = Host::start();
    // An app that was made a moment ago is behind the fence before the agent knows of it there.
    let id = host.first_uid();
    let mut c = Command::new("setpriv");
    c.args([&format!("--reuid={id}"), "--clear-groups"]).args([
        "bash",
        "-c",
        "exec 3<>/dev/tcp/169.254.169.254/80",
    ]);
    Outcome::of(c, b"", 10).fails().says("refused");
}

#[test]
fn a_private_app_s_port_is_for_the_router_and_itself() {
    if !root() {
        return;
    }
    own_network();
    let host = Host::start();
    deploy(&host, "secret");
    deploy(&host, "other");
    let port = host.get("secret", "/env/PORT").text();
    // Not private: the network is shared.
    assert!(leads_out(&host, "other", PORTS[0], &port));
    host.app(&["isolation:set", "private=on", "-a", "secret"])
        .ok();
    eventually("the fence has the port", 10, || {
        table(&host).contains(&format!("{port} . ")).then_some(())
    });
    for way in PORTS {
        assert!(!leads_out(&host, "other", way, &port), "{way}");
        assert!(
            leads_out(&host, "secret", way, &port),
            "{way} is shut for the app itself"
        );
    }
    host.must_serve("secret", "one");
    // Each new dyno's port is shut before the dyno runs; the agent's death changes nothing.
    host.app(&["ps:restart", "-a", "secret"]).ok();
    let new = eventually("a new dyno", 20, || {
        let p = host.try_get("secret", "/env/PORT").ok()?.text();
        (p != port).then_some(p)
    });
    assert!(!leads_out(&host, "other", PORTS[0], &new));
    host.kill_agent();
    let mut c = Command::new("setpriv");
    c.args(["--reuid=12345", "--clear-groups", "bash", "-c"])
        .arg(format!("exec 3<>/dev/tcp/127.0.0.1/{new}"));
    Outcome::of(c, b"", 10).fails().says("refused");
    host.start_agent();
    assert!(!leads_out(&host, "other", PORTS[0], &new));
    host.must_serve("secret", "one");
}

#[test]
fn the_fence_goes_with_the_agent_s_end_and_comes_back_with_it() {
    if !root() {
        return;
    }
    own_network();
    let host = Host::start();
    let rules = || {
        let mut c = Command::new("nft");
        c.args(["list", "ruleset"]);
        Outcome::of(c, b"", 10).ok().out()
    };
    assert!(rules().contains("table inet hokku_"), "{}", rules());
    host.stop_agent();
    assert!(
        rules().contains("table inet hokku_"),
        "dynos live on, so does their fence"
    );
    // A reboot, or somebody who flushed all.
    let mut c = Command::new("nft");
    c.args(["flush", "ruleset"]);
    Outcome::of(c, b"", 10).ok();
    host.start_agent();
    eventually("the fence is back", 10, || {
        rules().contains("169.254.169.254").then_some(())
    });
    let mut stop = host.command("hokkud");
    stop.arg("stop-all").arg("--data-dir").arg(host.data());
    Outcome::of(stop, b"", 30).ok();
    host.agent_ends();
    assert_eq!(rules(), "");
}
