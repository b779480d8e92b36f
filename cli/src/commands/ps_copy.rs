//! Files out of a dyno.

use super::ps_exec;
use crate::attach;
use crate::context::Context;
use crate::fail::{Fail, Result};
use crate::output;
use clap::Args;
use hokku_model::exec::ExecRequest;
use hokku_model::name::DynoName;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

/// Packs what `$1` names, a link to it included, below the one name that a reader knows.
const PACK: &str = r#"p=$(realpath -e -- "$1") && cd / && if [ -d "$p" ]; then cd -- "$p" && exec tar -cf - .; else cd -- "$(dirname -- "$p")" && exec tar -cf - -- "./$(basename -- "$p")"; fi"#;

/// Copy a file or folder out of a dyno
#[derive(Args, Debug)]
#[command(after_help = "Example:
  $ app ps:copy web.1:/app/log/gc.log
  $ app ps:copy web.1:/tmp/heap.hprof heap.hprof
  $ app ps:copy worker.1:uploads ./saved           a folder, with all that is in it
  $ app ps:copy web.1:report.csv - | head          to standard output

A path that does not begin with / is below /app. What is at the destination already is not overwritten.")]
pub struct Copy {
    /// What to copy: [DYNO:]PATH; the dyno is web.1 unless it is said
    #[arg(value_name = "[DYNO:]PATH")]
    source: String,
    /// Where to: a folder to put it in, a new name, or - for standard output [default: .]
    #[arg(value_name = "DESTINATION")]
    to: Option<String>,
    /// The same, as Heroku's
    #[arg(short, long, value_name = "DESTINATION", conflicts_with = "to")]
    output: Option<String>,
    /// The dyno, when it is not named before the path
    #[arg(short, long, value_name = "DYNO")]
    dyno: Option<String>,
}

impl Copy {
    /// Copies.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (named, path) = split(&self.source);
        let dyno = ps_exec::dyno(self.dyno.or(named))?;
        if path.is_empty() {
            return Err(Fail::usage(
                "Say which file, such as: app ps:copy web.1:/app/log.txt",
            ));
        }
        let to = self.to.or(self.output).unwrap_or_else(|| ".".into());
        let (app, client) = cx.app()?;
        if to == "-" {
            let argv = ["cat", "--", &path].map(String::from).to_vec();
            let session = ps_exec::start(client, &app, &dyno, bare(argv))?;
            let status = attach::converse(client, session, &dyno, false)?;
            return ended(status, &dyno, &path);
        }
        let target = target(&to, &path)?;
        let argv = ["bash", "-c", PACK, "copy", &path]
            .map(String::from)
            .to_vec();
        let session = ps_exec::start(client, &app, &dyno, bare(argv))?;
        let place = target.clone();
        let (status, unpacked) =
            attach::fetch(client, session, &dyno, move |from| unpack(from, &place))?;
        ended(status, &dyno, &path)?;
        let bytes = unpacked?;
        output::note(&format!(
            "Copied {dyno}:{} to {} ({}).",
            output::clean(&path),
            target.display(),
            spell(bytes)
        ));
        Ok(())
    }
}

fn spell(bytes: u64) -> String {
    match bytes {
        0..=9_999 => format!("{bytes} bytes"),
        _ => hokku_model::limits::spell_bytes(bytes),
    }
}

fn bare(argv: Vec<String>) -> ExecRequest {
    ExecRequest {
        argv: Some(argv),
        bare: true,
        ..ExecRequest::default()
    }
}

fn ended(status: i32, dyno: &str, path: &str) -> Result<()> {
    match status {
        0 => Ok(()),
        n => Err(Fail::new(format!(
            "{} can't be copied from {dyno} (exit status {n}). What is there: app ps:exec {dyno} -- ls -la",
            output::clean(path)
        ))),
    }
}

