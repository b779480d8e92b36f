//! What a process type may use of the machine: limits of its own, and Heroku's dyno sizes as names for sets of them.

use serde::{Deserialize, Serialize};

/// Bytes of a mebibyte: what `M` means in limits.
const MIB: u64 = 1 << 20;

/// One of Heroku's dyno sizes (Dev Center "Dyno Sizes", "Limits").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// As `ps:type` takes it, in lower case.
    pub name: &'static str,
    /// As the Platform API shows it.
    pub shown: &'static str,
    /// Bytes of memory that it is to live within; R14 above.
    pub memory: u64,
    /// CPU weight; 100 is a standard-1x.
    pub cpu_weight: u32,
    /// Processes and threads.
    pub pids: u64,
}

impl Size {
    /// Twice the quota: there Heroku kills (R15).
    pub fn hard(&self) -> u64 {
        self.memory * 2
    }

    /// The size of this name, in any case; `1x`, `2x` are the names of old.
    pub fn named(name: &str) -> Option<&'static Size> {
        let name = name.to_ascii_lowercase();
        let name = match name.as_str() {
            "1x" | "standard" => "standard-1x",
            "2x" => "standard-2x",
            "free" | "hobby" => "basic",
            "p" | "px" | "performance" => "performance-l",
            other => other,
        };
        SIZES.iter().find(|s| s.name == name)
    }
}

/// All sizes, the smallest first.
pub const SIZES: [Size; 9] = [
    size("eco", "Eco", 512, 50, 256),
    size("basic", "Basic", 512, 100, 256),
    size("standard-1x", "Standard-1X", 512, 100, 256),
    size("standard-2x", "Standard-2X", 1024, 200, 512),
    size("performance-m", "Performance-M", 2560, 1000, 16_384),
    size("performance-l", "Performance-L", 14 * 1024, 4000, 32_768),
    size(
        "performance-l-ram",
        "Performance-L-RAM",
        30 * 1024,
        4000,
        32_768,
    ),
    size("performance-xl", "Performance-XL", 62 * 1024, 8000, 32_768),
    size(
        "performance-2xl",
        "Performance-2XL",
        126 * 1024,
        10_000,
        32_768,
    ),
];

const fn size(
    name: &'static str,
    shown: &'static str,
    mib: u64,
    cpu_weight: u32,
    pids: u64,
) -> Size {
    Size {
        name,
        shown,
        memory: mib * MIB,
        cpu_weight,
        pids,
    }
}

/// What was set for one process type; `None` leaves it to the size, or to the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TypeLimits {
    /// A name of [`SIZES`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Bytes of memory at which everything of the dyno is killed (R15).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Bytes of memory it is to live within: R14 above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_soft: Option<u64>,
    /// The most CPU time, in thousandths of one CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// Share of a busy CPU against other dynos, 1 to 10,000; 100 is normal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<u32>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// Open files of one process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Bytes that it may write to `/app`, `/tmp` and `/var/tmp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<u64>,
    /// Replace a dyno, with care, that is above its soft limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_restart: Option<bool>,
    /// How many may run at once; only of `run`, the one-off dynos that people start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
}

/// What holds for a dyno: its type's own limits over those of the size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quota {
    /// Bytes; R14 above. Also what programs are told that they have.
    pub memory_soft: Option<u64>,
    /// Bytes; R15 above.
    pub memory: Option<u64>,
    /// Thousandths of one CPU.
    pub cpu: Option<u32>,
    /// 1 to 10,000.
    pub cpu_weight: Option<u32>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Open files of one process.
    pub files: Option<u64>,
    /// Bytes of scratch disk.
    pub disk: Option<u64>,
    /// Replace a dyno above its soft limit.
    pub memory_restart: bool,
}

