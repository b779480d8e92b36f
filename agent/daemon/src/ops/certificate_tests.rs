//! Chains made for the purpose, and what is said of them.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::time::{Duration, SystemTime};

/// Root, intermediate and leaf for these names; the leaf's key.
pub(in crate::ops) struct Chain {
    pub root: String,
    pub middle: String,
    pub leaf: String,
    pub key: String,
}

fn authority(name: &str) -> CertificateParams {
    let mut p = CertificateParams::new(vec![]).unwrap();
    p.distinguished_name.push(DnType::CommonName, name);
    p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    p
}

pub(in crate::ops) fn chain(names: &[&str], days: std::ops::Range<i64>) -> Chain {
    let time = |days: i64| {
        let (now, span) = (
            SystemTime::now(),
            Duration::from_secs(days.unsigned_abs() * 86_400),
        );
        let at = if days < 0 { now - span } else { now + span };
        at.into()
    };
    let (k1, k2, k3) = (
        KeyPair::generate().unwrap(),
        KeyPair::generate().unwrap(),
        KeyPair::generate().unwrap(),
    );
    let root = authority("Root").self_signed(&k1).unwrap();
    let middle = authority("Middle")
        .signed_by(&k2, &Issuer::new(authority("Root"), &k1))
        .unwrap();
    let mut p =
        CertificateParams::new(names.iter().map(|n| n.to_string()).collect::<Vec<_>>()).unwrap();
    p.distinguished_name.push(DnType::CommonName, "Leaf");
    p.not_before = time(days.start);
    p.not_after = time(days.end);
    let leaf = p
        .signed_by(&k3, &Issuer::new(authority("Middle"), &k2))
        .unwrap();
    Chain {
        root: root.pem(),
        middle: middle.pem(),
        leaf: leaf.pem(),
        key: k3.serialize_pem(),
    }
}

fn check(chain: &str, key: &str) -> Result<Checked, String> {
    super::check(chain, key, Micros::now())
}

#[test]
fn a_good_one_is_taken_as_it_is() {
    let c = chain(&["a.test", "*.b.test"], -1..90);
    let got = check(&format!("{}{}{}", c.leaf, c.middle, c.root), &c.key).unwrap();
    assert_eq!(got.facts.names, ["a.test", "*.b.test"]);
    assert_eq!(got.facts.issuer, "CN=Middle");
    assert!(
        !got.facts.self_signed && got.remarks.is_empty(),
        "{:?}",
        got.remarks
    );
    assert_eq!(got.chain.matches("BEGIN CERTIFICATE").count(), 3);
}

#[test]
fn the_order_of_a_chain_is_put_right() {
    let (c, other) = (chain(&["a.test"], -1..90), chain(&["o.test"], -1..90));
    let want = format!("{}{}{}", c.leaf, c.middle, c.root).replace('\r', "");
    for mixed in [[&c.root, &c.middle, &c.leaf], [&c.middle, &c.leaf, &c.root]] {
        let got = check(&mixed.map(String::as_str).concat(), &c.key).unwrap();
        assert_eq!(got.chain, want);
        assert!(got.remarks[0].contains("put right"), "{:?}", got.remarks);
    }
    let stranger = chain(&["x.test"], -1..90).root;
    let got = check(
        &format!("{}{}{}{stranger}", c.leaf, c.middle, c.root),
        &c.key,
    )
    .unwrap();
    assert_eq!(
        got.chain.matches("BEGIN").count(),
        3,
        "the same name twice is one link"
    );
    assert!(check(&other.leaf, &c.key).is_err());
}

#[test]
fn faults_are_told_in_words() {
    let (c, o) = (chain(&["a.test"], -1..90), chain(&["o.test"], -1..90));
    let old = chain(&["a.test"], -9..-2);
    let damaged = c.leaf.replace("MII", "!!!");
    for (cert, key, say) in [
        (c.leaf.as_str(), o.key.as_str(), "does not belong"),
        (&old.leaf, &old.key, "expired on"),
        (&chain(&[], -1..9).leaf, &c.key, "names no host"),
        (
            &c.leaf,
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nx\n-----END ENCRYPTED PRIVATE KEY-----",
            "openssl pkey -in",
        ),
        (
            &c.leaf,
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n",
            "password",
        ),
        (&c.leaf, "", "no private key"),
        (&c.leaf, &c.leaf, "certificate first"),
        (&c.key, &c.key, "certificate first"),
        ("", &c.key, "no certificate"),
        ("rubbish", &c.key, "openssl x509"),
        (&damaged, &c.key, "damaged"),
        (&c.leaf, &format!("{}{}", c.key, o.key), "2 private keys"),
        (
            &c.leaf,
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "not supported",
        ),
    ] {
        let e = check(cert, key).err().unwrap_or_else(|| panic!("{say}"));
        assert!(e.contains(say), "{say}: {e}");
    }
}

#[test]
fn stars_stand_for_one_label() {
    let names = ["a.test".to_owned(), "*.b.test".to_owned()];
    for (host, is) in [
        ("a.test", true),
        ("x.b.test", true),
        ("*.b.test", true),
        ("b.test", false),
        ("x.y.b.test", false),
        ("x.a.test", false),
    ] {
        assert_eq!(covers(&names, host), is, "{host}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(a in ".{0,80}", b in "(-----(BEGIN|END) (CERTIFICATE|PRIVATE KEY)-----\n?|[A-Za-z0-9+/=\n]{0,40}){0,5}") {
        let _ = (check(&a, &b), check(&b, &a), check(&b, &b));
    }
}
