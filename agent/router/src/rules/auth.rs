//! Names and passwords (RFC 7617).
//!
//! Hashes that take milliseconds never run on a serving thread. A right password is remembered, one per user, by a keyed
//! hash that lives as long as the rules; so are some wrong ones. Others are verified by the [`Verifier`], a few at a time
//! per app and per client, and whoever comes beyond that gets 429: a flood from one client keeps nobody else out. Requests
//! with the same name and password share one verification. An unknown name costs what a known one costs.

use super::answer;
use super::verifier::Verifier;
use crate::reply::Reply;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params, PasswordVerifier};
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use blake3::Hash;
use hokku_model::routing::BasicAuth;
use http::HeaderValue;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use zeroize::Zeroizing;

/// Verifications of one app at a time.
const AT_ONCE: usize = 8;
/// Of these for one client address (IPv6: one /64).
const PER_CLIENT: usize = 2;
/// Wrong passwords that are remembered.
const WRONG: usize = 64;
/// Bytes of an `Authorization` that are looked at.
const LONGEST: usize = 1024;
/// The memory that a hash may ask for, in KiB: that of RFC 9106's second recommendation.
const MEMORY: u32 = 64 * 1024;
/// The work that a hash may ask for, in KiB written: about half a second.
const WORK: u32 = 4 * MEMORY;
/// The highest cost of bcrypt: about half a second.
const COST: u32 = 13;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Proof that a request needs no (more) password.
pub(crate) struct Passed(());

/// Who is let in.
pub(super) struct Auth {
    challenge: HeaderValue,
    /// By a keyed hash of the name.
    users: BTreeMap<[u8; 32], User>,
    key: [u8; 32],
    state: Mutex<State>,
    verifier: Arc<Verifier>,
}

struct User {
    stored: Arc<Stored>,
    /// The right password's keyed hash.
    right: Mutex<Option<Hash>>,
}

enum Stored {
    Argon2(Box<PasswordHash>),
    Bcrypt(String),
}

#[derive(Default)]
struct State {
    flying: Vec<Flying>,
    wrong: VecDeque<Hash>,
}

struct Flying {
    what: Hash,
    client: IpAddr,
    told: watch::Receiver<Option<bool>>,
}

/// What is known at once.
pub(super) enum Known {
    Passed,
    Reply(Reply),
    Verify(Check),
}

/// A verification that runs.
pub(crate) struct Check {
    auth: Arc<Auth>,
    told: watch::Receiver<Option<bool>>,
}

impl Check {
    /// Waits until the password is verified. May be dropped.
    ///
    /// # Errors
    /// The reply, 401 or 429.
    pub async fn verdict(mut self) -> Result<Passed, Reply> {
        let verdict = self.told.wait_for(Option::is_some).await;
        match verdict.map(|v| *v) {
            Ok(Some(true)) => Ok(Passed(())),
            Ok(_) => Err(answer::who_are_you(&self.auth.challenge)),
            // the thread failed, or the router ends
            Err(_) => Err(answer::too_many()),
        }
    }
}

impl Auth {
    /// Takes names and hashes. Also says what cannot be used; with no usable hash nobody is let in.
    pub fn read(auth: &BasicAuth, verifier: &Arc<Verifier>) -> (Auth, Vec<String>) {
        let mut refused = Vec::new();
        let mut key = [0; 32];
        if getrandom::fill(&mut key).is_err() {
            refused.push("the system gives no random bytes, so nobody is let in".to_owned());
        }
        let usable = refused.is_empty();
        let mut users = BTreeMap::new();
        for (name, hash) in auth.users.iter().filter(|_| usable) {
            let bad_name = name.contains(':') || name.len() > LONGEST;
            let stored = match Stored::read(hash) {
                Err(why) => Err(why),
                Ok(_) if bad_name => Err("a name has no colon and not so many letters"),
                Ok(stored) => Ok(stored),
            };
            match stored {
                Ok(stored) => {
                    let user = User {
                        stored: Arc::new(stored),
                        right: Mutex::new(None),
                    };
                    users.insert(*blake3::keyed_hash(&key, name.as_bytes()).as_bytes(), user);
                }
                // never the hash itself
                Err(why) => refused.push(format!("{name} is not let in: {why}")),
            }
        }
        let challenge = challenge(&auth.realm).unwrap_or_else(|| {
            refused.push("the realm has characters that no header may have".to_owned());
            HeaderValue::from_static("Basic realm=\"\", charset=\"UTF-8\"")
        });
        let made = Auth {
            challenge,
            users,
            key,
            state: Mutex::default(),
            verifier: verifier.clone(),
        };
        (made, refused)
    }

