//! Reads the line of an SSH public key, strictly: it goes into a file that decides who may log in.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

/// Longer than a 16384-bit RSA key with its comment.
const LONGEST: usize = 16 * 1024;

/// A valid public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicKey {
    /// Type, base64 and comment, separated by one space each.
    pub line: String,
    /// May be empty.
    pub comment: String,
    /// `SHA256:` and 43 characters.
    pub fingerprint: String,
}

/// Reads `ssh-ed25519 AAAA… comment`. Options in front are refused.
pub(super) fn parse(text: &str) -> Result<PublicKey, String> {
    if text.contains("PRIVATE KEY") {
        return Err("This is a private key, which should never leave your machine. Add the public one: the file ending in .pub.".into());
    }
    let line = text.trim();
    if line.is_empty() {
        return Err("There is no key: expected a line as in ~/.ssh/id_ed25519.pub.".into());
    }
    if line.len() > LONGEST {
        return Err(format!(
            "This is no public key: it has more than {LONGEST} bytes."
        ));
    }
    if line.contains(|c: char| c.is_control() && c != '\t') {
        return Err("This is no single public key: it has several lines. Add one key at a time, as in ~/.ssh/id_ed25519.pub.".into());
    }
    let mut words = line.split([' ', '\t']).filter(|w| !w.is_empty());
    let (kind, body) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let comment = words.collect::<Vec<_>>().join(" ");
    if kind == "ssh-dss" {
        return Err(
            "DSA keys are not safe any more, and sshd refuses them. Make a new one: ssh-keygen -t ed25519".into(),
        );
    }
    let Some(check) = body_of(kind) else {
        return Err(format!(
            "{:?} is no type of public key that can be used here: expected a line that begins with ssh-ed25519, ssh-rsa, ecdsa-sha2-nistp256 or the like.",
            kind.chars().take(40).collect::<String>()
        ));
    };
    let blob = STANDARD.decode(body).map_err(|_| {
        format!(
            "The {kind} key is damaged: its second word is not base64. Was it cut off when copied?"
        )
    })?;
    let mut fields = Fields(&blob);
    if fields.next() != Some(kind.as_bytes()) {
        return Err(format!(
            "The {kind} key is damaged: what it holds is of another type."
        ));
    }
    check(&mut fields, kind)?;
    if !fields.0.is_empty() {
        return Err(format!(
            "The {kind} key is damaged: it has extra bytes at its end."
        ));
    }
    let mut line = format!("{kind} {body}");
    if !comment.is_empty() {
        line = format!("{line} {comment}");
    }
    Ok(PublicKey {
        line,
        comment,
        fingerprint: format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&blob))),
    })
}

type Check = fn(&mut Fields, &str) -> Result<(), String>;

/// What follows the type's name, by type (RFC 4253, 5656, 8709; OpenSSH's PROTOCOL.u2f).
fn body_of(kind: &str) -> Option<Check> {
    Some(match kind {
        "ssh-ed25519" => |f, k| f.of_length(k, 32),
        "ssh-rsa" => rsa,
        "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521" => ecdsa,
        "sk-ssh-ed25519@openssh.com" => |f, k| {
            f.of_length(k, 32)?;
            f.some(k).map(drop)
        },
        "sk-ecdsa-sha2-nistp256@openssh.com" => |f, k| {
            ecdsa(f, k)?;
            f.some(k).map(drop)
        },
        _ => return None,
    })
}

fn rsa(f: &mut Fields, kind: &str) -> Result<(), String> {
    f.some(kind)?;
    let n = f.some(kind)?;
    let n = &n[n.iter().take_while(|b| **b == 0).count()..];
    let bits = n.len() * 8 - n.first().map_or(0, |b| b.leading_zeros() as usize);
    if bits < 2048 {
        return Err(format!(
            "This RSA key has {bits} bits, too few to be safe; 2048 are needed. Make a new one: ssh-keygen -t ed25519"
        ));
    }
    Ok(())
}

fn ecdsa(f: &mut Fields, kind: &str) -> Result<(), String> {
    let curve = f.some(kind)?;
    let length = match curve {
        b"nistp256" => 65,
        b"nistp384" => 97,
        b"nistp521" => 133,
        _ => 0,
    };
    let named = kind.trim_end_matches("@openssh.com");
    if length == 0 || !named.as_bytes().ends_with(curve) {
        return Err(format!(
            "The {kind} key is damaged: its curve is another one."
        ));
    }
    f.of_length(kind, length)
}

