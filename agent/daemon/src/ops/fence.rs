//! The fence of an app in the network.

use super::{Actor, Ops, OpsError, Result, app};
use hokku_model::{
    AppId,
    app::App,
    fence::{Fence, FencePatch},
};

impl Ops {
    /// Changes what is named.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn set_fence(&self, actor: &Actor, app: AppId, patch: FencePatch) -> Result<App> {
        let app = self
            .store()
            .write(|tx| {
                let mut app = app::load(tx, app)?;
                let old = app.body.fence;
                let new = Fence {
                    imds: patch.imds.unwrap_or(old.imds),
                    private: patch.private.unwrap_or(old.private),
                };
                if old != new {
                    app.body.fence = new;
                    app::save(tx, &mut app)?;
                }
                Ok::<_, OpsError>(app.body)
            })
            .await?;
        tracing::info!(app = %app.name, user = %actor.user, fence = ?app.fence, "isolation set");
        Ok(app)
    }
}
