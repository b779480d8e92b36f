//! Apps: create, find, rename, destroy.

use super::{Actor, Ops, Result};
use hokku_model::{AppId, app::App};

impl Ops {
    /// Makes an app with release v1 "Initial release"; makes up a name when none is given.
    ///
    /// # Errors
    /// `Invalid` when the name is bad or taken.
    pub async fn create_app(&self, _actor: &Actor, _name: Option<&str>) -> Result<App> {
        unimplemented!()
    }

    /// All apps, sorted by name.
    pub async fn apps(&self) -> Result<Vec<App>> {
        unimplemented!()
    }

    /// One app by its id.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn app(&self, _id: AppId) -> Result<App> {
        unimplemented!()
    }

    /// One app by its id as text, or by its name.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn find_app(&self, _id_or_name: &str) -> Result<App> {
        unimplemented!()
    }

    /// Gives an app another name; its id, user and files stay.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when the name is bad or taken.
    pub async fn rename_app(&self, _actor: &Actor, _app: AppId, _name: &str) -> Result<App> {
        unimplemented!()
    }

    /// Removes an app with its releases, builds and config vars; gives back what it was.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn destroy_app(&self, _actor: &Actor, _app: AppId) -> Result<App> {
        unimplemented!()
    }

    /// Maintenance page on or off.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn set_maintenance(&self, _actor: &Actor, _app: AppId, _on: bool) -> Result<App> {
        unimplemented!()
    }

    /// Chooses the buildpacks, in order; none: the next build detects and pins them.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when there are too many or one is too long.
    pub async fn set_buildpacks(
        &self,
        _actor: &Actor,
        _app: AppId,
        _buildpacks: Vec<String>,
    ) -> Result<App> {
        unimplemented!()
    }
}