impl TypeLimits {
    /// Nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == TypeLimits::default()
    }

    /// What holds. A soft limit that was not given is nine tenths of the hard one, so that R14 comes before R15; a
    /// hard one that was not given is twice the soft one, as on Heroku.
    pub fn quota(&self) -> Quota {
        let size = self.size.as_deref().and_then(Size::named);
        let (soft, hard) = match (self.memory_soft, self.memory) {
            (Some(s), Some(h)) => (Some(s.min(h)), Some(h)),
            (Some(s), None) => (Some(s), Some(s.saturating_mul(2))),
            (None, Some(h)) => (Some(h / 10 * 9), Some(h)),
            (None, None) => (size.map(|s| s.memory), size.map(Size::hard)),
        };
        Quota {
            memory_soft: soft,
            memory: hard,
            cpu: self.cpu,
            cpu_weight: self.cpu_weight.or(size.map(|s| s.cpu_weight)),
            pids: self.pids.or(size.map(|s| s.pids)),
            files: self.files,
            disk: self.disk,
            memory_restart: self.memory_restart.unwrap_or(false),
        }
    }

    /// Takes what `change` sets, leaves the rest. A new size takes memory, CPU weight and pids of its own: what was
    /// set for these before is forgotten, unless `change` sets it.
    pub fn set(&mut self, change: &TypeLimits) {
        if change.size.is_some() {
            (self.memory, self.memory_soft, self.cpu_weight, self.pids) = (None, None, None, None);
            self.size = change.size.clone();
        }
        if change.memory.is_some()
            && change.memory_soft.is_none()
            && self.memory_soft >= change.memory
        {
            // the soft limit of before would be no limit any more
            self.memory_soft = None;
        }
        fn take<T: Clone>(mine: &mut Option<T>, new: &Option<T>) {
            if new.is_some() {
                mine.clone_from(new);
            }
        }
        take(&mut self.memory, &change.memory);
        take(&mut self.memory_soft, &change.memory_soft);
        take(&mut self.cpu, &change.cpu);
        take(&mut self.cpu_weight, &change.cpu_weight);
        take(&mut self.pids, &change.pids);
        take(&mut self.files, &change.files);
        take(&mut self.disk, &change.disk);
        take(&mut self.memory_restart, &change.memory_restart);
        take(&mut self.concurrency, &change.concurrency);
    }

    /// Forgets the limit of this name, as the command line names it.
    ///
    /// # Errors
    /// There is none of this name; the text lists them.
    pub fn unset(&mut self, name: &str) -> Result<(), String> {
        match name {
            "size" => self.size = None,
            "memory" => self.memory = None,
            "memory-soft" => self.memory_soft = None,
            "memory-restart" => self.memory_restart = None,
            "cpu" => self.cpu = None,
            "cpu-weight" => self.cpu_weight = None,
            "pids" => self.pids = None,
            "files" => self.files = None,
            "disk" => self.disk = None,
            "concurrency" => self.concurrency = None,
            _ => {
                return Err(format!(
                    "There is no limit {name:?}. The limits are: {}.",
                    NAMES.join(", ")
                ));
            }
        }
        Ok(())
    }

    /// Is each value in its range?
    ///
    /// # Errors
    /// In words: which value, and the range.
    pub fn check(&self) -> Result<(), String> {
        fn range<T: PartialOrd + Copy>(
            value: Option<T>,
            low: T,
            high: T,
            text: &str,
        ) -> Result<(), String> {
            match value {
                Some(v) if v < low || v > high => Err(text.to_owned()),
                _ => Ok(()),
            }
        }
        if let Some(name) = &self.size
            && Size::named(name).is_none()
        {
            let all: Vec<_> = SIZES.iter().map(|s| s.name).collect();
            let shown: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
            return Err(format!(
                "There is no dyno size {shown:?}. The sizes are: {}.",
                all.join(", ")
            ));
        }
        let memory = "is out of range: give 16M to 1024G";
        range(
            self.memory,
            16 * MIB,
            MIB << 20,
            &format!("The memory limit {memory}."),
        )?;
        range(
            self.memory_soft,
            16 * MIB,
            MIB << 20,
            &format!("The soft memory limit {memory}."),
        )?;
        if let (Some(soft), Some(hard)) = (self.memory_soft, self.memory)
            && soft > hard
        {
            return Err(format!(
                "The soft memory limit ({}) is above the hard one ({}).",
                spell_bytes(soft),
                spell_bytes(hard)
            ));
        }
        range(
            self.cpu,
            10,
            1_024_000,
            "The CPU cap is out of range: give 0.01 to 1024 CPUs.",
        )?;
        range(
            self.cpu_weight,
            1,
            10_000,
            "The CPU weight is out of range: give 1 to 10000; 100 is normal.",
        )?;
        range(
            self.pids,
            8,
            1 << 22,
            "The number of processes is out of range: give 8 to 4194304.",
        )?;
        range(
            self.files,
            64,
            1 << 20,
            "The number of open files is out of range: give 64 to 1048576.",
        )?;
        range(
            self.disk,
            MIB,
            MIB << 20,
            "The disk limit is out of range: give 1M to 1024G.",
        )?;
        range(
            self.concurrency,
            1,
            MOST_RUNS,
            "The number of one-off dynos at once is out of range: give 1 to 1000.",
        )
    }
}

