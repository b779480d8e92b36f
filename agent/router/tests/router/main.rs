//! The router against real sockets.

mod codes;
mod compress;
mod control;
mod drain;
mod handover;
mod head;
mod retry;
mod rig;
mod streams;
mod swap;
mod websockets;
