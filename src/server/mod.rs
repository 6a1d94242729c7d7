//! A running server: everything that touches sockets, threads and clocks. It decides nothing; what it is told to do is
//! decided by [`crate::replica`].
//!
//! | file | thread | what |
//! |---|---|---|
//! | `run` | main | start and end of everything |
//! | `core` | main | gives the replica its inputs, carries out its outputs |
//! | `client` | main, or threads of their own | client connections: reads are answered here |
//! | `client_ports` | main | the ports for clients |
//! | `peer` | main | connections between servers |
//! | `disk` | disk | the log: everything that gathered, one write, one sync |
//! | `disk_op` | disk | one operation of it |
//! | `snapshots` | snapshots | snapshot files, purging, segments for the log |
//! | `dynamic_file` | main | the servers in a file, after a reconfiguration |
//! | `hand_over` | main | a leader leaves the lead to another before it ends |
//! | `recover` | main | from the disk to the state |
//! | `audit` | audit | the audit log |
//! | `chance` | any | numbers that nobody can guess |

mod audit;
mod chance;
mod client;
mod client_ports;
mod clock;
mod core;
mod disk;
mod disk_op;
mod dynamic_file;
mod hand_over;
mod net;
pub mod peer;
mod progress;
mod quiet;
mod recover;
mod run;
mod snapshots;

pub use client::{AuthError, IDENTITIES_MAX, authenticated, is_for_leader};
pub use disk::EXIT_HALTED;
pub use disk_op::{Carried, DiskFault, carry_out};
pub use recover::{OnDamage, Recovered, StartFault, recover_from};
pub use run::{RunOptions, run};
