//! The numbers of the operations, and what they say of a request.

/// Request numbers with a meaning of their own (ZooKeeper's `ClientCnxn`).
pub mod xid {
    use crate::ids::Xid;
    /// A watch event.
    pub const NOTIFICATION: Xid = -1;
    /// A ping and its answer.
    pub const PING: Xid = -2;
    /// An `auth` packet and its answer.
    pub const AUTH: Xid = -4;
    /// `setWatches` after a reconnect, and its answer.
    pub const SET_WATCHES: Xid = -8;
}

wire_enum! {
    /// The operation codes of a ZooKeeper 3.9 client.
    pub enum OpCode, "operation code" {
        /// create
        Create = 1,
        /// delete
        Delete = 2,
        /// exists
        Exists = 3,
        /// getData
        GetData = 4,
        /// setData
        SetData = 5,
        /// getACL
        GetAcl = 6,
        /// setACL
        SetAcl = 7,
        /// getChildren
        GetChildren = 8,
        /// sync
        Sync = 9,
        /// ping
        Ping = 11,
        /// getChildren with the parent's Stat
        GetChildren2 = 12,
        /// check of a version
        Check = 13,
        /// multi
        Multi = 14,
        /// create that answers with a Stat
        Create2 = 15,
        /// reconfig
        Reconfig = 16,
        /// checkWatches
        CheckWatches = 17,
        /// removeWatches
        RemoveWatches = 18,
        /// create of a container
        CreateContainer = 19,
        /// delete of a container, internal to a server
        DeleteContainer = 20,
        /// create with a time to live
        CreateTtl = 21,
        /// several reads at once
        MultiRead = 22,
        /// auth
        Auth = 100,
        /// setWatches
        SetWatches = 101,
        /// sasl
        Sasl = 102,
        /// getEphemerals
        GetEphemerals = 103,
        /// getAllChildrenNumber
        GetAllChildrenNumber = 104,
        /// setWatches with persistent watches
        SetWatches2 = 105,
        /// addWatch
        AddWatch = 106,
        /// whoAmI
        WhoAmI = 107,
        /// ClickHouse Keeper: getChildren of one kind of children
        FilteredList = 500,
        /// ClickHouse Keeper: check that a znode is not there
        CheckNotExists = 501,
        /// ClickHouse Keeper: create that is content with a znode that is there
        CreateIfNotExists = 502,
        /// ClickHouse Keeper: delete of a znode with all below it
        RemoveRecursive = 503,
        /// ClickHouse Keeper: check of the whole Stat
        CheckStat = 504,
        /// internal to a server
        CreateSession = -10,
        /// closeSession
        CloseSession = -11,
    }
}

impl OpCode {
    /// True for what ClickHouse Keeper has beyond ZooKeeper, which is answered only where it is enabled.
    pub fn is_of_keeper(self) -> bool {
        use OpCode::*;
        matches!(self, FilteredList | CheckNotExists | CreateIfNotExists | RemoveRecursive | CheckStat)
    }
}

wire_enum! {
    /// What kind of watch `addWatch` sets (ZooKeeper's `AddWatchModes`).
    pub enum AddWatchMode, "mode of a watch" {
        /// on a znode and its children; stays
        Persistent = 0,
        /// on a znode and all below it; stays
        PersistentRecursive = 1,
    }
}

wire_enum! {
    /// Which watches `checkWatches` and `removeWatches` mean (ZooKeeper's `WatcherType`).
    pub enum WatcherType, "type of a watch" {
        /// one-shot, on the children
        Children = 1,
        /// one-shot, on the data or for the znode to appear
        Data = 2,
        /// whatever there is on the path
        Any = 3,
        /// of `addWatch`
        Persistent = 4,
        /// of `addWatch`
        PersistentRecursive = 5,
    }
}

wire_enum! {
    /// What kind of znode `create` makes (ZooKeeper's flags 0 to 6).
    pub enum CreateMode, "create mode" {
        /// stays until deleted
        Persistent = 0,
        /// goes with its session
        Ephemeral = 1,
        /// stays, with a number in its name
        PersistentSequential = 2,
        /// goes with its session, with a number in its name
        EphemeralSequential = 3,
        /// goes some time after its last child
        Container = 4,
        /// goes when unchanged for its time to live
        PersistentWithTtl = 5,
        /// the same with a number in its name
        PersistentSequentialWithTtl = 6,
    }
}

impl CreateMode {
    /// True if the znode goes with the session that creates it.
    pub fn is_ephemeral(self) -> bool {
        matches!(self, CreateMode::Ephemeral | CreateMode::EphemeralSequential)
    }

    /// True if the server appends a number to the name.
    pub fn is_sequential(self) -> bool {
        use CreateMode::*;
        matches!(self, PersistentSequential | EphemeralSequential | PersistentSequentialWithTtl)
    }

    /// True if the znode goes when it is unchanged for some time.
    pub fn has_ttl(self) -> bool {
        use CreateMode::*;
        matches!(self, PersistentWithTtl | PersistentSequentialWithTtl)
    }
}
