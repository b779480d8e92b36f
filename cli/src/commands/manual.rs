//! Manual pages, made from the definition of the flags; the package is built with them.

use crate::args::definition;
use crate::fail::{Fail, Result};
use crate::help;
use clap::{Args, Command};
use clap_mangen::Man;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Write the manual pages of all commands into a folder
#[derive(Args, Debug)]
pub struct Manual {
    /// The folder, which is made
    folder: PathBuf,
}

impl Manual {
    /// Writes `app.1` and a page for each command, such as `app-config-set.1`.
    pub fn run(self) -> Result<()> {
        let fault =
            |e: io::Error| Fail::new(format!("can't write to {}: {e}", self.folder.display()));
        std::fs::create_dir_all(&self.folder).map_err(fault)?;
        for (name, page) in pages() {
            let page = page.map_err(fault)?;
            std::fs::write(self.folder.join(name), page).map_err(fault)?;
        }
        Ok(())
    }
}

/// Every page with the name of its file.
fn pages() -> Vec<(PathBuf, io::Result<Vec<u8>>)> {
    let mut all = definition();
    all.build();
    let listed = all.get_subcommands().filter(|c| !c.is_hide_set());
    let mut pages: Vec<_> = listed
        .map(|c| (file(&page_name(c)), page(&all, c)))
        .collect();
    pages.push((file("app"), overview(&all)));
    pages
}

fn file(name: &str) -> PathBuf {
    Path::new(name).with_extension("1")
}

fn page_name(command: &Command) -> String {
    format!("app-{}", command.get_name().replace(':', "-"))
}