/// The most one-off dynos that an app may be allowed to run at once.
pub const MOST_RUNS: u32 = 1000;

/// The limits, as the command line names them.
pub const NAMES: [&str; 10] = [
    "size",
    "memory",
    "memory-soft",
    "memory-restart",
    "cpu",
    "cpu-weight",
    "pids",
    "files",
    "disk",
    "concurrency",
];

/// Reads `900M`, `2G`, `1.5g`, `512MB`, `1GiB`, `1048576`. Units are powers of 1024, as on Heroku.
///
/// # Errors
/// In words.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let bad = || {
        let shown: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
        format!("{shown:?} is no amount of bytes. Expected something like 900M or 1.5G.")
    };
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return Err(bad()),
    };
    let thousandths = parse_thousandths(number).ok_or_else(bad)?;
    let bytes = u128::from(thousandths) * u128::from(factor) / 1000;
    u64::try_from(bytes).map_err(|_| bad())
}

/// Reads a number of CPUs such as `1.5` or `2`, as thousandths.
///
/// # Errors
/// In words.
pub fn parse_cpus(text: &str) -> Result<u32, String> {
    parse_thousandths(text)
        .and_then(|n| u32::try_from(n).ok())
        .ok_or_else(|| {
            let shown: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
            format!("{shown:?} is no number of CPUs. Expected something like 1.5.")
        })
}

/// A decimal number with at most three places, times 1000.
fn parse_thousandths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 3 {
        return None;
    }
    let part: u64 = format!("{part:0<3}").parse().ok()?;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(1000)?
        .checked_add(part)
}

