//! Bugs that other systems had, to be put back one at a time: proof that the simulator would find them. Without the
//! feature `mutants` nothing of them is compiled, and neither a release build nor the server can be built with it.
//! `docs/simulator.md` has the table of who found which.

#[cfg(all(feature = "mutants", not(debug_assertions)))]
compile_error!("the feature `mutants` puts bugs into the code: it is for the simulator, never for a release");

/// A bug that can be put back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    /// which
    pub mutant: Mutant,
    /// where it was seen, or which rule it breaks
    pub origin: &'static str,
    /// what is wrong with it
    pub what: &'static str,
}

macro_rules! mutants {
    ($($name:ident, $origin:literal, $what:literal;)*) => {
        /// What is done wrong; see [`KNOWN`] for where it comes from.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Mutant {
            $(#[doc = $what] $name,)*
        }

        /// All of them.
        pub const KNOWN: &[Known] = &[$(Known { mutant: Mutant::$name, origin: $origin, what: $what },)*];
    };
}

mutants! {
    // Synchronization.
    AckNewLeaderBeforeHistory, "ZOOKEEPER-3911, 4646", "NEWLEADER is acknowledged before the history is on disk";
    EpochBeforeHistory, "ZOOKEEPER-4643, 4785", "the new epoch is held before the history is on disk";
    DiffByRange, "ZOOKEEPER-1154", "a history that ends within the leader's range of zxids gets a DIFF";
    DiffWithoutTrunc, "ZOOKEEPER-2845", "what a learner has too much is not cut before a DIFF";
    TruncInMemoryOnly, "ZOOKEEPER-5094", "a TRUNC changes what the server tells, not its log";
    HoleInRecent, "ZOOKEEPER-4925", "a transaction goes missing among the recent ones that DIFFs are made of";
    DiffFromUncovered, "ZOOKEEPER-2418, 4352", "a DIFF begins before the oldest recent transaction";
    SnapshotUnsynced, "ZOOKEEPER-2872", "a received snapshot is not synced before the log behind it begins";
    SnapshotZxidEarly, "ZOOKEEPER-3104", "a snapshot is told to be of the transaction before its last";
    ProposeToAckedOnly, "ZAB, ambiguity 1", "proposals go only to followers that acknowledged NEWLEADER";
    ProposeTwice, "ZAB, ambiguity 2", "what came before the ACK of NEWLEADER comes again behind it, and is taken";
    UpToDateOfAck, "ZAB, ambiguity 3", "UPTODATE carries the zxid of the ACK, not the newest committed one";
    // Election and discovery.
    VoteBeforeDrained, "ZOOKEEPER-4712, 4541", "a server votes while its disk still works for its older role";
    PromiseBeforeDurable, "ZOOKEEPER-1282", "an epoch is promised before the promise is on disk";
    ProposeEpochBeforeDurable, "ZOOKEEPER-1291, 1343", "an epoch is proposed before it is on the leader's disk";
    LeadWithLess, "rule 7", "a candidate leads though a voter has more";
    EmptyDiskVotes, "ZOOKEEPER-2325, rule 4", "a server that lost its disk votes at once";
    DistrustedVotes, "rule 4", "a server becomes a voter before a leader synchronized it";
    CountUnsynchronized, "rule 11", "acknowledgements count before the one of NEWLEADER";
    NeverStepDown, "rule 16", "a leader without a quorum stays leader";
    // Reconfiguration.
    NewQuorumAlone, "rule 21", "with a configuration proposed, its own quorum is enough";
    OldQuorumAlone, "rule 21", "a configuration is decided by a quorum of the one before alone";
    SecondInFlight, "rule 22", "a configuration is proposed while another is not decided";
    CutConfigStays, "rule 21", "a configuration that is cut off the log still counts";
    BaseAtAppend, "rule 21", "a configuration is in force as soon as it is in the log";
    UnsecuredAnswer, "rule 22", "a reconfiguration is answered as soon as it is decided";
    UnknowingCounts, "rule 22", "who wrote before it was told what is decided counts among those who know it";
    JoinerBeginsAnew, "rule 4", "an empty disk is a new one though the others do not take its server for a voter";
    // Broadcast.
    AckBeforeSync, "CH#102629", "a proposal is acknowledged before it is synced";
    CommitOneShort, "rule 15", "one acknowledgement less than a quorum commits";
    CommitToldTooEarly, "rule 15", "a follower is told of a commit that still lacks other disks than its own";
    ApplyBeforeOwnDisk, "ZOOKEEPER-4882, rule 13", "what is committed is applied before the own disk has it";
    ApplyWholeLog, "ZOOKEEPER-2832, 1549", "a start applies the whole log, committed or not";
    EpochRollsOver, "ZOOKEEPER-1277", "behind the last zxid of an epoch comes the first of the next, without election";
    SyncWithoutQuorum, "ZOOKEEPER-1675", "sync does not ask whether the leader still has a quorum";
    // Observers fed by followers.
    FedTakesGap, "rule 24", "the leader goes on behind what an observer has, and the observer takes it";
    FedKnowsAll, "rule 24", "what a follower sends an observer takes for decided";
    // Disk.
    FsyncRetried, "fsync of Linux", "a failed fsync is tried again, and believed";
    TailTrusted, "fsync of Linux", "what a failed fsync left in memory is trusted by the next process";
    FolderUnsynced, "ZOOKEEPER-4269", "the folder is not synced behind a new log segment";
    EpochFileUnsynced, "ZOOKEEPER-4269", "the folder is not synced behind a new epoch file";
    EpochFileInPlace, "ZOOKEEPER-1653, 2307", "the epoch file is overwritten in place";
    DamageTakenForEnd, "ZOOKEEPER-1520", "a damaged record is taken for the end of the log";
    LogEndIgnored, "rule 10", "a log that ends before the end that the epoch file notes is started from";
    LogEndKept, "rule 10", "a TRUNC cuts the log without lowering first what the epoch file notes of its end";
    PurgeTooMuch, "ZOOKEEPER-3231", "log that the oldest snapshot kept needs is removed";
    CutOldestFirst, "ZOOKEEPER-1489", "a TRUNC shortens a segment before the later ones are gone";
    // Sessions and requests.
    EphemeralLeft, "ZOOKEEPER-2355, 3145, 5010", "one ephemeral outlives its session";
    CreateAfterClose, "ZOOKEEPER-1208, 1496", "a closed session may still create, until its end is applied";
    NoFullTimeout, "ZOOKEEPER-2774, 366", "a new leader gives sessions no full timeout";
    TouchesForgotten, "ZOOKEEPER-1049", "a follower does not tell which sessions it heard of";
    OldConnectionTaken, "ZOOKEEPER-710, 907", "requests of a connection that was left are carried out";
    RequestTwice, "exactly once", "a request that stands in the log is sent to the new leader again";
    AnswerTooEarly, "ZOOKEEPER-1863, 4537", "an answer does not wait for what it rests on";
    // What a request becomes.
    NotRolledBack, "ZOOKEEPER-1624, 4219", "what a failed multi would have changed is remembered";
    PendingForgotten, "CH#48595", "a request is judged without what is proposed and not applied yet";
    MultiInParts, "ZOOKEEPER-3127", "a multi that fails carries out what comes before";
    SequenceByCount, "ZOOKEEPER-1046", "sequential names count the children that are there";
    // Sessions that one server knows.
    UpgradeWithoutSession, "ZOOKEEPER-2355", "the ephemeral of an upgrade is judged as if the session were global already";
    UpgradedGoesOn, "local sessions", "a session that wanted to be global goes on as a local one";
    LocalTakenElsewhere, "local sessions", "a local session that comes to another server goes on there";
    LocalBehindItsEnd, "local sessions", "what comes behind the end of a local session is taken";
    // Quotas.
    QuotaWithoutPending, "quotas", "a quota is judged without what is proposed and not applied yet";
    QuotaOfOldState, "quotas", "the limits of quotas stay when a snapshot replaces the state";
    FiguresMiss, "quotas", "the bytes of a loaded snapshot are not counted for quotas";
    // What ClickHouse asks for.
    RemoveLeavesEphemeral, "removeRecursive", "an ephemeral that goes with its parent stays with its session";
    RemoveBeyondLimit, "removeRecursive", "the number of znodes that it may delete is not looked at";
    RemoveForgetsPending, "removeRecursive", "what is below and not applied yet is not deleted";
    StatByVersion, "checkStat", "of a Stat only the version counts";
    // Znodes that the leader ends.
    SearchIgnoresPending, "ZOOKEEPER-2163", "a container is ended although a child of it is proposed";
    EndNotRemembered, "CH#48595", "what the leader ends is there for requests until it is applied";
    UnusedEndsAtOnce, "ZOOKEEPER-3546", "a container does not wait for its first child";
    UnusedStays, "ZOOKEEPER-3546", "a container that never had a child stays for ever";
    TtlSinceCreation, "ZOOKEEPER-2169", "a time to live counts from the creation, whoever sets the data";
    EndsTooFast, "containers", "the leader ends at once all that it finds, however much that is";
    EndByOwnClock, "containers", "a follower leaves what is not due yet by its own clock";
    LimitedForgotten, "containers", "what was loaded from a snapshot is not looked at for its end";
    CountDrifts, "getAllChildrenNumber", "a deletion is counted at the parent, and not above it";
    // Watches.
    EventBehindReply, "watches", "an event is told behind the reply that shows the change";
    WatchFiresTwice, "watches", "a watch stays when it fires";
    WatchNotResumed, "ZOOKEEPER-1412", "watches set again do not look at what was missed";
    WatchResumedAndTold, "watches", "a watch set again is there although what it missed is told";
    StayingNotResumed, "ZOOKEEPER-1416", "watches that stay are not set again";
    PersistentGone, "ZOOKEEPER-1416", "a persistent watch is gone when it fires";
    RecursiveOneLevel, "ZOOKEEPER-1416", "a recursive watch is told of the children, and of nothing below them";
    RecursiveNotSelf, "ZOOKEEPER-1416", "a recursive watch is not told of the znode that it is on";
    RecursiveToldOfChildren, "ZOOKEEPER-4475", "a recursive watch is told that children changed";
    ToldPerWatch, "watches", "a connection is told of a change once for each of its watches";
    OneModePerPath, "ZOOKEEPER-4466", "a watch that stays takes the place of the other kind on the path";
    RemovesOtherKinds, "ZOOKEEPER-1910, 4472", "to remove watches of one kind removes all on the path";
    RemovesOfOthers, "ZOOKEEPER-1910", "to remove a watch removes those of other sessions on the path";
}

impl Known {
    /// The one of this name.
    pub fn named(name: &str) -> Option<Known> {
        KNOWN.iter().copied().find(|known| known.name() == name)
    }

    /// Its name on the command line.
    pub fn name(&self) -> String {
        format!("{:?}", self.mutant)
    }
}

#[cfg(feature = "mutants")]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// From now on this thread has the bug, or none.
#[cfg(feature = "mutants")]
pub fn activate(mutant: Option<Mutant>) {
    ACTIVE.set(mutant);
}

/// True if this thread has the bug.
#[cfg(feature = "mutants")]
pub fn has(mutant: Mutant) -> bool {
    ACTIVE.get() == Some(mutant)
}

/// Never true: production code has none of them.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn has(_: Mutant) -> bool {
    false
}
