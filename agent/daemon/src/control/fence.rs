//! From apps and their dynos to what the fence in the network is to hold.

use super::Control;
use crate::sys::fence::Wanted;
use hokku_model::{AppId, app::App, fence::Fence};
use std::collections::BTreeMap;

/// What the loop knows of each app for its fence.
pub(super) type Fences = BTreeMap<AppId, (u32, Fence)>;

/// Of all apps.
pub(super) fn of(apps: &[App]) -> Fences {
    apps.iter().map(|a| (a.id, (a.uid, a.fence))).collect()
}

/// The table for these apps and the ports of their dynos, those that stop included: they still listen.
pub(super) fn wanted(
    first_uid: u32,
    apps: &Fences,
    ports: impl Iterator<Item = (AppId, u16)>,
) -> Wanted {
    let private = ports.filter_map(|(app, port)| {
        let (uid, fence) = apps.get(&app)?;
        fence.private.then_some((port, *uid))
    });
    Wanted {
        first_uid,
        private: private.collect(),
        apps: apps.values().map(|(uid, _)| *uid).collect(),
        imds: apps
            .values()
            .filter(|(_, f)| f.imds)
            .map(|(uid, _)| *uid)
            .collect(),
    }
}

impl Control {
    /// Reads the fences anew. A store that can't be read changes nothing.
    pub(super) async fn read_fences(&mut self) {
        if self.hands.fence.missing().is_some() {
            return;
        }
        match self.hands.ops.apps().await {
            Ok(apps) => self.fences = of(&apps),
            Err(e) => tracing::error!("the store can't be read, the fence stays: {e}"),
        }
    }

    /// Says what is wanted now; the fence itself knows when that is nothing new.
    pub(super) fn fence(&self) {
        if self.hands.fence.missing().is_some() {
            return;
        }
        let dynos = self.observed.dynos.values();
        let ports = dynos.filter_map(|d| Some((d.record.app, d.record.port?)));
        let first = self.hands.config.first_uid;
        self.hands.fence.want(wanted(first, &self.fences, ports));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_private_apps_only_and_users_of_all() {
        let (open, private, free) = (AppId(1), AppId(2), AppId(3));
        let fence = |imds, private| Fence { imds, private };
        let apps = [
            (open, (10, fence(false, false))),
            (private, (11, fence(false, true))),
            (free, (12, fence(true, false))),
        ];
        let ports = [
            (open, 5000),
            (private, 5001),
            (private, 5002),
            (AppId(9), 5003),
        ];
        let w = wanted(10, &apps.into(), ports.into_iter());
        assert_eq!(w.private, [(5001, 11), (5002, 11)].into());
        assert_eq!(w.apps, [10, 11, 12].into());
        assert_eq!(w.imds, [12].into());
    }
}
