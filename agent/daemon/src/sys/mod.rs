//! The ground: what the machine offers, in words of this project.
//!
//! What it does: starts and finds shims (`shim`), tries which walls can be had here (`detect`), picks free ports
//! (`ports`), names processes beyond doubt (`process`), and writes files that are whole or absent (`disk`).
//! What it never does: decide; know about apps, releases or routes.
//! Who calls it: `supervisor`, `build`, `run`. Where its tests are: beside the code; `shim` and `detect` are tested
//! with real shims, also by `supervisor`.

pub mod detect;
pub mod disk;
pub mod ports;
pub mod process;
pub mod shim;

#[cfg(test)]
pub(crate) mod testing;
