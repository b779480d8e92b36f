use super::*;
use proptest::prelude::*;
use std::sync::mpsc::channel;

/// bcrypt of `right`, cost 4.
fn bcrypt_hash(password: &str) -> String {
    let salt = *b"0123456789abcdef";
    let parts = bcrypt::hash_with_salt(password, 4, salt).unwrap();
    // as htpasswd writes it
    parts.format_for_version(bcrypt::Version::TwoY)
}

fn argon2_hash(password: &str) -> String {
    use argon2::PasswordHasher;
    let argon = Argon2::new(
        argon2::Algorithm::Argon2id,
        argon2::Version::V0x13,
        Params::new(64, 2, 1, None).unwrap(),
    );
    let hash: PasswordHash = argon
        .hash_password_with_salt(password.as_bytes(), b"0123456789abcdef")
        .unwrap();
    hash.to_string()
}

fn auth(users: &[(&str, String)], verifier: &Arc<Verifier>) -> (Arc<Auth>, Vec<String>) {
    let users = users.iter().map(|(n, h)| ((*n).to_owned(), h.clone()));
    let said = BasicAuth {
        realm: "The \"shop\"".into(),
        users: users.collect(),
    };
    let (auth, refused) = Auth::read(&said, verifier);
    (Arc::new(auth), refused)
}

fn basic(name: &str, password: &str) -> Vec<u8> {
    format!("Basic {}", BASE64.encode(format!("{name}:{password}"))).into_bytes()
}

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

fn at_once(auth: &Arc<Auth>, given: &[u8]) -> Option<u16> {
    match auth.check(Some(given), HERE) {
        Known::Passed => Some(200),
        Known::Reply(reply) => Some(reply.status().as_u16()),
        Known::Verify(_) => None,
    }
}

async fn ask(auth: &Arc<Auth>, given: &[u8]) -> u16 {
    match auth.check(Some(given), HERE) {
        Known::Passed => 200,
        Known::Reply(reply) => reply.status().as_u16(),
        Known::Verify(check) => match check.verdict().await {
            Ok(_) => 200,
            Err(reply) => reply.status().as_u16(),
        },
    }
}

#[tokio::test]
async fn right_and_wrong_passwords() {
    let verifier = Arc::<Verifier>::default();
    let users = [
        ("ann", bcrypt_hash("right")),
        ("bob", argon2_hash("r\u{e9}d: 1")),
    ];
    let (auth, refused) = auth(&users, &verifier);
    assert_eq!(refused, Vec::<String>::new());
    for (name, password, status) in [
        ("ann", "right", 200),
        ("bob", "r\u{e9}d: 1", 200),
        ("ann", "wrong", 401),
        ("ann", "", 401),
        ("bob", "right", 401),
        ("ANN", "right", 401),
        ("nobody", "right", 401),
        ("", "", 401),
    ] {
        let given = basic(name, password);
        assert_eq!(ask(&auth, &given).await, status, "{name} {password}");
        // the second time nothing is computed
        assert_eq!(at_once(&auth, &given), Some(status), "{name} {password}");
    }
    // "ann" and "r" + "ight" is not "annr" and "ight": the colon is part of what is hashed
    assert_eq!(ask(&auth, &basic("an", "n:right")).await, 401);
}

#[test]
fn what_is_no_basic_authorization_is_asked_again() {
    let verifier = Arc::<Verifier>::default();
    let (auth, _) = auth(&[("ann", bcrypt_hash("right"))], &verifier);
    let Known::Reply(reply) = auth.check(None, HERE) else {
        panic!("nothing was given");
    };
    assert_eq!(reply.status(), 401);
    assert_eq!(
        reply.headers()["www-authenticate"],
        "Basic realm=\"The \\\"shop\\\"\", charset=\"UTF-8\""
    );
    let long = [b"Basic ", "YQ==".repeat(1000).as_bytes()].concat();
    for given in [
        &b""[..],
        b"Basic",
        b"Basic ",
        b"Basic !!!",
        b"Bearer YTpi",
        b"Basic YQ==",
        b"\xff\xff\xff\xff\xff\xff\xff",
        &long,
    ] {
        assert_eq!(at_once(&auth, given), Some(401));
    }
}

#[test]
fn hashes_that_cannot_be_used_let_nobody_in() {
    let verifier = Arc::<Verifier>::default();
    let huge =
        "$argon2id$v=19$m=4194304,t=3,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdHNhbHRzYWx0c2FsdHNhbHQ";
    let users = [
        ("a", "plain".to_owned()),
        ("b", huge.to_owned()),
        ("c", "$2y$05$short".to_owned()),
        ("d", "$apr1$x$y".to_owned()),
        ("e", bcrypt_hash("x").replacen("$04$", "$31$", 1)),
        ("f:g", bcrypt_hash("x")),
        (
            "g",
            "$argon2i$v=19$m=64,t=2,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdHNhbHRzYWx0c2FsdHNhbHQ"
                .into(),
        ),
        ("h", "$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHQ".into()),
        ("i", String::new()),
    ];
    let (auth, refused) = auth(&users, &verifier);
    assert_eq!(refused.len(), users.len(), "{refused:?}");
    assert!(
        !refused
            .iter()
            .any(|r| r.contains("$2") || r.contains("m=64"))
    );
    assert_eq!(at_once(&auth, &basic("a", "plain")), Some(401));
}

