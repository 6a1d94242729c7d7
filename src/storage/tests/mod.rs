//! Storage as a whole, on a disk that fails and a machine that loses power.

mod crash;
mod damage;
mod failure;
mod harness;
mod model;
mod salvage;