    /// Looks at a request's `Authorization`.
    pub fn check(self: &Arc<Self>, authorization: Option<&[u8]>, client: IpAddr) -> Known {
        let no = || Known::Reply(answer::who_are_you(&self.challenge));
        let Some(given) = authorization.and_then(credentials) else {
            return no();
        };
        let Some((name, password)) = parts(&given) else {
            return no();
        };
        // the name is before the first colon, so that the whole is clear
        let what = blake3::keyed_hash(&self.key, &given);
        let user = self
            .users
            .get(blake3::keyed_hash(&self.key, name).as_bytes());
        // comparing is constant-time in blake3
        if user.is_some_and(|u| *held(&u.right) == Some(what)) {
            return Known::Passed;
        }
        // an unknown name is verified against somebody's hash, for the time it takes
        let Some(stored) = user.or(self.users.values().next()) else {
            return no();
        };
        let mut state = held(&self.state);
        if state.wrong.contains(&what) {
            return no();
        }
        if let Some(same) = state.flying.iter().find(|f| f.what == what) {
            return Known::Verify(Check {
                auth: self.clone(),
                told: same.told.clone(),
            });
        }
        let client = network(client);
        let of_client = state.flying.iter().filter(|f| f.client == client).count();
        if state.flying.len() >= AT_ONCE || of_client >= PER_CLIENT {
            return Known::Reply(answer::too_many());
        }
        let (tell, told) = watch::channel(None);
        let (stored, password) = (stored.stored.clone(), Zeroizing::new(password.to_vec()));
        let (auth, user) = (self.clone(), user.is_some().then(|| name.to_vec()));
        let job = move || {
            let mut landing = Landing {
                auth: &auth,
                what,
                verdict: None,
                user,
            };
            landing.verdict = Some(stored.verify(&password) && landing.user.is_some());
            let verdict = landing.verdict;
            // remembered before it is told
            drop(landing);
            // nobody may be waiting any more
            let _ = tell.send(verdict);
        };
        if !self.verifier.submit(job) {
            return Known::Reply(answer::too_many());
        }
        state.flying.push(Flying {
            what,
            client,
            told: told.clone(),
        });
        Known::Verify(Check {
            auth: self.clone(),
            told,
        })
    }
}

/// Takes a verification from the list, whatever comes of it, and remembers its verdict.
struct Landing<'a> {
    auth: &'a Auth,
    what: Hash,
    verdict: Option<bool>,
    user: Option<Vec<u8>>,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let name = |n: &Vec<u8>| *blake3::keyed_hash(&self.auth.key, n).as_bytes();
        let user = self
            .user
            .as_ref()
            .and_then(|n| self.auth.users.get(&name(n)));
        if let (Some(true), Some(user)) = (self.verdict, user) {
            *held(&user.right) = Some(self.what);
        }
        let mut state = held(&self.auth.state);
        if self.verdict == Some(false) {
            if state.wrong.len() >= WRONG {
                state.wrong.pop_front();
            }
            state.wrong.push_back(self.what);
        }
        state.flying.retain(|f| f.what != self.what);
    }
}

impl Stored {
    fn read(hash: &str) -> Result<Stored, &'static str> {
        if hash.starts_with("$2") {
            let parts: bcrypt::HashParts = hash
                .parse()
                .map_err(|_| "its hash is no bcrypt hash, as htpasswd -B makes it")?;
            if !(4..=COST).contains(&parts.get_cost()) {
                return Err("the cost of its bcrypt hash is not from 4 to 13");
            }
            return Ok(Stored::Bcrypt(hash.to_owned()));
        }
        let wrong = "its hash is neither argon2id (as $argon2id$v=19$...) nor bcrypt";
        let parsed = PasswordHash::new(hash).map_err(|_| wrong)?;
        if parsed.algorithm.as_str() != "argon2id" || parsed.salt.is_none() || parsed.hash.is_none()
        {
            return Err(wrong);
        }
        let params = Params::try_from(&parsed).map_err(|_| wrong)?;
        let work = params.m_cost().saturating_mul(params.t_cost());
        if params.m_cost() > MEMORY || work > WORK {
            return Err("its hash asks for more than 64 MiB, or goes over them more than 4 times");
        }
        Ok(Stored::Argon2(Box::new(parsed)))
    }

    fn verify(&self, password: &[u8]) -> bool {
        match self {
            Stored::Argon2(hash) => Argon2::default().verify_password(password, &**hash).is_ok(),
            Stored::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
        }
    }
}

fn challenge(realm: &str) -> Option<HeaderValue> {
    let realm = realm.replace('\\', "\\\\").replace('"', "\\\"");
    HeaderValue::from_bytes(format!("Basic realm=\"{realm}\", charset=\"UTF-8\"").as_bytes()).ok()
}

/// `Basic bmFtZTpwYXNzd29yZA==`, decoded.
fn credentials(authorization: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if authorization.len() > LONGEST {
        return None;
    }
    let (scheme, rest) = authorization.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    BASE64.decode(rest.trim_ascii()).ok().map(Zeroizing::new)
}

fn parts(credentials: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', credentials)?;
    Some((&credentials[..colon], &credentials[colon + 1..]))
}

/// What counts as one client: an IPv4 address, an IPv6 /64.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::from((u128::from(ip) >> 64 << 64).to_be_bytes()),
        ip => ip,
    }
}

/// Nothing here panics while it holds a lock.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