/// Holds all threads of a verifier until dropped.
fn busy(verifier: &Verifier) -> Vec<std::sync::mpsc::Sender<()>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let hold = |_| {
        let (open, gate) = channel::<()>();
        let (tell, started) = channel();
        assert!(verifier.submit(move || {
            tell.send(()).unwrap();
            _ = gate.recv();
        }));
        started.recv().unwrap();
        open
    };
    (0..(cores / 2).clamp(1, 4)).map(hold).collect()
}

#[tokio::test]
async fn a_flood_of_wrong_passwords_keeps_others_in() {
    let verifier = Arc::<Verifier>::default();
    let (auth, _) = auth(
        &[("ann", bcrypt_hash("right")), ("bob", bcrypt_hash("too"))],
        &verifier,
    );
    assert_eq!(ask(&auth, &basic("ann", "right")).await, 200);
    let gates = busy(&verifier);
    let ip = |n: u8| IpAddr::from([198, 51, 100, n]);
    let (mut checks, mut too_many) = (Vec::new(), 0);
    for n in 0..100 {
        match auth.check(Some(&basic("ann", &format!("guess {n}"))), ip(1)) {
            Known::Verify(check) => checks.push(check),
            Known::Reply(reply) => {
                assert_eq!(reply.status(), 429);
                assert!(reply.headers().contains_key("retry-after"));
                too_many += 1;
            }
            Known::Passed => panic!("a guess"),
        }
    }
    assert_eq!((checks.len(), too_many), (PER_CLIENT, 100 - PER_CLIENT));
    // who was in is in, and another client's password is verified, many requests in one
    assert_eq!(at_once(&auth, &basic("ann", "right")), Some(200));
    for _ in 0..20 {
        match auth.check(Some(&basic("bob", "too")), ip(2)) {
            Known::Verify(check) => checks.push(check),
            _ => panic!("has to be verified"),
        }
    }
    // from many addresses no more than so many
    for n in 10..100 {
        match auth.check(Some(&basic("ann", &format!("guess {n}"))), ip(n)) {
            Known::Verify(check) => checks.push(check),
            Known::Reply(reply) => assert_eq!(reply.status(), 429),
            Known::Passed => panic!("a guess"),
        }
    }
    assert_eq!(held(&auth.state).flying.len(), AT_ONCE);
    drop(gates);
    let mut passed = 0;
    for check in checks {
        passed += usize::from(check.verdict().await.is_ok());
    }
    assert_eq!(passed, 20);
    assert_eq!(held(&auth.state).flying.len(), 0);
    assert_eq!(ask(&auth, &basic("bob", "too")).await, 200);
}

#[tokio::test]
async fn a_client_that_left_changes_nothing() {
    let verifier = Arc::<Verifier>::default();
    let (auth, _) = auth(&[("ann", bcrypt_hash("right"))], &verifier);
    let gates = busy(&verifier);
    let given = basic("ann", "right");
    drop(auth.check(Some(&given), HERE));
    let Known::Verify(second) = auth.check(Some(&given), HERE) else {
        panic!("not known yet");
    };
    drop(gates);
    assert!(second.verdict().await.is_ok());
    assert_eq!(at_once(&auth, &given), Some(200));
}

#[test]
fn an_ipv6_client_is_a_64() {
    let ip = |t: &str| network(t.parse().unwrap());
    assert_eq!(ip("2001:db8:1:2:3:4:5:6"), ip("2001:db8:1:2::1"));
    assert_ne!(ip("2001:db8:1:2::1"), ip("2001:db8:1:3::1"));
    assert_eq!(ip("::ffff:192.0.2.1"), ip("192.0.2.1"));
    assert_ne!(ip("192.0.2.1"), ip("192.0.2.2"));
}

proptest! {
    #[test]
    fn any_authorization_is_answered(given: Vec<u8>, realm in "\\PC{0,20}") {
        let verifier = Arc::<Verifier>::default();
        let said = BasicAuth { realm, users: BTreeMap::new() };
        let auth = Arc::new(Auth::read(&said, &verifier).0);
        prop_assert_eq!(at_once(&auth, &given), Some(401));
        prop_assert_eq!(at_once(&auth, &[b"Basic ", &given[..]].concat()), Some(401));
    }
}

/// From the test suites of the reference implementations: argon2's `test.c`, and crypt_blowfish's `wrapper.c`.
#[tokio::test]
async fn hashes_that_others_made() {
    let verifier = Arc::<Verifier>::default();
    let users = [
        (
            "ann",
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        ),
        (
            "bob",
            "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        ),
    ];
    let users = users.map(|(name, hash)| (name, hash.to_owned()));
    let (auth, refused) = auth(&users, &verifier);
    assert_eq!(refused, Vec::<String>::new());
    assert_eq!(ask(&auth, &basic("ann", "password")).await, 200);
    assert_eq!(ask(&auth, &basic("bob", "U*U")).await, 200);
    assert_eq!(ask(&auth, &basic("bob", "password")).await, 401);
}
