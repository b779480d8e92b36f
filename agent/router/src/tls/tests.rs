//! Certificates of all kinds, made by rcgen and by openssl.

use super::cert::{self, Usable};
use super::shelf::Shelf;
use super::{Tls, server};
use hokku_model::route::{Cert, CertTable};
use rcgen::{CertificateParams, KeyPair};
use rustls::SignatureScheme as Scheme;
use std::process::Command;
use std::sync::Arc;

const DAY: i64 = 24 * 3600;

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// A certificate for these names that is valid from a day ago for so many days.
fn made_by(key: &KeyPair, alternatives: &[&str], days: i64) -> String {
    let names: Vec<String> = alternatives.iter().map(|n| n.to_string()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    let shift = |days: i64| std::time::Duration::from_secs(days.unsigned_abs() * DAY as u64);
    let today = std::time::SystemTime::now();
    let at = |days: i64| match days {
        0.. => today + shift(days),
        _ => today - shift(days),
    };
    params.not_before = at((days - 1).min(-1)).into();
    params.not_after = at(days).into();
    params.self_signed(key).unwrap().pem()
}

fn made(names: &[&str], days: i64) -> Cert {
    let key = KeyPair::generate().unwrap();
    let alternatives: Vec<&str> = names.iter().copied().filter(|n| *n != "*").collect();
    Cert {
        names: names.iter().map(|n| n.to_string()).collect(),
        chain: made_by(&key, &alternatives, days),
        key: key.serialize_pem(),
        challenge: false,
    }
}

fn read(cert: &Cert) -> Result<Usable, String> {
    cert::read(cert, now(), &server::provider())
}

fn refusal(cert: &Cert) -> String {
    read(cert).err().expect("a refusal")
}

fn own() -> Arc<Usable> {
    Arc::new(cert::self_signed(&server::provider()).unwrap())
}

fn build(version: u64, certs: Vec<Cert>, old: &Shelf) -> Shelf {
    Shelf::build(
        &CertTable { version, certs },
        old,
        now(),
        &server::provider(),
    )
}

fn openssl(dir: &std::path::Path, args: &str) {
    let run = Command::new("openssl")
        .args(args.split_whitespace())
        .current_dir(dir)
        .output()
        .expect("openssl runs");
    assert!(
        run.status.success(),
        "openssl {args}: {}",
        String::from_utf8_lossy(&run.stderr)
    );
}

#[test]
fn keys_of_all_kinds_and_forms_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (kind, make, old_form) in [
        (
            "rsa",
            "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048",
            Some("rsa -traditional"),
        ),
        (
            "p256",
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
            Some("ec"),
        ),
        (
            "p384",
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384",
            Some("ec"),
        ),
        ("ed25519", "genpkey -algorithm ED25519", None),
        // with the block EC PARAMETERS in front
        ("params", "ecparam -name prime256v1 -genkey", None),
    ] {
        openssl(dir, &format!("{make} -out {kind}.key"));
        openssl(
            dir,
            &format!(
                "req -x509 -key {kind}.key -out {kind}.pem -days 9 -subj /CN=x -addext subjectAltName=DNS:a.test,DNS:*.a.test"
            ),
        );
        let text = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
        let mut cert = Cert {
            names: vec!["a.test".into(), "*.A.test".into()],
            chain: text(&format!("{kind}.pem")),
            key: text(&format!("{kind}.key")),
            challenge: false,
        };
        let usable = read(&cert).unwrap_or_else(|e| panic!("{kind}: {e}"));
        assert!(usable.is_for("x.a.test") && !usable.is_for("x.x.a.test"));
        if let Some(form) = old_form {
            openssl(dir, &format!("{form} -in {kind}.key -out {kind}.old"));
            cert.key = text(&format!("{kind}.old"));
            assert!(
                cert.key.contains("BEGIN RSA PRIVATE") || cert.key.contains("BEGIN EC PRIVATE"),
                "{kind}"
            );
            read(&cert).unwrap_or_else(|e| panic!("{kind}, old form: {e}"));
        }
    }
    openssl(
        dir,
        "pkey -in rsa.key -aes128 -passout pass:secret -out locked.key",
    );
    openssl(
        dir,
        "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out weak.key",
    );
    openssl(
        dir,
        "req -x509 -key weak.key -out weak.pem -subj /CN=x -addext subjectAltName=DNS:a.test",
    );
    for (chain, key, part) in [
        ("rsa.pem", "locked.key", "passphrase"),
        ("weak.pem", "weak.key", "RSA (2048 bits or more)"),
        (
            "rsa.pem",
            "p256.key",
            "does not belong to the first certificate",
        ),
        ("rsa.pem", "rsa.pem", "private key is missing"),
        ("rsa.key", "rsa.key", "holds no certificate"),
    ] {
        let text = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
        let cert = Cert {
            names: vec!["a.test".into()],
            chain: text(chain),
            key: text(key),
            challenge: false,
        };
        let why = refusal(&cert);
        assert!(why.contains(part), "{chain} with {key}: {why}");
    }
}

