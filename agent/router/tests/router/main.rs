//! The router against real sockets.

mod codes;
mod compress;
mod control;
mod drain;
mod figures;
mod forms;
mod h2c;
mod handover;
mod head;
mod hostile;
mod house;
mod limits;
mod proxy_protocol;
mod retry;
mod rig;
mod routes;
mod streams;
mod swap;
mod tls;
mod unix;
mod websockets;
