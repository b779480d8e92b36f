//! Limits of process types: memory, CPU, processes, files, disk; and dyno sizes.

use crate::client::Client;
use crate::context::Context;
use crate::fail::{Fail, Result};
use crate::output::{self, Paint};
use crate::progress::Progress;
use clap::Args;
use hokku_model::api::{Limits, LimitsPage, LimitsPatch};
use hokku_model::limits::{
    NAMES, Quota, SIZES, Size, TypeLimits, parse_bytes, parse_cpus, spell_bytes, spell_cpus,
};
use reqwest::Method;

/// Show what dynos of each process type may use
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app limits\n  $ app limits --json")]
pub struct List {
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl List {
    /// Prints a table, and what the host does not hold dynos to.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let page: LimitsPage = client.get(&["hokku", "apps", &app, "limits"])?;
        if self.json {
            return output::json(&page);
        }
        if page.limits.is_empty() {
            output::line(&format!("No process types on {app}: push it first."));
        } else {
            output::print(&output::plain_table(&table(&page.limits)));
        }
        for notice in &page.notices {
            output::note(notice);
        }
        Ok(())
    }
}

/// What this host can't hold the app's dynos to, as a remark, where limits are set at all. A server that knows no limits
/// has nothing to say.
pub fn notices(client: &Client, app: &str) {
    let Ok(page) = client.get::<LimitsPage>(&["hokku", "apps", app, "limits"]) else {
        return;
    };
    if page.limits.iter().any(|l| l.quota != Quota::default()) {
        page.notices.iter().for_each(|n| output::note(n));
    }
}

fn table(limits: &[Limits]) -> Vec<Vec<String>> {
    let head = [
        "Type",
        "Size",
        "Memory",
        "CPU",
        "Weight",
        "Processes",
        "Files",
        "Disk",
    ];
    let head = head.map(str::to_owned).to_vec();
    // Only one-off dynos can have it.
    let counted = limits.iter().any(|l| l.set.concurrency.is_some());
    let mut head = head;
    head.extend(counted.then(|| "At once".to_owned()));
    let rows = limits.iter().map(|l| {
        let q = &l.quota;
        let size = l.set.size.as_deref().and_then(Size::named);
        let or_dash = |t: Option<String>| t.unwrap_or_else(|| "-".into());
        let mut row = vec![
            l.r#type.clone(),
            or_dash(size.map(|s| s.shown.to_owned())),
            memory(q),
            or_dash(q.cpu.map(spell_cpus)),
            or_dash(q.cpu_weight.map(|w| w.to_string())),
            or_dash(q.pids.map(|n| n.to_string())),
            or_dash(q.files.map(|n| n.to_string())),
            or_dash(q.disk.map(spell_bytes)),
        ];
        row.extend(counted.then(|| or_dash(l.set.concurrency.map(|n| n.to_string()))));
        row
    });
    std::iter::once(head).chain(rows).collect()
}

/// `810M (R14), 900M (R15), restart`
fn memory(q: &Quota) -> String {
    let mut words = vec![];
    words.extend(q.memory_soft.map(|b| format!("{} (R14)", spell_bytes(b))));
    words.extend(q.memory.map(|b| format!("{} (R15)", spell_bytes(b))));
    if words.is_empty() {
        return "-".into();
    }
    if q.memory_restart {
        words.push("restart".into());
    }
    words.join(", ")
}

/// Limit what dynos of a process type may use; they are replaced, with the care of a deploy
#[derive(Args, Debug)]
#[command(after_help = "Example:
  $ app limits:set web --memory 900M --cpu 1.5
  $ app limits:set worker --size standard-2x --disk 2G
  $ app limits:set run --concurrency 5
  $ app limits:set web --memory 1G --memory-soft 800M --memory-restart")]
