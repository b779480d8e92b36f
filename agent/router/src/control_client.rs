//! The agent's end of the control socket: send orders, receive reports.
//!
//! The first report on each connection is `Hello`. A new connection takes the place of an older one.

use crate::lines::{LINE_MAX, read_line};
use anyhow::Context;
use hokku_model::route::{RouterOrder, RouterReport};
use std::path::Path;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// Sends orders to the router.
pub struct OrderSender {
    to: OwnedWriteHalf,
}

/// Receives the router's reports.
pub struct ReportReceiver {
    from: BufReader<OwnedReadHalf>,
    line: Vec<u8>,
}

/// Connects to the router's control socket.
///
/// # Errors
/// When no router listens at `path`.
pub async fn connect(path: &Path) -> anyhow::Result<(OrderSender, ReportReceiver)> {
    let stream = UnixStream::connect(path).await.with_context(|| {
        format!(
            "no router answers at {}: is `hokkud router` running?",
            path.display()
        )
    })?;
    let (from, to) = stream.into_split();
    Ok((
        OrderSender { to },
        ReportReceiver {
            from: BufReader::new(from),
            line: Vec::new(),
        },
    ))
}

impl OrderSender {
    /// Sends one order.
    ///
    /// # Errors
    /// When the router is gone; connect again then. After a cancelled send the connection must be given up.
    pub async fn send(&mut self, order: &RouterOrder) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(order)
            .context("an order for the router cannot be written as JSON")?;
        line.push(b'\n');
        self.to
            .write_all(&line)
            .await
            .context("the router closed its control socket")
    }
}

impl ReportReceiver {
    /// The next report; `None` when the router closed the connection. After a cancelled call the connection must be
    /// given up, unless it is called from one task in a loop of its own.
    ///
    /// # Errors
    /// When reading fails or a line is no report.
    pub async fn recv(&mut self) -> anyhow::Result<Option<RouterReport>> {
        if !read_line(&mut self.from, &mut self.line, LINE_MAX)
            .await
            .context("reading the router's reports")?
        {
            return Ok(None);
        }
        let report = serde_json::from_slice(&self.line)
            .context("the router sent a line that is no report")?;
        Ok(Some(report))
    }
}