/// `web.1:/app/x`; without a dyno, the path alone.
fn split(source: &str) -> (Option<String>, String) {
    match source.split_once(':') {
        Some((dyno, path)) if dyno.parse::<DynoName>().is_ok() => {
            (Some(dyno.to_owned()), path.to_owned())
        }
        _ => (None, source.to_owned()),
    }
}

/// The name that the copy gets; nothing may be there yet.
fn target(to: &str, path: &str) -> Result<PathBuf> {
    let to = Path::new(to);
    let target = if to.is_dir() {
        let name = Path::new(path).file_name();
        to.join(name.ok_or_else(|| {
            Fail::usage(format!(
                "{path:?} has no name of its own: say how the copy is to be called."
            ))
        })?)
    } else {
        to.to_owned()
    };
    if target.symlink_metadata().is_ok() {
        return Err(Fail::new(format!(
            "{} is there already and is left as it is. Choose another destination, or remove it first.",
            target.display()
        )));
    }
    Ok(target)
}

/// Unpacks a folder as `target`, or the one file of the archive. Gives the bytes of all files.
fn unpack(from: impl Read, target: &Path) -> Result<u64> {
    let say = |e: io::Error| Fail::new(format!("{} can't be written: {e}.", target.display()));
    let mut archive = tar::Archive::new(from);
    archive.set_preserve_permissions(false);
    archive.set_preserve_mtime(true);
    let mut bytes = 0;
    for entry in archive.entries().map_err(say)? {
        let mut entry = entry.map_err(say)?;
        let path = entry.path().map_err(say)?.into_owned();
        bytes += entry.size();
        let folder = path.components().eq([Component::CurDir]) || target.is_dir();
        if folder {
            std::fs::create_dir_all(target).map_err(say)?;
            // names that lead out of the folder, links on their way included, are refused
            entry.unpack_in(target).map_err(say)?;
        } else {
            entry.unpack(target).map_err(say)?;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        let of = |s: &str| split(s);
        assert_eq!(of("web.1:/a:b"), (Some("web.1".into()), "/a:b".into()));
        assert_eq!(of("log/x"), (None, "log/x".into()));
        assert_eq!(of("C:x"), (None, "C:x".into()));
    }

    #[test]
    fn destinations() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().to_str().unwrap();
        assert_eq!(
            target(here, "/app/a/log.txt").unwrap(),
            dir.path().join("log.txt")
        );
        let name = format!("{here}/new");
        assert_eq!(target(&name, "/app/x").unwrap(), dir.path().join("new"));
        std::fs::write(&name, "mine").unwrap();
        assert!(
            target(&name, "/app/x")
                .unwrap_err()
                .text
                .contains("is left as it is")
        );
        assert!(
            target(here, "/app/new")
                .unwrap_err()
                .text
                .contains("is left as it is")
        );
        assert!(target(here, "/").is_err());
    }

    #[test]
    fn what_leads_out_of_the_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut pack = tar::Builder::new(Vec::new());
        let mut head = tar::Header::new_gnu();
        head.set_entry_type(tar::EntryType::Directory);
        head.set_size(0);
        head.set_mode(0o755);
        pack.append_data(&mut head, "./", io::empty()).unwrap();
        let mut head = tar::Header::new_gnu();
        head.set_size(2);
        head.set_mode(0o644);
        head.set_path("a/x").unwrap();
        let name = b"../../out";
        head.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name);
        head.set_cksum();
        pack.append(&head, &b"no"[..]).unwrap();
        let mut head = tar::Header::new_gnu();
        head.set_size(3);
        head.set_mode(0o644);
        pack.append_data(&mut head, "./in/deep", &b"yes"[..])
            .unwrap();
        let bytes = pack.into_inner().unwrap();
        let target = dir.path().join("sub/copy");
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        unpack(&*bytes, &target).unwrap();
        assert!(!dir.path().join("out").exists());
        assert_eq!(std::fs::read(target.join("in/deep")).unwrap(), b"yes");
    }
}
