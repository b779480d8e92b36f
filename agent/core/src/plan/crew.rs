//! Who does what in one app: which dyno holds which slot, and which dynos get the requests. The steps of the plan
//! and the explanations read this one answer, so they can't disagree.

use super::restart;
use crate::{
    desired::{AppWish, ReleaseWish},
    limits,
    observed::{Dyno, DynoState, Observed, Slot},
};
use hokku_model::{AppId, DynoId, DynoName, Micros, ProcessType};
use std::collections::BTreeSet;

/// One app, seen by the plan.
pub(super) struct Crew<'a> {
    pub app: AppId,
    pub wish: &'a AppWish,
    /// Its dynos, sorted by release and name.
    pub dynos: Vec<&'a Dyno>,
    /// The slots of the current release.
    pub current: Vec<Place<'a>>,
    /// The slots of the candidate that decide on its promotion.
    pub gates: Vec<Place<'a>>,
    /// Dynos that get requests.
    pub targets: Vec<&'a Dyno>,
    /// The release that serves: current, or for a moment after a promotion still the one before.
    pub serving: Option<u32>,
    /// Dynos that hold a slot or serve; every other member of the formation has to go.
    keep: BTreeSet<DynoId>,
}

/// One wanted slot of a release.
pub(super) struct Place<'a> {
    pub name: DynoName,
    /// The restart order that dynos of this slot have to be newer than; 0 for none.
    pub order: Micros,
    /// The dyno that is as wanted, starting or up.
    pub fresh: Option<&'a Dyno>,
    /// An up web dyno from before the restart order, or one to be replaced: serves until the fresh one is up.
    pub stale: Option<&'a Dyno>,
    /// Does any dyno of this slot still exist, in whatever state?
    pub occupied: bool,
    /// Its past.
    pub slot: Option<&'a Slot>,
}

impl<'a> Place<'a> {
    /// The dyno at work in this slot.
    pub fn at_work(&self) -> Option<&'a Dyno> {
        self.fresh.filter(|d| d.serves()).or(self.stale)
    }

    /// Crashes that count for its back-off.
    pub fn crashes(&self) -> u32 {
        self.slot.map_or(0, |s| s.crashes_after(self.order))
    }
}

