//! Who watches what, as ZooKeeper has it. Pure.
//!
//! A *data* watch waits for the znode's data or for the znode itself to come or go; `exists` on an absent znode leaves
//! one too. A *child* watch waits for its children to come or go, or for itself to go. Both are gone when they fire.
//! `addWatch` sets watches that stay: a *persistent* one is told what either of the two would be, a *persistent
//! recursive* one what data watches on the znode and on everything below it would be. A watch belongs to a connection,
//! and is there once however often it is set.
//!
//! | event               | fires the path's                | and of the path and all above it |
//! |---------------------|---------------------------------|----------------------------------|
//! | NodeCreated         | data, persistent watches        | persistent recursive watches     |
//! | NodeDataChanged     | data, persistent watches        | persistent recursive watches     |
//! | NodeDeleted         | data, child, persistent watches | persistent recursive watches     |
//! | NodeChildrenChanged | child, persistent watches       |                                  |
//!
//! However many of its watches an event fires, a connection is told once.

mod conns;
mod missed;
mod table;

pub use missed::{SetWatch, missed};
pub use table::{WatchCounts, WatchKind, Watches};