#[test]
fn what_does_not_fit_is_told() {
    let good = made(&["a.test"], 30);
    assert!(read(&good).is_ok());
    let named = |names: &[&str]| Cert {
        names: names.iter().map(|n| n.to_string()).collect(),
        ..good.clone()
    };
    assert_eq!(
        refusal(&named(&["a.test", "b.test"])),
        "it is not for b.test but for a.test"
    );
    assert_eq!(refusal(&named(&[])), "it was given for no name");
    assert!(read(&named(&["A.Test.", "*"])).is_ok());
    let why = refusal(&made(&["a.test"], -2));
    assert!(why.starts_with("it expired on 20"), "{why}");
    let early = cert::read(&good, now() - 10 * DAY, &server::provider());
    let why = early.err().unwrap();
    assert!(why.starts_with("it is not valid before 20"), "{why}");

    let torn = Cert {
        chain: good.chain.replace("-----END", "----END"),
        ..good.clone()
    };
    assert!(
        refusal(&torn).contains("chain is not PEM"),
        "{}",
        refusal(&torn)
    );
    let mut bytes = good.chain.clone().into_bytes();
    bytes[60] = b'!';
    let garbled = Cert {
        chain: String::from_utf8(bytes).unwrap(),
        ..good.clone()
    };
    assert!(refusal(&garbled).contains("chain is not PEM"));
    let long = Cert {
        chain: good.chain.repeat(11),
        ..good.clone()
    };
    assert!(refusal(&long).contains("11 certificates"));
    let nameless = KeyPair::generate().unwrap();
    let nameless = Cert {
        chain: made_by(&nameless, &[], 3),
        key: nameless.serialize_pem(),
        ..good
    };
    assert_eq!(
        refusal(&nameless),
        "it names no host in its subject alternative names"
    );
}

#[test]
fn names_are_found_exactly_then_by_one_label_then_by_default() {
    let empty = Shelf::empty(own());
    let shelf = build(
        1,
        vec![
            made(&["a.test", "b.test"], 30),
            made(&["*.a.test"], 30),
            made(&["special.a.test"], 30),
        ],
        &empty,
    );
    assert_eq!(shelf.refused, [""; 0]);
    let names = |asked: Option<&str>| {
        let found = shelf.choose(asked, &[]).unwrap();
        found.names.join(" ")
    };
    assert_eq!(names(Some("a.test")), "a.test b.test");
    assert_eq!(names(Some("B.Test.")), "a.test b.test");
    assert_eq!(names(Some("x.a.test")), "*.a.test");
    assert_eq!(names(Some("special.a.test")), "special.a.test");
    for unknown in ["x.y.a.test", "test", "c.test", "", ".", "*"] {
        assert_eq!(names(Some(unknown)), "*", "{unknown:?}");
    }
    assert_eq!(names(None), "*");
    assert!(Arc::ptr_eq(
        shelf.choose(None, &[]).unwrap(),
        empty.choose(None, &[]).unwrap()
    ));
    let long = "x".repeat(300);
    assert_eq!(names(Some(&long)), "*");

    // certificates named as default go before our own, the newest first
    let shelf = build(
        2,
        vec![made(&["d.test", "*"], 9), made(&["e.test"], 9)],
        &shelf,
    );
    assert_eq!(&*shelf.choose(None, &[]).unwrap().names[0], "d.test");
    assert_eq!(shelf.shown_to("nobody.test").names[0].as_ref(), "d.test");
}

