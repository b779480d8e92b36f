//! Random use cases against a simple model of what they mean.

use super::*;
use hokku_model::{
    api::{ConfigVars, FormationUpdate, Quantity},
    release::ReleaseStatus::{self, Failed, Pending, Succeeded},
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
enum Step {
    Push(u8, bool),
    Set(u8, u8),
    Unset(u8),
    Rollback(Option<u32>),
    Promote(u32),
    Abandon(u32),
    Scale(bool, u32),
    Sweep(u8),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4u8, any::<bool>()).prop_map(|(s, w)| Step::Push(s, w)),
        4 => (0..3u8, 0..3u8).prop_map(|(k, v)| Step::Set(k, v)),
        2 => (0..3u8).prop_map(Step::Unset),
        3 => proptest::option::of(0..12u32).prop_map(Step::Rollback),
        // Counted back from the newest release.
        5 => (0..3u32).prop_map(Step::Promote),
        4 => (0..3u32).prop_map(Step::Abandon),
        2 => (any::<bool>(), 0..4u32).prop_map(|(w, n)| Step::Scale(w, n)),
        2 => (0..4u8).prop_map(Step::Sweep),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Clone, Debug)]
struct Rel {
    slug: Option<(u8, bool)>,
    config: ConfigVars,
    status: ReleaseStatus,
}

#[derive(Debug, Default)]
struct Model {
    releases: Vec<Rel>,
    current: usize,
    candidate: Option<usize>,
    /// Changes since the current release; they survive a failure that may not be theirs.
    carry: BTreeMap<String, Option<String>>,
    formation: BTreeMap<String, u32>,
    swept: BTreeSet<u8>,
}

fn content(slug: u8) -> String {
    format!("slug {slug}")
}

fn types(worker: bool) -> &'static [&'static str] {
    if worker { &["web", "worker"] } else { &["web"] }
}

impl Model {
    fn head(&self) -> &Rel {
        &self.releases[self.candidate.unwrap_or(self.current) - 1]
    }

    fn add(&mut self, slug: Option<(u8, bool)>, config: ConfigVars) {
        let runs = slug.is_some();
        let status = if runs { Pending } else { Succeeded };
        self.releases.push(Rel {
            slug,
            config,
            status,
        });
        let version = self.releases.len();
        if let Some(old) = self.candidate.take() {
            self.releases[old - 1].status = Failed;
        }
        if runs {
            self.candidate = Some(version);
        } else {
            self.current = version;
            self.carry.clear();
        }
    }

    fn change(&mut self, key: &str, value: Option<String>) -> bool {
        let mut config = self.head().config.clone();
        let old = match &value {
            Some(v) => config.insert(key.into(), v.clone()),
            None => config.remove(key),
        };
        if old == value {
            return false;
        }
        self.carry.insert(key.into(), value);
        self.add(self.head().slug, config);
        true
    }

    fn eligible(&self, version: usize) -> bool {
        let served = |r: &Rel| {
            r.status == Succeeded && r.slug.is_some_and(|(s, _)| !self.swept.contains(&s))
        };
        version > 0 && self.releases.get(version - 1).is_some_and(served)
    }

    fn rollback(&mut self, to: Option<usize>) -> bool {
        let to = match to {
            None => (1..self.current).rev().find(|v| self.eligible(*v)),
            Some(v) if v == self.current && self.candidate.is_none() => None,
            Some(v) => Some(v).filter(|v| self.eligible(*v)),
        };
        let Some(to) = to else { return false };
        let Rel { slug, config, .. } = self.releases[to - 1].clone();
        self.add(slug, config);
        true
    }

    fn promote(&mut self, version: usize) -> bool {
        if version == self.current {
            return true;
        }
        if self.candidate != Some(version) {
            return false;
        }
        self.releases[version - 1].status = Succeeded;
        self.current = version;
        self.candidate = None;
        self.carry.clear();
        let slug = self.releases[version - 1].slug;
        let types = types(slug.unwrap().1);
        self.formation.retain(|k, _| types.contains(&k.as_str()));
        true
    }

    fn abandon(&mut self, version: usize) -> bool {
        if self.releases[version - 1].status == Failed {
            return true;
        }
        if self.candidate != Some(version) {
            return false;
        }
        self.candidate = None;
        self.releases[version - 1].status = Failed;
        let failed = self.releases[version - 1].clone();
        let current = self.releases[self.current - 1].clone();
        let mut config = current.config.clone();
        for (k, v) in std::mem::take(&mut self.carry) {
            let old = match &v {
                Some(v) => config.insert(k.clone(), v.clone()),
                None => config.remove(&k),
            };
            if old != v {
                self.carry.insert(k, v);
            }
        }
        let digest = |r: &Rel| r.slug.map(|(s, _)| s);
        let same = digest(&failed) == digest(&current) && failed.config == config;
        if config == current.config || same {
            self.carry.clear();
        } else {
            self.add(current.slug, config);
        }
        true
    }

    fn scale(&mut self, kind: &str, n: u32) -> bool {
        let has = |v: usize| {
            let slug = self.releases[v - 1].slug;
            slug.is_some_and(|(_, w)| types(w).contains(&kind))
        };
        let known = has(self.current) || self.candidate.is_some_and(has);
        if known {
            self.formation.insert(kind.into(), n);
        }
        known
    }

