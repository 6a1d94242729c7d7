//! Who watches what: one-shot watches, as ZooKeeper has them. Pure.
//!
//! A server keeps two kinds. A *data* watch waits for the znode's data or for the znode itself to come or go; `exists`
//! on an absent znode leaves one too. A *child* watch waits for its children to come or go, or for itself to go. A
//! watch belongs to a connection, is there once however often it is set, and is gone when it fires.
//!
//! | event               | fires the path's                                                     |
//! |---------------------|----------------------------------------------------------------------|
//! | NodeCreated         | data watches                                                         |
//! | NodeDataChanged     | data watches                                                         |
//! | NodeDeleted         | data and child watches; a connection that has both is told once      |
//! | NodeChildrenChanged | child watches                                                        |

mod conns;
mod missed;
mod table;

pub use missed::{SetWatch, missed};
pub use table::{WatchCounts, WatchKind, Watches};
