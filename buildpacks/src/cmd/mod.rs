//! The executable's part: runs programs, fetches runtimes, fills folders, prints.

pub mod compile;
pub mod context;
pub mod drive;
pub mod fetch;
pub mod golang;
pub mod java;
pub mod kind;
pub mod layer;
pub mod node;
pub mod out;
pub mod php;
pub mod python;
pub mod ruby;
pub mod rust;
pub mod serve;
pub mod site;
pub mod spawn;
pub mod tool;
pub mod upstream;