    fn kept(&self) -> BTreeSet<u8> {
        let of = |v: usize| self.releases[v - 1].slug.map(|(s, _)| s);
        let current = of(self.current);
        let before = (1..self.current)
            .rev()
            .filter(|v| self.releases[v - 1].status == Succeeded)
            .find_map(|v| of(v).filter(|s| Some(*s) != current));
        [current, self.candidate.and_then(of), before]
            .into_iter()
            .flatten()
            .collect()
    }
}

async fn run(steps: &[Step]) {
    let mut place = Place::new();
    let app = place.ops.create_app(&me(), Some("app1")).await.unwrap().id;
    let other = place.ops.running("app10", &["web", "worker"]).await;
    place.ops.set(other.id, "K0", "other").await;
    let other = place.ops.app(other.id).await.unwrap();
    let mut model = Model::default();
    model.add(None, ConfigVars::new());
    for step in steps {
        let ops = &place.ops;
        let back = |n: &u32| model.releases.len().saturating_sub(*n as usize).max(1);
        let (said, meant) = match step {
            Step::Push(s, w) => {
                ops.push(app, slug(&content(*s), types(*w))).await;
                let config = model.head().config.clone();
                model.add(Some((*s, *w)), config);
                model.swept.remove(s);
                model.formation.entry("web".into()).or_insert(1);
                (true, true)
            }
            Step::Set(k, v) => {
                let (k, v) = (format!("K{k}"), format!("{v}"));
                let patch = patch(&[(&k, Some(&v))]);
                let done = ops.patch_config(&me(), app, patch).await.unwrap();
                (done.1.is_some(), model.change(&k, Some(v)))
            }
            Step::Unset(k) => {
                let k = format!("K{k}");
                let patch = patch(&[(&k, None)]);
                let done = ops.patch_config(&me(), app, patch).await.unwrap();
                (done.1.is_some(), model.change(&k, None))
            }
            Step::Rollback(to) => {
                let spec = to.map(|v| format!("v{v}"));
                let done = ops.rollback(&me(), app, spec.as_deref()).await;
                (done.is_ok(), model.rollback(to.map(|v| v as usize)))
            }
            Step::Promote(n) => {
                let v = back(n);
                let done = ops.promote(app, v as u32).await;
                (done.is_ok(), model.promote(v))
            }
            Step::Abandon(n) => {
                let v = back(n);
                let done = ops.abandon(app, v as u32, "bad").await;
                (done.is_ok(), model.abandon(v))
            }
            Step::Scale(w, n) => {
                let kind = if *w { "worker" } else { "web" };
                let update = FormationUpdate {
                    quantity: Some(Quantity::Number(*n)),
                    size: None,
                    r#type: kind.into(),
                };
                let done = ops.scale(&me(), app, &[update]).await;
                (done.is_ok(), model.scale(kind, *n))
            }
            Step::Sweep(s) => {
                let done = ops.mark_swept(app, &slug(&content(*s), &[]).digest).await;
                let may = !model.kept().contains(s);
                if may {
                    model.swept.insert(*s);
                }
                (done.unwrap(), may)
            }
            Step::Reopen => {
                place = place.reopen();
                (true, true)
            }
        };
        assert_eq!(said, meant, "{step:?} {model:#?}");
        compare(&place.ops, app, &model).await;
        let now = place.ops.app(other.id).await.unwrap();
        assert_eq!(now, other, "the neighbour was touched");
    }
    let vars = place.ops.config_vars(other.id).await.unwrap();
    assert_eq!(vars["K0"], "other");
}

async fn compare(ops: &Ops, app: AppId, model: &Model) {
    let all = ops.releases(app).await.unwrap();
    assert_eq!(all.len(), model.releases.len());
    for (real, want) in all.iter().rev().zip(&model.releases) {
        assert_eq!(real.status, want.status, "v{}", real.version);
        let digest = want.slug.map(|(s, _)| slug(&content(s), &[]).digest);
        assert_eq!(real.slug.as_ref().map(|s| s.digest.clone()), digest);
    }
    // The newest two say as much as all: what is written is never changed, which the end of the run shows.
    for real in all.iter().take(2) {
        let env = ops.release_env(app, real.version).await.unwrap();
        assert_eq!(env, model.releases[real.version as usize - 1].config);
    }
    assert_eq!(ops.config_vars(app).await.unwrap(), model.head().config);
    let record = ops.app(app).await.unwrap();
    assert_eq!(record.current, Some(model.current as u32));
    assert_eq!(record.candidate, model.candidate.map(|c| c as u32));
    let formation: BTreeMap<String, u32> = record
        .formation
        .iter()
        .map(|(k, n)| (k.to_string(), *n))
        .collect();
    assert_eq!(formation, model.formation);
    let targets: Vec<usize> = ops
        .rollback_targets(app)
        .await
        .unwrap()
        .into_iter()
        .map(|v| v as usize)
        .collect();
    let want: Vec<usize> = (1..=model.releases.len())
        .filter(|v| model.eligible(*v))
        .collect();
    assert_eq!(targets, want);
    let kept = ops.kept_slugs().await.unwrap();
    let kept: BTreeSet<_> = kept
        .into_iter()
        .filter(|k| k.0 == app)
        .map(|k| k.1)
        .collect();
    let want = model
        .kept()
        .iter()
        .map(|s| slug(&content(*s), &[]).digest)
        .collect();
    assert_eq!(kept, want);
    let desired = ops.desired().await.unwrap();
    let wish = &desired.apps[&app];
    assert_eq!(wish.current.as_ref().map(|r| r.version), record.current);
    assert_eq!(wish.candidate.as_ref().map(|r| r.version), record.candidate);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn use_cases_do_what_the_model_says(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(&steps));
    }
}
