//! Autoscaling of one process type, as its owner asked for it: `app autoscale web --min 2 --max 8 --target queue=50ms`.

use serde::{Deserialize, Serialize};

/// The wish for one process type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Autoscale {
    /// Never fewer dynos than this.
    pub min: u32,
    /// Never more.
    pub max: u32,
    /// What is to be kept below which value. Several: the one that asks for most dynos counts.
    pub targets: Targets,
}

/// What the owner of an app said of one process type: the wish, by time of the week, and where jobs are counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Holds whenever no entry of the schedule does.
    pub wish: Autoscale,
    /// Who counts the jobs that wait, for [`Targets::depth`].
    #[serde(default)]
    pub depth_from: Option<DepthFrom>,
    /// Other bounds from given times of the week on, each until the next one.
    #[serde(default)]
    pub schedule: Vec<At>,
    /// The time zone of the schedule, by its IANA name; none: UTC.
    #[serde(default)]
    pub zone: Option<String>,
}

impl Plan {
    /// The wish at a minute of the week, from Monday 0:00 (0) to Sunday 23:59 (10079).
    pub fn at(&self, minute: u16) -> Autoscale {
        let mut wish = self.wish.clone();
        if let Some(entry) = self.entry_at(minute) {
            wish.min = entry.min;
            wish.max = entry.max.unwrap_or(wish.max).max(wish.min);
        }
        wish
    }

    /// The entry that began last, seen from a minute of the week.
    pub fn entry_at(&self, minute: u16) -> Option<&At> {
        let since = |at: &At| {
            let begins = (0..7)
                .filter(|d| at.days.has(*d))
                .map(|d| u16::from(d) * DAY + at.minute);
            begins.map(|b| (minute + WEEK - b) % WEEK).min()
        };
        self.schedule
            .iter()
            .filter_map(|a| Some((since(a)?, a)))
            .min_by_key(|(ago, _)| *ago)
            .map(|(_, a)| a)
    }
}

const DAY: u16 = 24 * 60;
const WEEK: u16 = 7 * DAY;

/// Who counts the jobs that wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DepthFrom {
    /// A command that is run in a one-off dyno and prints a number last.
    Command(String),
    /// A path of the app that answers with a number, asked of its web dynos.
    Path(String),
}

/// Bounds from a time of the week on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// On which days.
    pub days: Days,
    /// Minute of the day, 0 to 1439.
    pub minute: u16,
    /// In place of [`Autoscale::min`].
    pub min: u32,
    /// In place of [`Autoscale::max`], when given.
    #[serde(default)]
    pub max: Option<u32>,
}

/// Days of the week: bit 0 is Monday.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Days(pub u8);

impl Days {
    /// Every day.
    pub const ALL: Days = Days(0b111_1111);

    /// Is it this day, 0 for Monday to 6 for Sunday?
    pub fn has(self, day: u8) -> bool {
        day < 7 && self.0 & (1 << day) != 0
    }
}

/// Values to stay below; `None`: the signal is not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Targets {
    /// Milliseconds that 95 of 100 requests wait in the router at most.
    pub queue_ms: Option<u32>,
    /// Percent of a dyno's CPU, mean over the dynos.
    pub cpu: Option<u32>,
    /// Percent of a dyno's memory, mean over the dynos.
    pub memory: Option<u32>,
    /// Requests in flight per dyno.
    pub inflight: Option<u32>,
    /// Jobs in the queue per worker dyno, as the app's own command or endpoint counts them.
    pub depth: Option<u32>,
}

impl Targets {
    /// Is nothing aimed at?
    pub fn is_empty(&self) -> bool {
        *self == Targets::default()
    }
}
