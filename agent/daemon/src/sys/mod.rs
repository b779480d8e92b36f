//! (being laid)

pub mod shim;
