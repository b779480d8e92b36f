//! `app` as a program: what it prints, asks and leaves in git repositories; attached dynos with real processes and a real
//! terminal. The servers are small and of this folder; the whole of hokku is tested in the crate `hokku-tests`.

mod attach;
mod output;
mod repository;
mod server;
