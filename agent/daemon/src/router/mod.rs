//! The agent's end of the wire to the router, which is a process of its own.
//!
//! What it does: keeps a connection to the router's socket, starts a router where none answers, has one of another
//! version hand over to one of its own (`upgrade`), passes orders and reports on. What it never does: decide about routes; stop the router (it lives on when the agent ends).
//! Who calls it: `control` through [`Link`]; `run` starts it. Where its tests are: end to end in `tests/`.

mod process;
mod upgrade;

pub use process::{heir, inherited};

use hokku_model::route::{RouteTable, RouterOrder, RouterReport};
use hokku_router::control_client::{self, OrderSender, ReportReceiver};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::mpsc;

use crate::config::Config;

/// What comes from the wire.
#[derive(Debug)]
pub enum LinkEvent {
    /// A router said hello; orders sent before are void.
    Came {
        /// The version it serves from; 0 for none.
        version: u64,
    },
    /// The connection ended.
    Went,
    /// It reported.
    Report(RouterReport),
}

/// Sends orders; cheap to clone. An order is lost when no router is connected: the plan asks again after `Came`.
#[derive(Clone, Debug)]
pub struct Link {
    orders: mpsc::Sender<RouterOrder>,
}

impl Link {
    /// Starts to connect, and to watch over the router's process where the settings say so.
    pub fn start(config: Arc<Config>) -> (Link, mpsc::Receiver<LinkEvent>) {
        let (orders, orders_rx) = mpsc::channel(256);
        let (events, events_rx) = mpsc::channel(256);
        tokio::spawn(keep(config, orders_rx, events));
        (Link { orders }, events_rx)
    }

    /// Sends an order, or drops it when the wire is down or choked.
    pub fn order(&self, order: RouterOrder) {
        if self.orders.try_send(order).is_err() {
            tracing::warn!("an order to the router was dropped: too many are waiting");
        }
    }
}

/// The folder the router lives in: socket, snapshot, request logs. Its own user owns it.
pub fn dir(config: &Config) -> PathBuf {
    config.data_dir.join("router")
}

/// The dynos in the table that the router serves from, as far as its snapshot tells.
pub fn snapshot(config: &Config) -> RouteTable {
    std::fs::read(dir(config).join("routes.json"))
        .ok()
        .and_then(|b| serde_json::from_slice(&b).ok())
        .unwrap_or_default()
}

async fn keep(
    config: Arc<Config>,
    mut orders: mpsc::Receiver<RouterOrder>,
    events: mpsc::Sender<LinkEvent>,
) {
    let socket = dir(&config).join("router.sock");
    let mut failures = 0;
    let mut upgrade = upgrade::Upgrade::default();
    loop {
        match control_client::connect(&socket).await {
            Ok(wire) => {
                failures = 0;
                while orders.try_recv().is_ok() {}
                if let Err(e) = talk(&config, wire, &mut upgrade, &mut orders, &events).await {
                    match upgrade.is_under_way() {
                        true => tracing::debug!("the old router closed its wire: {e:#}"),
                        false => tracing::warn!("the connection to the router ended: {e:#}"),
                    }
                }
                if events.send(LinkEvent::Went).await.is_err() {
                    return;
                }
            }
            Err(_) if config.spawn_router => {
                if let Err(e) = process::spawn(&config, false).await {
                    tracing::error!("the router could not be started: {e:#}");
                    failures += 1;
                }
            }
            Err(e) => {
                if failures == 0 {
                    tracing::warn!("{e:#}; trying again");
                }
                failures += 1;
            }
        }
        if events.is_closed() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20 * 2u64.pow(failures.min(6)))).await;
    }
}

async fn talk(
    config: &Arc<Config>,
    (mut to, mut from): (OrderSender, ReportReceiver),
    upgrade: &mut upgrade::Upgrade,
    orders: &mut mpsc::Receiver<RouterOrder>,
    events: &mpsc::Sender<LinkEvent>,
) -> anyhow::Result<()> {
    // In a task of its own: a report that is half read must not be lost to an order that goes first.
    let (reports_tx, mut reports) = mpsc::channel(256);
    let reader = tokio::spawn(async move {
        while let Some(report) = from.recv().await? {
            if reports_tx.send(report).await.is_err() {
                break;
            }
        }
        Ok::<_, anyhow::Error>(())
    });
    loop {
        tokio::select! {
            report = reports.recv() => match report {
                Some(RouterReport::Hello { version, listen, pid }) => {
                    tracing::info!(pid, ?listen, version, "the router is connected");
                    process::announce(config, &listen);
                    upgrade.look(config, pid);
                    events.send(LinkEvent::Came { version }).await?;
                }
                Some(report) => events.send(LinkEvent::Report(report)).await?,
                None => break reader.await?,
            },
            order = orders.recv() => match order {
                Some(order) => to.send(&order).await?,
                None => break Ok(()),
            },
        }
    }
}