/// `900M`, `1.5G`, `64K`: the shortest form that [`parse_bytes`] reads as the same, or nearly the same, amount.
pub fn spell_bytes(bytes: u64) -> String {
    for (unit, factor) in [
        ("T", 1u64 << 40),
        ("G", 1 << 30),
        ("M", 1 << 20),
        ("K", 1 << 10),
    ] {
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
        if bytes >= factor {
            let tenths = (u128::from(bytes) * 10 + u128::from(factor) / 2) / u128::from(factor);
            if tenths.is_multiple_of(10) {
                return format!("{}{unit}", tenths / 10);
            }
            return format!("{}.{}{unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes}B")
}

/// `1.5`, `2`, `0.25`.
pub fn spell_cpus(thousandths: u32) -> String {
    let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_read_and_spelled() {
        for (text, bytes) in [
            ("900M", 900 * MIB),
            ("1.5g", 1536 * MIB),
            ("2GiB", 2048 * MIB),
            ("512MB", 512 * MIB),
            ("4096", 4096),
            ("0.5k", 512),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "M",
            "-1M",
            "1,5G",
            "1.5.5G",
            "9X",
            "1.2345G",
            "99999999999999999999",
            "18446744073709551615T",
        ] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
        let spelled = [900 * MIB, 1536 * MIB, 810 * MIB, 1 << 40, 0, 1023, 1025].map(spell_bytes);
        assert_eq!(spelled, ["900M", "1.5G", "810M", "1T", "0B", "1023B", "1K"]);
        assert_eq!(parse_cpus("1.5"), Ok(1500));
        assert!(parse_cpus("x").is_err());
        assert_eq!(
            [1500, 2000, 250, 10].map(spell_cpus),
            ["1.5", "2", "0.25", "0.01"]
        );
    }

    #[test]
    fn own_limits_go_over_the_size() {
        let mut l = TypeLimits {
            size: Some("Standard-2X".into()),
            ..TypeLimits::default()
        };
        let q = l.quota();
        assert_eq!(
            (q.memory_soft, q.memory),
            (Some(1024 * MIB), Some(2048 * MIB))
        );
        assert_eq!((q.cpu_weight, q.pids), (Some(200), Some(512)));
        l.set(&TypeLimits {
            memory: Some(900 * MIB),
            ..TypeLimits::default()
        });
        let q = l.quota();
        assert_eq!(
            (q.memory_soft, q.memory, q.pids),
            (Some(810 * MIB), Some(900 * MIB), Some(512))
        );
        // a new size forgets what was set for what it says itself
        l.set(&TypeLimits {
            size: Some("1x".into()),
            ..TypeLimits::default()
        });
        assert_eq!(l.quota().memory_soft, Some(512 * MIB));
        l.unset("size").unwrap();
        assert!(l.is_empty() && l.quota() == Quota::default());
        assert!(l.unset("colour").unwrap_err().contains("memory-soft"));
    }

    #[test]
    fn a_smaller_hard_limit_takes_the_soft_one_along() {
        let mut l = TypeLimits {
            memory: Some(900 * MIB),
            memory_soft: Some(800 * MIB),
            ..TypeLimits::default()
        };
        l.set(&TypeLimits {
            memory: Some(500 * MIB),
            ..TypeLimits::default()
        });
        assert_eq!(l.quota().memory_soft, Some(450 * MIB));
        l.check().unwrap();
    }

    #[test]
    fn what_is_out_of_range_is_refused_in_words() {
        let none = TypeLimits::default;
        for (bad, word) in [
            (
                TypeLimits {
                    memory: Some(MIB),
                    ..none()
                },
                "16M",
            ),
            (
                TypeLimits {
                    memory: Some(64 * MIB),
                    memory_soft: Some(65 * MIB),
                    ..none()
                },
                "(65M) is above",
            ),
            (
                TypeLimits {
                    cpu: Some(1),
                    ..none()
                },
                "0.01",
            ),
            (
                TypeLimits {
                    cpu_weight: Some(0),
                    ..none()
                },
                "10000",
            ),
            (
                TypeLimits {
                    pids: Some(1),
                    ..none()
                },
                "8 to",
            ),
            (
                TypeLimits {
                    files: Some(1),
                    ..none()
                },
                "64 to",
            ),
            (
                TypeLimits {
                    disk: Some(1),
                    ..none()
                },
                "1M",
            ),
            (
                TypeLimits {
                    size: Some("huge".into()),
                    ..none()
                },
                "standard-2x",
            ),
        ] {
            let e = bad.check().unwrap_err();
            assert!(e.contains(word), "{e}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = parse_bytes(&text);
            let _ = parse_cpus(&text);
        }

        #[test]
        fn whole_units_survive(n in 1u64..10_000) {
            let read = parse_bytes(&spell_bytes(n * MIB)).unwrap();
            if n < 1024 || n.is_multiple_of(1024) {
                prop_assert_eq!(read, n * MIB);
            } else {
                prop_assert!(read.abs_diff(n * MIB) <= 52 * MIB);
            }
        }
    }
}
