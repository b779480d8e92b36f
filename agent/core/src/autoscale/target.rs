//! `queue=50ms,cpu=70%,memory=80%,inflight=10,depth=100` as people type it.

use hokku_model::autoscale::Targets;

/// Reads targets, separated by commas.
///
/// # Errors
/// In words: which part, and what it has to look like.
pub fn parse_targets(text: &str) -> Result<Targets, String> {
    let mut targets = Targets::default();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (name, value) = part.split_once('=').ok_or_else(|| {
            format!("{part:?} is no target: write for example queue=50ms, cpu=70% or inflight=10")
        })?;
        let (slot, unit, most) = match name.trim() {
            "queue" => (&mut targets.queue_ms, "ms", 60_000),
            "cpu" => (&mut targets.cpu, "%", 100),
            "memory" => (&mut targets.memory, "%", 100),
            "inflight" => (&mut targets.inflight, "", 100_000),
            "depth" => (&mut targets.depth, "", 100_000_000),
            other => {
                return Err(format!(
                    "there is no target {other:?}: there are queue, cpu, memory, inflight and depth"
                ));
            }
        };
        let value = value.trim();
        let number = value
            .strip_suffix(unit)
            .unwrap_or(value)
            .trim()
            .parse::<u32>()
            .ok();
        let number = number.filter(|n| (1..=most).contains(n)).ok_or_else(|| {
            format!(
                "{value:?} is no value for {name}: a number from 1 to {most}{}",
                if unit.is_empty() {
                    String::new()
                } else {
                    format!(" and {unit}")
                }
            )
        })?;
        if slot.replace(number).is_some() {
            return Err(format!("{name} is given twice"));
        }
    }
    if targets.is_empty() {
        return Err("there is no target: write for example --target queue=50ms,cpu=70%".into());
    }
    Ok(targets)
}

/// As [`parse_targets`] reads it.
pub fn spell_targets(t: &Targets) -> String {
    let all = [
        ("queue", t.queue_ms, "ms"),
        ("cpu", t.cpu, "%"),
        ("memory", t.memory, "%"),
        ("inflight", t.inflight, ""),
        ("depth", t.depth, ""),
    ];
    let set = all
        .iter()
        .filter_map(|(name, n, unit)| Some(format!("{name}={}{unit}", (*n)?)));
    set.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn targets() {
        let t = parse_targets("queue=50ms, cpu=70%,memory=80,inflight=10,depth=5").unwrap();
        assert_eq!(
            (t.queue_ms, t.cpu, t.memory, t.inflight, t.depth),
            (Some(50), Some(70), Some(80), Some(10), Some(5))
        );
        assert_eq!(parse_targets(&spell_targets(&t)), Ok(t));
        for bad in [
            "",
            ",",
            "cpu",
            "cpu=0",
            "cpu=101%",
            "cpu=70%,cpu=60%",
            "speed=3",
            "queue=50s",
            "queue=-1ms",
            "cpu=7e1",
        ] {
            assert!(parse_targets(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(s: String) {
            let _ = parse_targets(&s);
        }
    }
}
