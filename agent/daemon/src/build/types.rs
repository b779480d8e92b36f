//! Process types: the Procfile over what the last buildpack says.

use hokku_buildpacks::order::Outcome;
use hokku_core::parse::{app_json, procfile};
use hokku_model::{
    ProcessType,
    cron::{Entry, MOST_ENTRIES},
    health::AppJson,
};
use std::collections::BTreeMap;

/// The process types of a slug.
#[derive(Debug)]
pub struct Types {
    /// Commands by type.
    pub types: BTreeMap<ProcessType, String>,
    /// What is odd in the Procfile, with line numbers.
    pub warnings: Vec<String>,
    /// The cron entries of the Procfile, under names of their own.
    pub cron: Vec<Entry>,
    declared: Vec<ProcessType>,
    defaults: Vec<ProcessType>,
    language: String,
}

/// Reads the Procfile that the build left and merges the buildpack's defaults under it.
///
/// # Errors
/// The Procfile is no text that can be read.
pub fn discover(outcome: &Outcome) -> anyhow::Result<Types> {
    let mut types = BTreeMap::new();
    let mut warnings = vec![];
    let mut cron = vec![];
    if let Some(bytes) = &outcome.procfile {
        let parsed = procfile::parse(bytes)
            .map_err(|e| anyhow::anyhow!("the Procfile can't be read: {e}"))?;
        warnings.extend(
            parsed
                .warnings
                .iter()
                .map(|w| format!("Procfile line {}: {}", w.line, w.text)),
        );
        if !parsed.faults.is_empty() {
            let lines: Vec<String> = parsed
                .faults
                .iter()
                .take(20)
                .map(ToString::to_string)
                .collect();
            anyhow::bail!(
                "the Procfile has cron entries that can't be used:\n !     {}",
                lines.join("\n !     ")
            );
        }
        cron = parsed.cron;
        types.extend(parsed.types);
    }
    let declared: Vec<_> = types.keys().cloned().collect();
    let mut defaults = vec![];
    for (name, command) in &outcome.default_types {
        // A buildpack's own odd names are its own business: they are left out.
        if let Ok(kind) = name.parse::<ProcessType>()
            && !types.contains_key(&kind)
        {
            defaults.push(kind.clone());
            types.insert(kind, command.clone());
        }
    }
    if types.is_empty() && cron.is_empty() && !warnings.is_empty() {
        // To take it would stop whatever runs.
        anyhow::bail!(
            "the Procfile names nothing to run:\n !     {}",
            warnings.join("\n !     ")
        );
    }
    Ok(Types {
        types,
        warnings,
        cron,
        declared,
        defaults,
        language: outcome.language.clone(),
    })
}

impl Types {
    /// What `app.json` says, with the Procfile's cron entries after its own.
    ///
    /// # Errors
    /// There are too many.
    pub fn with_cron(&self, app_json: &AppJson) -> anyhow::Result<AppJson> {
        let mut all = app_json.clone();
        let mut cron: Vec<(Entry, bool)> = all.cron.drain(..).map(|e| (e, true)).collect();
        cron.extend(self.cron.iter().map(|e| (e.clone(), false)));
        if cron.len() > MOST_ENTRIES {
            anyhow::bail!("app.json and the Procfile have more than {MOST_ENTRIES} cron entries");
        }
        app_json::name_apart(&mut cron);
        all.cron = cron.into_iter().map(|(e, _)| e).collect();
        Ok(all)
    }

    /// The lines for the pusher, as Heroku writes them.
    pub fn declared(&self) -> String {
        let list = |types: &[ProcessType]| {
            let names: Vec<&str> = types.iter().map(ProcessType::as_str).collect();
            if names.is_empty() {
                "(none)".into()
            } else {
                names.join(", ")
            }
        };
        let mut text = format!(
            "       Procfile declares types -> {}\n",
            list(&self.declared)
        );
        if !self.defaults.is_empty() {
            text += &format!(
                "       Default types for {} -> {}\n",
                self.language,
                list(&self.defaults)
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_procfile_of_garbage_alone_is_refused_and_an_empty_one_is_not() {
        let of = |text: &str| {
            discover(&Outcome {
                procfile: Some(text.into()),
                ..Outcome::default()
            })
        };
        let said = of("%%%\n= =\n").unwrap_err().to_string();
        assert!(
            said.contains("nothing to run") && said.contains("line 2"),
            "{said}"
        );
        assert!(of("# nothing yet\n").is_ok());
    }

    #[test]
    fn the_procfile_goes_over_the_defaults() {
        let outcome = Outcome {
            procfile: Some(b"web: mine\nworker: w\n".to_vec()),
            default_types: [("web", "theirs"), ("console", "irb"), ("no name", "x")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
            language: "Ruby".into(),
            ..Outcome::default()
        };
        let types = discover(&outcome).unwrap();
        let shown: Vec<_> = types
            .types
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        assert_eq!(shown, ["console=irb", "web=mine", "worker=w"]);
        assert_eq!(
            types.declared(),
            "       Procfile declares types -> web, worker\n       Default types for Ruby -> console\n"
        );
    }
}