impl<'a> Crew<'a> {
    pub fn muster(
        app: AppId,
        wish: &'a AppWish,
        dynos: Vec<&'a Dyno>,
        observed: &'a Observed,
        now: Micros,
    ) -> Crew<'a> {
        let mut crew = Crew {
            app,
            wish,
            dynos,
            current: vec![],
            gates: vec![],
            targets: vec![],
            serving: wish.current.as_ref().map(|r| r.version),
            keep: BTreeSet::new(),
        };
        if let Some(release) = &wish.current {
            for kind in release.process_types.keys() {
                let order = |i| restart::order(&wish.restarts, kind, i, now);
                crew.current
                    .extend(crew.places(release, kind, observed, order));
            }
        }
        if let Some(release) = crew.candidate() {
            let web = ProcessType::web();
            let gated_by_web = wanted(wish, release, &web) > 0;
            for kind in release.process_types.keys() {
                if kind.is_web() == gated_by_web {
                    // A restart order does not reach a candidate: none of its dynos is started twice.
                    crew.gates
                        .extend(crew.places(release, kind, observed, |_| Micros(0)));
                }
            }
        }
        crew.choose_targets(observed);
        let held = crew.current.iter().chain(&crew.gates).flat_map(|p| {
            let stale = p.stale.filter(|_| !p.fresh.is_some_and(Dyno::serves));
            [p.fresh, stale].into_iter().flatten()
        });
        crew.keep = held
            .chain(crew.targets.iter().copied())
            .map(|d| d.record.id)
            .collect();
        // All are kept, and only some get requests. When the checks of all fail it is rather the checks, or something
        // that all need: then each goes on with what it can do.
        if crew.targets.iter().any(|d| d.healthy()) {
            crew.targets.retain(|d| d.healthy());
        }
        crew
    }

    /// The release being rolled out.
    pub fn candidate(&self) -> Option<&'a ReleaseWish> {
        let current = self.wish.current.as_ref().map(|r| r.version);
        let candidate = self.wish.candidate.as_ref();
        candidate.filter(|c| Some(c.version) != current)
    }

    fn places(
        &self,
        release: &'a ReleaseWish,
        kind: &ProcessType,
        observed: &'a Observed,
        order: impl Fn(u32) -> Micros,
    ) -> Vec<Place<'a>> {
        let place = |index| {
            let name = DynoName::new(kind.clone(), index);
            let (version, order) = (release.version, order(index));
            let mut place = Place {
                order,
                fresh: None,
                stale: None,
                occupied: false,
                slot: None,
                name,
            };
            if !observed.slots.is_empty() {
                let key = (self.app, version, place.name.clone());
                place.slot = observed.slots.get(&key);
            }
            for d in self.named(version, &place.name) {
                place.occupied = true;
                if !d.stays() {
                } else if d.record.started_at < order || d.replaced.is_some() {
                    if d.takes_requests() && d.serves() {
                        better(&mut place.stale, d);
                    }
                } else {
                    better(&mut place.fresh, d);
                }
            }
            place
        };
        (1..=wanted(self.wish, release, kind)).map(place).collect()
    }

    /// Formation dynos of one slot of one release.
    fn named<'s>(
        &'s self,
        version: u32,
        name: &'s DynoName,
    ) -> impl Iterator<Item = &'a Dyno> + 's {
        let key = (version, name);
        let from = self
            .dynos
            .partition_point(|d| (d.record.version, &d.record.name) < key);
        self.dynos[from..]
            .iter()
            .copied()
            .take_while(move |d| (d.record.version, &d.record.name) == key)
            .filter(|d| !d.record.oneoff)
    }

    /// Current's dynos serve. Only right after a promotion, as long as the router was never told of any of them, the
    /// release before goes on serving until every slot of current is up or crashed and at least one is up: an agent
    /// that was killed between the promotion and the next table must not empty the routes while it probes what it
    /// adopted, nor may a release that breaks in that moment.
    fn choose_targets(&mut self, observed: &'a Observed) {
        let web = || self.current.iter().filter(|p| p.name.kind.is_web());
        self.targets = web().filter_map(Place::at_work).collect();
        let known = |d: &&Dyno| observed.router.known.contains(&d.record.id);
        let handed_over = self.targets.iter().any(known);
        let settled = match self.targets[..] {
            [] => web().next().is_none(),
            _ => web().all(|p| p.at_work().is_some() || p.crashes() > 0),
        };
        if handed_over || settled {
            return;
        }
        let current = self.serving;
        let candidate = self.candidate().map(|c| c.version);
        let old = self.dynos.iter().copied().filter(|d| {
            let v = Some(d.record.version);
            v != current && v != candidate && d.takes_requests() && d.serves() && known(d)
        });
        // Sorted by release: the last is the newest, and only one release may be in the routes.
        let old: Vec<&Dyno> = old.collect();
        if let Some(version) = old.last().map(|d| d.record.version) {
            self.serving = Some(version);
            self.targets = old;
            self.targets.retain(|d| d.record.version == version);
        }
    }

    /// Why this dyno has to go; `None` when it may stay. Only for dynos that are starting or up.
    pub fn leaves(&self, d: &Dyno) -> Option<String> {
        let r = &d.record;
        if d.stop_asked {
            return Some(format!("{} was asked to stop", r.name));
        }
        if r.oneoff || self.keep.contains(&r.id) {
            return None;
        }
        if d.replaced.is_some() {
            let why = d
                .dying()
                .unwrap_or_else(|| "failed its liveness check".into());
            return Some(format!("{} {why}", r.name));
        }
        let current = self.wish.current.as_ref();
        let release = match (current, self.candidate()) {
            (Some(c), _) if c.version == r.version => c,
            (_, Some(c)) if c.version == r.version => c,
            (Some(c), _) => {
                return Some(format!(
                    "{} runs v{}, which is neither current (v{}) nor being rolled out",
                    r.name, r.version, c.version
                ));
            }
            (None, _) => {
                return Some(format!(
                    "{} runs v{}, which is not being rolled out any more",
                    r.name, r.version
                ));
            }
        };
        let n = wanted(self.wish, release, &r.name.kind);
        Some(if r.name.index > n {
            format!("{}={n} is wanted, {} is one too many", r.name.kind, r.name)
        } else if self.gates.iter().any(|p| p.name == r.name) {
            format!("another dyno holds {}", r.name)
        } else {
            format!("{} is to be restarted, or another dyno holds it", r.name)
        })
    }

    /// The slot of the current release with this name.
    pub fn place(&self, name: &DynoName) -> Option<&Place<'a>> {
        self.current.iter().find(|p| p.name == *name)
    }
}

/// Of two dynos for one slot, the one at work; of two alike, the one seen first.
fn better<'a>(held: &mut Option<&'a Dyno>, d: &'a Dyno) {
    let up = |d: &Dyno| matches!(d.state, DynoState::Up { .. });
    match held {
        Some(h) if up(h) || !up(d) => {}
        _ => *held = Some(d),
    }
}

/// How many dynos of this type the release is to have.
pub(super) fn wanted(wish: &AppWish, release: &ReleaseWish, kind: &ProcessType) -> u32 {
    if release.slug.is_none() || kind.is_release() || !release.process_types.contains_key(kind) {
        return 0;
    }
    let n = wish.formation.get(kind).copied().unwrap_or(0);
    n.min(limits::MOST_PER_TYPE)
}