pub struct Set {
    /// The process type; run for one-off dynos
    #[arg(value_name = "TYPE")]
    kind: String,
    /// A dyno size of Heroku's: memory, CPU weight and processes at once
    #[arg(short, long)]
    size: Option<String>,
    /// Memory at which the dyno is killed (R15), such as 900M
    #[arg(short, long, value_parser = parse_bytes, value_name = "BYTES")]
    memory: Option<u64>,
    /// Memory above which R14 is logged; nine tenths of --memory when not given
    #[arg(long, value_parser = parse_bytes, value_name = "BYTES")]
    memory_soft: Option<u64>,
    /// Replace a dyno that is above its soft limit: the new one is started first. =false ends that
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    memory_restart: Option<bool>,
    /// The most CPU time, in CPUs, such as 1.5
    #[arg(short, long, value_parser = parse_cpus, value_name = "CPUS")]
    cpu: Option<u32>,
    /// Share of a busy CPU against other dynos; 100 is normal
    #[arg(long, value_name = "1-10000")]
    cpu_weight: Option<u32>,
    /// The most processes and threads
    #[arg(long, value_name = "NUMBER")]
    pids: Option<u64>,
    /// The most open files of a process
    #[arg(long, value_name = "NUMBER")]
    files: Option<u64>,
    /// The most bytes that a dyno may write to /app and /tmp, such as 2G
    #[arg(long, value_parser = parse_bytes, value_name = "BYTES")]
    disk: Option<u64>,
    /// How many one-off dynos people may run at once; only for the type run
    #[arg(long, value_name = "NUMBER")]
    concurrency: Option<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Set {
    /// Sets all or none.
    pub fn run(self, cx: &Context) -> Result<()> {
        let set = TypeLimits {
            size: self.size,
            memory: self.memory,
            memory_soft: self.memory_soft,
            cpu: self.cpu,
            cpu_weight: self.cpu_weight,
            pids: self.pids,
            files: self.files,
            disk: self.disk,
            memory_restart: self.memory_restart,
            concurrency: self.concurrency,
        };
        if set.is_empty() {
            return Err(Fail::usage(
                "Say what to limit, such as: app limits:set web --memory 900M",
            ));
        }
        set.check().map_err(Fail::usage)?;
        let (app, client) = cx.app()?;
        let patch = LimitsPatch {
            r#type: self.kind,
            set,
            unset: vec![],
        };
        change(client, &app, &patch, self.json)
    }
}

/// Take limits of a process type away
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app limits:unset web\n  $ app limits:unset web memory cpu")]
pub struct Unset {
    /// The process type
    #[arg(value_name = "TYPE")]
    kind: String,
    /// Which limits; all of them when none is named
    #[arg(value_name = "LIMIT", value_parser = NAMES)]
    names: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Unset {
    /// Takes all or none away.
    pub fn run(mut self, cx: &Context) -> Result<()> {
        if self.names.is_empty() {
            self.names.push("all".into());
        }
        let (app, client) = cx.app()?;
        let patch = LimitsPatch {
            r#type: self.kind,
            set: TypeLimits::default(),
            unset: self.names,
        };
        change(client, &app, &patch, self.json)
    }
}

/// Show or change the dyno sizes of process types
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  $ app ps:type\n  $ app ps:type web=standard-2x worker=standard-1x"
)]
pub struct Type {
    /// TYPE=SIZE
    #[arg(value_name = "TYPE=SIZE")]
    changes: Vec<String>,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl Type {
    /// Changes one after the other, and shows the sizes when nothing is to be changed.
    pub fn run(self, cx: &Context) -> Result<()> {
        let changes = self.changes.iter().map(|c| {
            let pair = c
                .split_once('=')
                .filter(|(k, s)| !k.is_empty() && !s.is_empty());
            let (kind, size) = pair.ok_or_else(|| {
                Fail::usage(format!(
                    "{c:?} is no TYPE=SIZE. Expected something like web=standard-2x."
                ))
            })?;
            let set = TypeLimits {
                size: Some(size.to_owned()),
                ..TypeLimits::default()
            };
            set.check().map_err(Fail::usage)?;
            Ok(LimitsPatch {
                r#type: kind.to_owned(),
                set,
                unset: vec![],
            })
        });
        let changes = changes.collect::<Result<Vec<_>>>()?;
        let (app, client) = cx.app()?;
        if changes.is_empty() {
            let page: LimitsPage = client.get(&["hokku", "apps", &app, "limits"])?;
            if self.json {
                return output::json(&page.limits);
            }
            output::print(&output::plain_table(&table(&page.limits)));
            let all: Vec<_> = SIZES.iter().map(|s| s.name).collect();
            output::note(&format!("Sizes: {}.", all.join(", ")));
            return Ok(());
        }
        for patch in &changes {
            change(client, &app, patch, self.json)?;
        }
        Ok(())
    }
}

fn change(client: &Client, app: &str, patch: &LimitsPatch, json: bool) -> Result<()> {
    let paint = Paint::stderr();
    let progress = Progress::start(format!(
        "Setting limits of {} on {}",
        patch.r#type,
        paint.app(app)
    ));
    let now: Limits = client.send(Method::PATCH, &["hokku", "apps", app, "limits"], patch)?;
    progress.done();
    if json {
        return output::json(&now);
    }
    output::print(&output::plain_table(&table(&[now])));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_what_is_limited() {
        let set = TypeLimits {
            memory: Some(900 << 20),
            cpu: Some(1500),
            memory_restart: Some(true),
            ..TypeLimits::default()
        };
        let limits = [("web", set), ("worker", TypeLimits::default())].map(|(kind, set)| Limits {
            r#type: kind.into(),
            quota: set.quota(),
            set,
        });
        assert_eq!(
            output::plain_table(&table(&limits)),
            "Type    Size  Memory                           CPU  Weight  Processes  Files  Disk\n\
             web     -     810M (R14), 900M (R15), restart  1.5  -       -          -      -\n\
             worker  -     -                                -    -       -          -      -\n"
        );
    }
}
