//! What operators ask a server: the four-letter words on the client port, as ZooKeeper answers them, and the counters
//! behind them.

mod stats;
mod words;

pub use stats::{ClientLine, Counted, Stats};
pub use words::{Mode, View, Word, answer};
