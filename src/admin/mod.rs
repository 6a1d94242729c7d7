//! What operators ask a server: the four-letter words on the client port, as ZooKeeper answers them, and the counters
//! behind them.

mod lists;
mod machine;
mod metrics;
mod stats;
mod text;
mod words;

pub use lists::{ClientLine, ClientSession, Lists};
pub use machine::User;
pub use metrics::{Count, Metrics, Sum};
pub use stats::{Counted, Stats};
pub use words::{Mode, View, Word, answer};
