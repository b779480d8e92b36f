//! What `bin/release` prints: a little YAML (or JSON), of which `default_process_types` matters.

use std::collections::BTreeMap;

/// Writes the answer of a built-in.
pub fn write(types: &BTreeMap<String, String>) -> String {
    if types.is_empty() {
        return "--- {}\n".into();
    }
    let mut out = String::from("---\ndefault_process_types:\n");
    for (k, v) in types {
        out += &format!("  {k}: {}\n", serde_json::Value::String(v.clone()));
    }
    out
}

/// The `default_process_types` in what a buildpack printed. Anything that is not understood is left out: a strange
/// answer never fails a build.
pub fn default_process_types(text: &str) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    if let Ok(serde_json::Value::Object(o)) =
        serde_json::from_str(text.trim_start_matches("---").trim())
    {
        if let Some(types) = o.get("default_process_types").and_then(|t| t.as_object()) {
            out.extend(
                types
                    .iter()
                    .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))),
            );
        }
        return out;
    }
    let mut inside = false;
    for line in text.lines() {
        let body = line.trim();
        if body.is_empty() || body.starts_with('#') || body == "---" {
            continue;
        }
        let indented = line.starts_with([' ', '\t']);
        if !indented {
            let key = body
                .split_once(':')
                .map(|(k, v)| (unquote(k.trim()), v.trim()));
            inside = false;
            if let Some((k, v)) = key
                && k == "default_process_types"
            {
                inside = v.is_empty();
                if let Some(flow) = v.strip_prefix('{').and_then(|v| v.strip_suffix('}')) {
                    for pair in flow.split(',') {
                        take(pair, &mut out);
                    }
                }
            }
        } else if inside {
            take(body, &mut out);
        }
    }
    out
}

fn take(pair: &str, out: &mut BTreeMap<String, String>) {
    // a quoted name may hold a colon, a plain one ends at the first
    if let Some((k, v)) = pair.split_once(':') {
        let (k, v) = (unquote(k.trim()), unquote(v.trim()));
        if !k.is_empty() && !v.is_empty() {
            out.insert(k, v);
        }
    }
}

fn unquote(s: &str) -> String {
    if s.len() >= 2 && s.starts_with('"') && s.ends_with('"') {
        return serde_json::from_str(s).unwrap_or_else(|_| s[1..s.len() - 1].to_owned());
    }
    if s.len() >= 2 && s.starts_with('\'') && s.ends_with('\'') {
        return s[1..s.len() - 1].replace("''", "'");
    }
    // a comment after a plain value
    s.split(" #")
        .next()
        .unwrap_or(s)
        .trim_end()
        .trim_start_matches(':')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(t: &str) -> String {
        default_process_types(t)
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect::<Vec<_>>()
            .join("|")
    }

    #[test]
    fn what_buildpacks_print() {
        for (t, want) in [
            ("", ""),
            ("---", ""),
            ("--- {}\n", ""),
            (
                "---\naddons: []\ndefault_process_types:\n  web: npm start\n",
                "web=npm start",
            ),
            (
                "default_process_types:\n    web: 'a ''b'''\n    rake: \"x: \\\"y\\\"\"\nconfig_vars:\n    PATH: bin\n",
                "rake=x: \"y\"|web=a 'b'",
            ),
            ("---\ndefault_process_types: {web: bin/go}\n", "web=bin/go"),
            ("{\"default_process_types\":{\"web\":\"x\"}}", "web=x"),
            ("config_vars:\n  web: no\n", ""),
        ] {
            assert_eq!(one(t), want, "{t:?}");
        }
    }

    proptest! {
        #[test]
        fn written_and_read_is_the_same(m in proptest::collection::btree_map("[a-z][a-z0-9_-]{0,8}", "[!-~]([ -~]{0,20}[!-~])?", 0..4)) {
            prop_assert_eq!(default_process_types(&write(&m)), m);
        }

        #[test]
        fn any_text_is_read(s in ".{0,100}") {
            let _ = default_process_types(&s);
        }
    }
}
