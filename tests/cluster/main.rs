//! Servers without edges, in one thread, under a scripted network, disk and clock.

mod chaos;
mod client;
mod clients;
mod coverage;
mod disk;
mod ensemble;
mod judge;
mod network;
mod scenario;
mod trace;
