//! Static sites: checks the site and puts the server into the slug.

use super::{
    context::{Context, mistake},
    out,
};
use anyhow::Context as _;
use hokku_buildpacks::{site, source::Source};
use std::{fs, os::unix::fs::PermissionsExt};

/// The default web process.
pub const COMMAND: &str = "$HOME/.hokku/static-server";

/// `bin/compile` of the static buildpack.
pub fn compile(c: &Context) -> anyhow::Result<()> {
    let source = Source::read(&c.build)?;
    let (site, warnings) = match site::plan(&source) {
        Ok(p) => p,
        Err(e) => return mistake(e),
    };
    for w in warnings {
        out::warning(&w);
    }
    if !c.build.join(&site.root).is_dir() {
        return mistake(format!(
            "The folder {:?}, which is to be served, does not exist.\n\n\
             Commit it, or set \"root\" in static.json to the folder that holds index.html.",
            site.root
        ));
    }
    out::step("Installing the static file server");
    let shown = if site.root == "." {
        "the app's root folder".to_owned()
    } else {
        format!("{}/", site.root)
    };
    out::detail(&format!("Serving {shown}"));
    let dir = c.build.join(".hokku");
    fs::create_dir_all(&dir)?;
    let me = std::env::current_exe().context("can't find this program's own file")?;
    let to = dir.join("static-server");
    fs::copy(&me, &to).with_context(|| format!("can't copy the server to {}", to.display()))?;
    fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
    fs::write(dir.join("site.json"), serde_json::to_vec_pretty(&site)?)?;
    Ok(())
}
