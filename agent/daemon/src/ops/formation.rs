//! The formation: how many dynos of which type, and orders to replace them.

use super::{Actor, Ops, Result};
use hokku_model::{AppId, DynoName, ProcessType, api::FormationUpdate};

/// One process type of the formation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormationLine {
    /// The process type.
    pub kind: ProcessType,
    /// How many are wanted, 0 to 100.
    pub quantity: u32,
    /// The Procfile's command.
    pub command: String,
}

/// Which dynos are to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restart {
    /// All of the app's formation.
    All,
    /// Those of one process type.
    Type(ProcessType),
    /// One.
    Dyno(DynoName),
}

impl Ops {
    /// Every process type of the app's newest release (but `release`) with its wanted number.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn formation(&self, _app: AppId) -> Result<Vec<FormationLine>> {
        unimplemented!()
    }

    /// Changes wanted numbers, all or none; gives the lines that were named. Sizes are taken and have no meaning.
    ///
    /// # Errors
    /// `NotFound` (app, process type, with a suggestion); `Invalid` when a number is out of 0 to 100.
    pub async fn scale(
        &self,
        _actor: &Actor,
        _app: AppId,
        _updates: &[FormationUpdate],
    ) -> Result<Vec<FormationLine>> {
        unimplemented!()
    }

    /// Orders formation dynos to be replaced.
    ///
    /// # Errors
    /// `NotFound` (app, process type, dyno).
    pub async fn restart(&self, _actor: &Actor, _app: AppId, _which: Restart) -> Result<()> {
        unimplemented!()
    }
}
