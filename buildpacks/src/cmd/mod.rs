//! The executable's part: runs programs, fetches runtimes, fills folders, prints.

pub mod compile;
pub mod context;
pub mod drive;
pub mod fetch;
pub mod layer;
pub mod node;
pub mod out;
pub mod python;
pub mod serve;
pub mod site;
pub mod spawn;
