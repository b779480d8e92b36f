//! The router against real sockets.

mod codes;
mod compress;
mod control;
mod drain;
mod figures;
mod handover;
mod head;
mod proxy_protocol;
mod retry;
mod rig;
mod routes;
mod streams;
mod swap;
mod tls;
mod websockets;
