//! (being laid)

/// The handle.
#[derive(Clone, Debug)]
pub struct Supervisor;
impl Supervisor {
    /// Attaches.
    ///
    /// # Errors
    /// It is gone.
    pub async fn attach(
        &self,
        _dyno: hokku_model::DynoId,
    ) -> anyhow::Result<crate::sys::shim::ShimConn> {
        anyhow::bail!("being laid")
    }
}
