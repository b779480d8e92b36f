//! `hokku.toml` before it is pushed. No server is asked.

use crate::{
    fail::{Fail, Result},
    output, terminal,
};
use argon2::{Argon2, PasswordHasher};
use clap::Args;
use hokku_core::parse::hokku_toml;
use std::io::Read;

/// The longest password that is hashed, in bytes; the router takes no longer one either.
const LONGEST: u64 = 512;

/// Read hokku.toml as a push would, and say what is wrong with it
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  $ app routing:check\n  $ app routing:check deploy/hokku.toml")]
pub struct Check {
    /// The file
    #[arg(default_value = hokku_toml::NAME)]
    file: std::path::PathBuf,
}

impl Check {
    /// Prints what is wrong on stderr (status 2), or that nothing is. Asks no server.
    pub fn run(self) -> Result<()> {
        let name = output::clean(&self.file.display().to_string());
        let trouble = |e: std::io::Error| Fail::new(format!("{name} can't be read: {e}."));
        let file = std::fs::File::open(&self.file).map_err(trouble)?;
        let mut bytes = vec![];
        file.take(hokku_toml::MAX_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(trouble)?;
        match hokku_toml::parse_bytes(&bytes) {
            Ok(_) => {
                output::line(&format!("{name} is valid"));
                Ok(())
            }
            Err(faults) => Err(Fail::usage(faults.render(&name))),
        }
    }
}

/// Hash a password for basic_auth in hokku.toml
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  $ app routing:hash                    asks for the password\n  $ pass show staff | app routing:hash  reads it from stdin"
)]
pub struct Hash {}

impl Hash {
    /// Prints the hash (argon2id, a PHC string) on stdout. Asks no server.
    pub fn run(self) -> Result<()> {
        use std::io::IsTerminal;
        let password = match std::io::stdin().is_terminal() {
            true => {
                let first = terminal::ask_secret("Password: ")?;
                if terminal::ask_secret("Again: ")? != first {
                    return Err(Fail::usage("The two are not the same."));
                }
                first
            }
            false => {
                let mut text = String::new();
                std::io::stdin()
                    .take(LONGEST + 3)
                    .read_to_string(&mut text)
                    .map_err(|e| {
                        Fail::new(format!("The password can't be read from stdin: {e}."))
                    })?;
                let line = text.strip_suffix('\n').unwrap_or(&text);
                line.strip_suffix('\r').unwrap_or(line).to_owned()
            }
        };
        output::line(&hash(&password)?);
        Ok(())
    }
}

fn hash(password: &str) -> Result<String> {
    if password.is_empty() || password.len() as u64 > LONGEST || password.contains(char::is_control)
    {
        return Err(Fail::usage(format!(
            "A password is 1 to {LONGEST} bytes in one line, without control characters."
        )));
    }
    let hash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|e| Fail::new(format!("The password can't be hashed: {e}.")))?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::{PasswordVerifier, password_hash::phc::PasswordHash};

    #[test]
    fn hashes_are_what_the_file_takes() {
        let made = hash("correct horse").unwrap();
        let file = format!("[routing.basic_auth.users]\nann = '{made}'");
        hokku_toml::parse(&file).unwrap();
        let parsed = PasswordHash::new(&made).unwrap();
        let check = |p: &str| {
            Argon2::default()
                .verify_password(p.as_bytes(), &parsed)
                .is_ok()
        };
        assert!(check("correct horse") && !check("wrong horse"));
        for bad in ["", "a\nb", &"x".repeat(513)] {
            assert_eq!(hash(bad).unwrap_err().status, 2);
        }
    }
}
