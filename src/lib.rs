//! Zabra: a replicated coordination server for ZooKeeper clients.
//!
//! The path of a write, room by room: `server` takes bytes from a socket, `jute` makes a request of them, `replica`
//! hands it to the leader, whose `prep` judges it by the `tree` and makes a `txn` of it; `zab` orders it, `storage` has
//! it on a quorum of disks; `replica` applies it to the `tree` on every server, asks `watch` who must be told, and
//! answers the client, whose session `session` keeps. A read is answered on its connection, from the tree.
//!
//! `docs/ARCHITECTURE.md` has the map.

pub mod admin;
pub mod cli;
pub mod client;
pub mod config;
pub mod ids;
pub mod jute;
pub mod membership;
pub mod mutants;
pub mod prep;
pub mod replica;
pub mod sasl;
pub mod server;
pub mod session;
pub mod storage;
pub mod tls;
pub mod tree;
pub mod txn;
pub mod watch;
pub mod zab;