/// A page's first lines, up to the text.
fn head(name: &str, about: &str, to: &mut Vec<u8>) -> io::Result<()> {
    writeln!(to, ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '")?;
    writeln!(
        to,
        ".TH {} 1 \"\" hokku \"User Commands\"",
        name.to_uppercase()
    )?;
    writeln!(to, ".SH NAME\n{} \\- {}", plain(name), plain(about))
}

fn page(all: &Command, command: &Command) -> io::Result<Vec<u8>> {
    let name = page_name(command);
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    let mut to = vec![];
    head(&name, &about, &mut to)?;
    // the examples have a section of their own
    let shown = command
        .clone()
        .after_help("")
        .after_long_help("")
        .bin_name(format!("app {}", command.get_name()))
        .help_template("");
    // clap knows them below "app" only
    let shown = all
        .get_arguments()
        .filter(|a| !shown.get_arguments().any(|b| b.get_id() == a.get_id()))
        .cloned()
        .fold(shown.clone(), Command::arg);
    let man = Man::new(shown).manual("User Commands");
    man.render_synopsis_section(&mut to)?;
    man.render_description_section(&mut to)?;
    let also: Vec<_> = command.get_visible_aliases().collect();
    if !also.is_empty() {
        writeln!(
            to,
            ".PP\nAlso: {}.",
            plain(
                &also
                    .iter()
                    .map(|a| format!("app {a}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        )?;
    }
    man.render_options_section(&mut to)?;
    if let Some(after) = command.get_after_long_help().or(command.get_after_help()) {
        examples(&after.to_string(), &mut to)?;
    }
    writeln!(to, ".SH SEE ALSO\n.BR app (1)")?;
    Ok(to)
}

fn overview(all: &Command) -> io::Result<Vec<u8>> {
    let about = all.get_about().map(ToString::to_string).unwrap_or_default();
    let mut to = vec![];
    head("app", &about, &mut to)?;
    writeln!(
        to,
        ".SH SYNOPSIS\n.B app\n.I COMMAND\n.RI [ OPTIONS ]\n.SH DESCRIPTION\nThe command line of hokku. Commands have the names that \
         Heroku\\*(Aqs have; \\(lqapp config set\\(rq is the same as \\(lqapp config:set\\(rq.\n.PP\n.B app help\n.I COMMAND\nexplains one, and \
         so does its own page, such as\n.BR app\\-config\\-set (1)."
    )?;
    for (title, names) in help::GROUPS {
        writeln!(to, ".SH {}", title.to_uppercase())?;
        for name in names {
            let about = all.find_subcommand(name).and_then(Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            writeln!(to, ".TP\n.B {}\n{}", plain(name), plain(&about))?;
        }
    }
    let man = Man::new(all.clone().after_help(""));
    man.render_options_section(&mut to)?;
    writeln!(
        to,
        ".SH EXIT STATUS\n0 done; 1 trouble on this side; 2 wrong use, or refused by the server; of\n.BR \"app run\" ,\nthe command\\*(Aqs own.\n\
         .SH ENVIRONMENT\nHOKKU_APP, HOKKU_URL, HOKKU_TOKEN, HOKKU_SOCKET, NO_COLOR.\n.SH FILES\n.TP\n.I ~/.config/hokku/config.toml\n\
         Stored logins.\n.TP\n.I /run/hokku/hokkud.sock\nThe agent of this machine, for root.\n.SH SEE ALSO\n.BR hokku.toml (5),\n.BR hokkud (8)"
    )?;
    Ok(to)
}

/// Text as roff takes it.
fn plain(text: &str) -> String {
    let text = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\*(Aq");
    match text.starts_with('.') {
        true => format!("\\&{text}"),
        false => text,
    }
}

/// "Example:" and what follows a blank line, each a section; lines as they are.
fn examples(text: &str, to: &mut Vec<u8>) -> io::Result<()> {
    for part in text.split("\n\n").filter(|p| !p.trim().is_empty()) {
        let (title, lines) = part.split_once('\n').unwrap_or(("", part));
        match title.strip_suffix(':') {
            Some(title) => writeln!(to, ".SH {}\n.nf", plain(&title.to_uppercase()))?,
            None => writeln!(to, ".PP\n.nf\n{}", plain(title))?,
        }
        for line in lines.lines() {
            writeln!(to, "{}", plain(line.strip_prefix("  ").unwrap_or(line)))?;
        }
        writeln!(to, ".fi")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_flags_and_an_example() {
        let pages = pages();
        let all = definition();
        assert_eq!(
            pages.len(),
            all.get_subcommands().filter(|c| !c.is_hide_set()).count() + 1
        );
        let text = |name: &str| {
            let (_, page) = pages
                .iter()
                .find(|(n, _)| n.to_str() == Some(name))
                .unwrap();
            String::from_utf8(page.as_ref().unwrap().clone()).unwrap()
        };
        let set = text("app-config-set.1");
        for part in [
            "app\\-config\\-set \\- Set config vars",
            "\\-\\-json",
            "\\-\\-app",
            ".SH EXAMPLE",
            "$ app config:set RAILS_ENV=production GREETING=\\*(AqHello",
        ] {
            assert!(set.contains(part), "{part}: {set}");
        }
        let app = text("app.1");
        for command in all.get_subcommands().filter(|c| !c.is_hide_set()) {
            assert!(
                app.contains(&format!(".B {}\n", plain(command.get_name()))),
                "{}",
                command.get_name()
            );
        }
    }

    /// `man` has no word of complaint, where it is installed.
    #[test]
    fn man_takes_the_pages() {
        let Ok(groff) = std::process::Command::new("groff")
            .arg("--version")
            .output()
        else {
            eprintln!("groff is not here: lintian looks at the pages of the package");
            return;
        };
        assert!(groff.status.success());
        let dir = tempfile::tempdir().unwrap();
        for (name, page) in pages() {
            let path = dir.path().join(&name);
            std::fs::write(&path, page.unwrap()).unwrap();
            let out = std::process::Command::new("groff")
                .args(["-k", "-man", "-ww", "-z", "-Tutf8"])
                .arg(&path)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&out.stderr);
            assert!(said.trim().is_empty(), "{}: {said}", name.display());
        }
    }
}