/// Length-prefixed fields.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let (field, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        self.0 = rest;
        Some(field)
    }

    fn some(&mut self, kind: &str) -> Result<&'a [u8], String> {
        let cut = || format!("The {kind} key is damaged: it is cut off. Was it whole when copied?");
        self.next().filter(|f| !f.is_empty()).ok_or_else(cut)
    }

    fn of_length(&mut self, kind: &str, length: usize) -> Result<(), String> {
        if self.some(kind)?.len() == length {
            return Ok(());
        }
        Err(format!("The {kind} key is damaged: it has a wrong length."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Made by ssh-keygen for this test; the fingerprints are what ssh-keygen -l shows.
    const KEYS: &[(&str, &str)] = &[
        (
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA06vji6qen9dmt5aIyztp+6Qd4sT7H9wQfI7y2V29M6 me@example.org on my laptop",
            "SHA256:T9hdqTzvwwZ6PQBxqGGykxOAi7uknAitWcEesyJQ0OA",
        ),
        (
            "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDTYz+lTk/O2GPufLKy1FJdyhBoF2AuCrLMD20AO5pkWWNFDWnyDZbj4ltAu7DykRpBZSk199CShW6Am0te+b0YJY1/nBsTz13kPvUxRL5FzaVoKe+ZnBmX2Pmq1KFIN+4qCF+CjZLCFLehx7NNrfSXBGZRkILLzVVPULkQkdcRrGglKUkGX5SR0EqhMnxQOsiD3As4GKzbg9boFKQWd4kisSL76vJqAZSKUJlzXgpurFw6XsFzzs/atwGZ6aM+2yIhFxBSauqrncgHzq2bnsEJiq0o1m3gINKe9KtlnTnAoVUuuW/jZroxih1rqRBzI860QBY5K6snuIOGRLRHPc3n me@example.org on my laptop",
            "SHA256:8xgUJH4mTTKlwwFKr77z2LpC/NbR2315GQl/JUENyCc",
        ),
        (
            "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBBmRGOMD0WYk5Q/l8m/hiW/VOr6M1VnJALjPIMdCkZWVU2m4c0oRiJdZNR7pwkAvSA/Ou4fiDMNbHat8vrMkoPY= me@example.org on my laptop",
            "SHA256:TOC4UKfV+PoGjGojZlr7D7SdSj4blZ/VM9L/UAHqd4o",
        ),
        (
            "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBLBfLBjA2l78P4qLs/YtB/dLmM21kd8xFP2VbQNSmMuA4e4Gh8vQNoFtO/i93kB92bBV13aU4ti46uZF0MbN0ksODhnmGRRGO3ghVj3MQBTxlQ71ygvsMzBWN8cdlcyzCA== me@example.org on my laptop",
            "SHA256:14JTyV5vXaiCAvRCCfbhFbxm++/1kWDGrwS6KnPPUsU",
        ),
        (
            "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBAH0H+SQghvhyeXoMeRjMfSYru4mhs3rf2Lk89BBiR4vX/AqmK9uhtVd+5hkHDzqL/CrVZD19TVW+lRZHeBXT7DSegHJ55rtVmOKZjWvYE9Ka5Igzd3A0Ap8Vq7hnylTBV0oZYcDkN745+RkCfinFC05fRgUQElQbOri4wNfFh3TfgY5jg== me@example.org on my laptop",
            "SHA256:kuxVLm6EnnyS4i7KLAPdBnMbyvZlBQiQdRKbRnar8vc",
        ),
    ];

    #[test]
    fn fingerprints_are_those_of_ssh_keygen() {
        for (line, fingerprint) in KEYS {
            let key = parse(line).unwrap();
            assert_eq!(&key.fingerprint, fingerprint, "{line}");
            assert_eq!(&key.line, line);
            assert_eq!(key.comment, "me@example.org on my laptop");
            assert_eq!(parse(&format!("  {line}\n")).unwrap(), key);
        }
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_reason() {
        let good = KEYS[0].0;
        let (kind, rest) = good.split_once(' ').unwrap();
        let body = rest.split(' ').next().unwrap();
        for (bad, why) in [
            (String::new(), "no key"),
            (
                "-----BEGIN OPENSSH PRIVATE KEY-----\nx".into(),
                "private key",
            ),
            (format!("{good}\n{good}"), "several lines"),
            (format!("{good}\rcommand=\"sh\""), "several lines"),
            (format!("command=\"sh\" {good}"), "no type"),
            (format!("ssh-dss {body}"), "DSA"),
            (format!("ssh-rsa {body}"), "another type"),
            (kind.into(), "another type"),
            (format!("{kind} {}", &body[..body.len() - 4]), "cut off"),
            (format!("{kind} {body}AAAA"), "extra bytes"),
            (format!("{kind} %%%%"), "not base64"),
            (format!("{kind} {}", "A".repeat(20_000)), "more than"),
            (SHORT_RSA.into(), "1024 bits"),
        ] {
            let e = parse(&bad).unwrap_err();
            assert!(e.contains(why), "{bad:?}: {e}");
        }
    }

    const SHORT_RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDgZdtWVJyO4eW7WxJHWNVqVD8u8tVv/Xfsymaphwis6fka81XwVpu/FFGs0qoMB2Zy/JAcuRxqN81DxkfaS/PohRHt6zC6gTwsa5G2tkCQx24qJGmtkq2ShRupx8DWdpuU5C1f2ft5s2oaNwW/riZbwZU/NE/8RWR6CrS5IkgfBQ== me@example.org on my laptop";

    proptest! {
        #[test]
        fn no_text_panics_and_no_key_spans_lines(s in "(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp256) [A-Za-z0-9+/]{0,80}={0,2}.{0,20}") {
            if let Ok(key) = parse(&s) {
                prop_assert!(!key.line.contains(['\n', '\r', '\0']));
            }
        }

        #[test]
        fn any_text_is_refused_or_taken(s in any::<String>()) {
            let _ = parse(&s);
        }
    }
}