#[test]
fn of_several_the_one_valid_longest_that_the_client_can_check() {
    let rsa = tempfile::tempdir().unwrap();
    openssl(
        rsa.path(),
        "req -x509 -newkey rsa:2048 -nodes -keyout key -out pem -days 50 -subj /CN=x -addext subjectAltName=DNS:a.test",
    );
    let text = |name: &str| std::fs::read_to_string(rsa.path().join(name)).unwrap();
    let rsa = Cert {
        names: vec!["a.test".into()],
        chain: text("pem"),
        key: text("key"),
        challenge: false,
    };
    let shelf = build(
        1,
        vec![
            made(&["a.test"], 20),
            rsa,
            made(&["a.test"], 40),
            made(&["a.test"], 30),
        ],
        &Shelf::empty(own()),
    );
    let days = |schemes: &[Scheme]| {
        let found = shelf.choose(Some("a.test"), schemes).unwrap();
        (found.not_after - now() + DAY / 2) / DAY
    };
    let (ecdsa, rsa) = (Scheme::ECDSA_NISTP256_SHA256, Scheme::RSA_PSS_SHA256);
    assert_eq!(days(&[ecdsa, rsa]), 50);
    assert_eq!(days(&[ecdsa]), 40);
    assert_eq!(days(&[rsa]), 50);
    // the handshake then tells the client what is wrong
    assert_eq!(days(&[Scheme::ED25519]), 50);
}

#[test]
fn bad_ones_are_left_out_and_unchanged_ones_are_not_read_again() {
    let (a, b, old) = (
        made(&["a.test"], 9),
        made(&["b.test"], 9),
        made(&["c.test"], -2),
    );
    let mut wrong = made(&["x.test", "y.test"], 9);
    wrong.key = a.key.clone();
    let first = build(1, vec![a.clone(), wrong, b, old], &Shelf::empty(own()));
    assert_eq!(first.refused.len(), 2);
    assert!(first.refused[0].starts_with("x.test, y.test: the private key does not belong"));
    assert!(first.refused[1].starts_with("c.test: it expired on"));
    assert!(!format!("{:?}", first.refused).contains("PRIVATE KEY"));
    let shown = |shelf: &Shelf, name: &str| shelf.choose(Some(name), &[]).unwrap().clone();
    assert_eq!(&*shown(&first, "b.test").names[0], "b.test");

    let second = build(2, vec![made(&["b.test"], 9), a], &first);
    assert!(Arc::ptr_eq(
        &shown(&first, "a.test"),
        &shown(&second, "a.test")
    ));
    assert!(!Arc::ptr_eq(
        &shown(&first, "b.test"),
        &shown(&second, "b.test")
    ));
}

#[test]
fn older_tables_change_nothing_and_hosts_are_compared_with_certificates() {
    let tls = Tls::new().unwrap();
    let table = |version, certs| CertTable { version, certs };
    let taken = tls.take(&table(
        5,
        vec![made(&["a.test", "*.a.test"], 9), made(&["b.test"], -2)],
    ));
    assert_eq!(
        (taken.version, taken.refused.len(), taken.fresh),
        (5, 1, true)
    );
    let again = tls.take(&table(4, vec![]));
    assert_eq!(
        (again.version, again.refused, again.fresh),
        (5, taken.refused, false)
    );

    for (sni, host, misdirected) in [
        (None, "b.test", false),
        (Some("a.test"), "a.test", false),
        (Some("a.test"), "x.a.test", false),
        (Some("a.test"), "x.x.a.test", true),
        (Some("a.test"), "b.test", true),
        (Some("b.test"), "b.test", false),
        (Some("b.test"), "a.test", true),
    ] {
        assert_eq!(tls.is_misdirected(sni, host), misdirected, "{sni:?} {host}");
    }
}
