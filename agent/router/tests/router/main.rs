//! The router against real sockets.

mod codes;
mod compress;
mod control;
mod drain;
mod forms;
mod h2c;
mod head;
mod hostile;
mod limits;
mod retry;
mod rig;
mod streams;
mod swap;
mod websockets;
