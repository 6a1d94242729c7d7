//! Zabra's servers under a simulated network, disk and clock: the real `Replica` and the real `storage`, in one thread,
//! with everything that happens drawn from a seed. `docs/simulator.md` says what is simulated and what is judged.

pub mod checkers;
pub mod client;
pub mod clients;
pub mod command;
pub mod configs;
pub mod counting;
pub mod coverage;
pub mod disk;
pub mod ensemble;
pub mod exhaustive;
pub mod failure;
pub mod faults;
pub mod history;
pub mod judge;
pub mod model;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod network;
pub mod notes;
pub mod op;
pub mod reconfigurations;
pub mod run;
pub mod runner;
pub mod shape;
pub mod shrink;
pub mod trace;
pub mod witness;
pub mod workload;
