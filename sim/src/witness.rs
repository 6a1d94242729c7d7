//! What clients see, and what it is judged by: a model that does every decided transaction, as it was asked for.

use std::borrow::Cow;
use std::collections::BTreeSet;

use zabra::ids::{ServerId, SessionId, Xid, Zxid};
use zabra::jute::{ErrorCode, EventKind, Response, Stat, WatchEvent};
use zabra::tree::Tree;
use zabra::txn::{Txn, txn::Body};
use zabra::zab::Member;

use super::checkers::ephemerals::{self, Ephemerals};
use super::checkers::generations::{self, Generations};
use super::checkers::limited::{self, Gone, Limited};
use super::checkers::local::{self, Locals, Over};
use super::checkers::watches::{self, Watching};
use super::checkers::{client_history, client_order, linearizability, lock, real_time};
use super::checkers::{configurations, require, unless};
use super::client::{Client, Waiting};
use super::configs::{Change, Configs, Members, text_of};
use super::counting::{count_answer, count_beyond, count_read};
use super::coverage::Coverage;
use super::history::{History, Outcome, Seen};
use super::model::{Author, Effects, Model, Standing, is_refused};
use super::op::{Op, Read};
use super::workload::SHARED;

/// What a server tells a client that connects of its session.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub session: SessionId,
    pub server: ServerId,
    /// it was of some state behind this one, or of this one
    pub since: Zxid,
    /// and is of this one now
    pub at: Zxid,
    /// ms
    pub now: u64,
    pub timeout_ms: u64,
}

#[derive(Default)]
pub struct Witness {
    pub history: History,
    pub model: Model,
    pub limited: Limited,
    pub locals: Locals,
    /// local sessions that became those of the ensemble, each with the request for which it did
    upgraded: Vec<(SessionId, Xid)>,
    ephemerals: Ephemerals,
    generations: Generations,
    /// who wrote under the lock last
    holder: Option<SessionId>,
}

impl Witness {
    /// A transaction is seen for the first time.
    pub fn decided(&mut self, zxid: Zxid, txn: &Txn, configs: &Configs, coverage: &mut Coverage) {
        let session = SessionId(txn.session_id);
        // A session that is over has no generation, nor has who is refused to go on with one.
        if !(is_refusal(txn) && (txn.xid == 0 || !self.model.is_open(session, self.model.end()))) {
            require(generations::NAME, self.generations.says(session, txn.generation, zxid));
        }
        let is_asked = txn.request_id != 0 && txn.xid != 0;
        let response = is_asked.then(|| self.request_done(zxid, txn, configs, coverage));
        match &txn.body {
            Some(Body::CreateSession(_)) => {
                coverage.count("session opened");
                require(ephemerals::NAME, self.ephemerals.opened(session, zxid));
                if self.model.standing(session, zxid) == Standing::Local {
                    coverage.count("local session became one of the ensemble");
                    self.upgraded.push((session, txn.xid));
                }
                let by = self.history.request(session, txn.xid);
                require(local::NAME, self.locals.opened(session, zxid, by.as_deref()));
                self.model.open_session(zxid, session);
            }
            Some(Body::CloseSession(close)) => {
                coverage.count(if txn.request_id == 0 { "session expired" } else { "session closed" });
                if !close.paths.is_empty() {
                    coverage.count("ephemeral removed with its session");
                }
                let owned = self.model.ephemerals(session).collect();
                require(ephemerals::NAME, self.ephemerals.closed(session, &close.paths, owned));
                self.model.close_session(zxid, session);
            }
            Some(Body::Ops(_) | Body::Error(_)) | None => {
                let by_itself = || self.done_by_leader(zxid, txn, configs, coverage);
                let effects = response.unwrap_or_else(by_itself);
                self.model.apply(zxid, effects);
            }
        }
    }

    /// A transaction that no client asked for.
    fn done_by_leader(&self, zxid: Zxid, txn: &Txn, configs: &Configs, coverage: &mut Coverage) -> Effects {
        if txn.ops().is_empty() {
            return Effects::default();
        }
        if let Some(text) = text_of(txn) {
            coverage.count("rule 21: the history got its first configuration");
            let (version, members) = configs.newest();
            let is_first = unless(version == Zxid::ZERO, || format!("at {zxid} there is another first one"));
            require(configurations::NAME, is_first);
            require(configurations::NAME, configurations::says(zxid, &text, members));
            return Model::reconfiguration();
        }
        match self.limited.decided(zxid, txn, &self.model) {
            Ok((path, gone)) => {
                coverage.count(match gone {
                    Gone::Used => "container removed",
                    Gone::Unused => "container removed that was never used",
                    Gone::Old => "znode removed when its time to live was over",
                });
                self.model.removal(path, zxid)
            }
            Err(why) => {
                require(limited::NAME, Err(why));
                Effects::default()
            }
        }
    }

    /// The request behind a transaction is done.
    fn request_done(&mut self, zxid: Zxid, txn: &Txn, configs: &Configs, coverage: &mut Coverage) -> Effects {
        let session = SessionId(txn.session_id);
        let before = self.model.end();
        let lives = self.model.standing(session, before) != Standing::Over;
        let Some(entry) = self.history.request(session, txn.xid) else {
            require(client_history::NAME, Err(format!("nobody asked for {txn:?} at {zxid}")));
            return Effects::default();
        };
        let author = Author { session, zxid, time_ms: txn.time_ms };
        let (expected, effects) = match &entry.op {
            // Whether the session lives is asked last, as in ZooKeeper.
            Op::Reconfig(change) if lives || is_refusal(txn) => {
                reconfigured((zxid, txn), change, lives, configs, coverage)
            }
            _ => self.model.judge(&entry.op, before, author),
        };
        require(client_history::NAME, client_history::decided(entry, zxid, txn, &expected));
        if self.model.standing(session, before) == Standing::Local {
            coverage.count("request of a local session");
            require(local::NAME, self.locals.decided(entry, zxid));
        }
        count_beyond(effects.beyond, coverage);
        if expected != Err(ErrorCode::SessionExpired) {
            require(generations::NAME, self.generations.done(session, entry.conn, zxid));
        }
        if is_refusal(txn) {
            coverage.count("refusal in the log");
            entry.decided = Some((zxid, expected));
            return effects;
        }
        let is_guarded = lock::written(&self.model, before, zxid, session, &entry.op);
        let is_guarded = is_guarded.unwrap_or_else(|why| {
            require(lock::NAME, Err(why));
            false
        });
        if is_guarded {
            coverage.count("write under a lock");
            if self.holder.replace(session).is_some_and(|holder| holder != session) {
                coverage.count("lock handed over");
            }
        }
        entry.decided = Some((zxid, expected));
        effects
    }

    /// A session is open for a client, at a server whose state is at this zxid.
    pub fn connected(&mut self, client: &Client, told: Told, coverage: &mut Coverage) {
        let Told { session, server, since, at, now, timeout_ms } = told;
        let is_same = client.session == SessionId(0) || client.session == session;
        require(client_order::NAME, client_order::same_session(is_same));
        require(client_order::NAME, client_order::seen(client.last_zxid, at));
        if self.model.was_open_between(session, since, at) {
            return;
        }
        let is_over = self.model.was_opened(session) && !self.model.is_open(session, self.model.end());
        require(local::NAME, local::is_not_over(session, at, is_over));
        match self.locals.connected(session, server, now, timeout_ms) {
            Ok(true) => coverage.count("local session opened"),
            Ok(false) => coverage.count("local session went on with its server"),
            Err(why) => require(local::NAME, Err(why)),
        }
        self.model.open_local(session);
    }

    /// A client is told by a server, whose state is at this zxid, that its session is gone.
    pub fn expired(&mut self, client: &Client, told: Told, coverage: &mut Coverage) {
        let Told { session, server, since, at, now, .. } = told;
        let is_open = self.model.is_open(session, since) && self.model.is_open(session, at);
        require(client_order::NAME, client_order::told_expired(session, is_open));
        if !client.watches.is_empty() {
            coverage.count("watches gone with their session");
        }
        if self.model.standing(session, at) != Standing::Local {
            return;
        }
        match self.locals.expired(session, server, now) {
            Ok(Some(Over::Elsewhere)) => coverage.count("local session that moved is over"),
            Ok(Some(Over::ProcessEnded)) => coverage.count("local session over with its server's process"),
            Ok(Some(Over::Silent)) => coverage.count("local session expired"),
            Ok(Some(Over::OutcomeLost)) => coverage.count("local session over with its connection"),
            Ok(None) => {}
            Err(why) => require(local::NAME, Err(why)),
        }
    }

    /// What a session asks for comes to its server.
    pub fn arrived(&mut self, session: SessionId, xid: Xid) {
        if let Some(entry) = self.history.request(session, xid) {
            self.locals.asks(session, &entry.op, entry.invoked);
        }
    }

    /// A client is shown something of the state at a zxid.
    fn shows(&mut self, client: &mut Client, zxid: Zxid) {
        require(client_order::NAME, client_order::seen(client.last_zxid, zxid));
        require(watches::NAME, client.watches.sees(zxid, &self.model));
        client.last_zxid = zxid;
    }

    /// A client is answered.
    pub fn answered(
        &mut self,
        client: &mut Client,
        xid: Xid,
        zxid: Zxid,
        result: &Result<Response, ErrorCode>,
        coverage: &mut Coverage,
    ) -> Waiting {
        let waiting = client.outstanding.pop_front();
        require(client_order::NAME, client_order::answered(waiting.as_ref().map(|waiting| waiting.xid), xid));
        let waiting = waiting.expect("it was looked at just now");
        self.shows(client, zxid);
        let entry = &self.history.entries[waiting.entry];
        if entry.op == Op::Close && entry.decided.is_none() && self.model.is_known_local(entry.session) {
            coverage.count("local session closed");
            require(local::NAME, local::may_leave(entry, zxid, result, &self.model));
            self.locals.left(entry.session, zxid);
            self.history.told(waiting.entry, zxid, result.clone());
            return waiting;
        }
        require(client_history::NAME, client_history::replied(entry, zxid, result, &self.model));
        require(real_time::NAME, real_time::replied(entry, zxid));
        client.synced = (entry.op == Op::Sync).then_some((entry.invoked, entry.floor));
        self.history.told(waiting.entry, zxid, result.clone());
        count_answer(&waiting.op, result, coverage);
        waiting
    }

    /// A client reads; `events` come before the answer.
    pub fn read(
        &mut self,
        client: &mut Client,
        read: &Read,
        events: &[WatchEvent],
        zxid: Zxid,
        result: &Result<Response, ErrorCode>,
        coverage: &mut Coverage,
    ) {
        if let Read::Resume(resume) = read {
            coverage.count("watch set again");
            events.iter().for_each(|_| coverage.count("event told late"));
            let staying = resume.persistent.len() + resume.recursive.len();
            coverage.count_many("watch that stays set again", staying as u64);
            require(watches::NAME, client.watches.resumed(resume, events, zxid, &self.model));
        }
        self.shows(client, zxid);
        if let Read::CheckWatches { path, which } | Read::RemoveWatches { path, which } = read {
            require(watches::NAME, client.watches.answers(path, *which, result));
        }
        let is_right = client_history::read(read, client.session, zxid, result, &self.model);
        require(client_history::NAME, is_right);
        count_read(read, result, coverage);
        coverage.count(if zxid < self.model.end() { "read from a server that is behind" } else { "read" });
        if let Some((asked, floor)) = client.synced.filter(|_| !matches!(read, Read::Resume(_))) {
            client.synced = None;
            require(real_time::NAME, real_time::read_behind_sync(floor, zxid));
            self.note_seen(client.index, read, result, asked, coverage);
        }
        client.note_watch(read, result);
    }

    /// What a read behind a `sync` says is true between the two.
    fn note_seen(
        &mut self,
        client: usize,
        read: &Read,
        result: &Result<Response, ErrorCode>,
        invoked: u64,
        coverage: &mut Coverage,
    ) {
        let (path, state) = match (read, result) {
            (Read::Data { path, .. }, Ok(Response::Data { data, stat })) => {
                (path, Some((stat.version, data.clone().unwrap_or_default())))
            }
            (Read::Data { path, .. } | Read::Exists { path, .. }, Err(ErrorCode::NoNode)) => (path, None),
            _ => return,
        };
        coverage.count("read behind a sync");
        let returned = self.history.tick();
        self.history.seen.push(Seen { client, path: path.clone(), state, invoked, returned });
    }

    /// A watch of a client fires.
    pub fn fired(&mut self, client: &mut Client, event: &WatchEvent, coverage: &mut Coverage) {
        coverage.count("event");
        coverage.count(match event.kind {
            EventKind::NodeCreated => "watch fired: created",
            EventKind::NodeDataChanged => "watch fired: data",
            EventKind::NodeDeleted => "watch fired: deleted",
            EventKind::NodeChildrenChanged => "watch fired: children",
        });
        let told = client.watches.fired(event, &self.model).unwrap_or_else(|why| {
            require(watches::NAME, Err(why));
            Vec::new()
        });
        if told.len() > 1 {
            coverage.count("one event for several watches");
        }
        for (watching, path) in told {
            match watching {
                Watching::Persistent => coverage.count("event of a persistent watch"),
                Watching::Recursive if path == event.path => coverage.count("event of a recursive watch"),
                Watching::Recursive => coverage.count("event of a recursive watch above"),
                Watching::Data | Watching::Absence | Watching::Children => {}
            }
        }
    }

    /// Nothing happens any more, and every server is at the end.
    pub fn finish<'a>(&mut self, clients: impl IntoIterator<Item = &'a mut Client>, coverage: &mut Coverage) {
        for client in clients.into_iter().filter(|client| client.connected) {
            require(watches::NAME, client.watches.sees(self.model.end(), &self.model));
        }
        require(client_order::NAME, client_order::finish(&self.history));
        let shared: Vec<String> = SHARED.iter().map(|path| path.to_string()).collect();
        match linearizability::finish(&self.history, &shared) {
            Ok(found) => {
                // A search that takes too long says nothing.
                let ordered = found.iter().filter(|found| **found == linearizability::Found::Order);
                ordered.for_each(|_| coverage.count("znode with a linear order"));
            }
            Err(why) => require(linearizability::NAME, Err(why)),
        }
        self.count_upgrades(coverage);
        for entry in self.history.entries.iter().filter(|entry| entry.outcome == Outcome::Lost) {
            if entry.op.is_write() {
                coverage.count(match &entry.decided {
                    Some((_, result)) if result.is_err() || is_refused(result) => {
                        "outcome not known: it was refused"
                    }
                    Some(_) => "outcome not known: it was done",
                    None => "outcome not known: it was not done",
                });
            }
        }
    }

    /// What came of the requests for which local sessions became those of the ensemble.
    fn count_upgrades(&mut self, coverage: &mut Coverage) {
        for (session, xid) in std::mem::take(&mut self.upgraded) {
            let Some(entry) = self.history.request(session, xid) else { continue };
            let is_lost = entry.outcome == Outcome::Lost;
            coverage.count(match &entry.decided {
                None => "upgrade, and the request for it came to nothing",
                Some(_) if is_lost => "upgrade, and the connection was lost before the answer",
                Some((_, result)) if result.is_err() || is_refused(result) => {
                    "upgrade for a request that was refused"
                }
                Some(_) => "upgrade for a request that was done",
            });
        }
    }

    /// A server's tree at the end.
    pub fn compare(&self, tree: &Tree) {
        let stats = |path: &str| tree.node(path).map(|node| (node.data().map(Cow::into_owned), node.stat()));
        require(client_history::NAME, client_history::tree_is(&self.model, tree.len(), stats));
    }
}

/// What came of a reconfiguration: what it asks for of the newest configuration, or a refusal that only the leader can
/// judge.
fn reconfigured(
    (zxid, txn): (Zxid, &Txn),
    change: &Change,
    lives: bool,
    configs: &Configs,
    coverage: &mut Coverage,
) -> (Result<Response, ErrorCode>, Effects) {
    use ErrorCode::{BadArguments, NewConfigNoQuorum, ReconfigInProgress};
    let Some(text) = text_of(txn) else {
        let refusal = match &txn.body {
            Some(Body::Error(error)) => ErrorCode::try_from(error.code).ok(),
            _ => None,
        };
        let votes = |member: &Member| *member != Member::Observer;
        let is_possible = change.applied_to(configs.newest().1).values().any(votes);
        let refusal = refusal.filter(|code| match code {
            ReconfigInProgress | NewConfigNoQuorum => true,
            BadArguments | ErrorCode::MarshallingError => !is_possible,
            ErrorCode::SessionExpired => !lives,
            _ => false,
        });
        coverage.count(match refusal {
            Some(ErrorCode::SessionExpired) => "reconfiguration for a session that is over",
            Some(ReconfigInProgress) => "rule 22: a reconfiguration was refused while another was under way",
            Some(NewConfigNoQuorum) => {
                "rule 22: a reconfiguration was refused without a quorum of the new one"
            }
            _ => "reconfiguration to nobody refused",
        });
        return (Err(refusal.unwrap_or(ErrorCode::SystemError)), Effects::default());
    };
    require(configurations::NAME, configurations::made(zxid, &text, change, configs));
    let (before, after) = (configs.newest().1, change.applied_to(configs.newest().1));
    let members = |members: &Members| members.keys().copied().collect::<BTreeSet<_>>();
    coverage.count("reconfiguration");
    if after.keys().any(|id| !before.contains_key(id)) {
        coverage.count("reconfiguration: a server was added");
    }
    if before.keys().any(|id| !after.contains_key(id)) {
        coverage.count("reconfiguration: a server was removed");
    }
    if members(before) == members(&after) && *before != after {
        coverage.count("reconfiguration: a server changed its role");
    }
    if members(before).is_disjoint(&members(&after)) {
        coverage.count("reconfiguration: to other servers altogether");
    }
    if after.len() == 1 {
        coverage.count("reconfiguration: to one server alone");
    }
    // An empty ACL is no matter here, and the version of the znode is always the same.
    let length = text.len() as i32;
    let stat = Stat {
        mzxid: zxid,
        mtime_ms: txn.time_ms,
        version: -1,
        aversion: -1,
        data_length: length,
        ..Stat::default()
    };
    (Ok(Response::Data { data: Some(text.into()), stat }), Model::reconfiguration())
}

fn is_refusal(txn: &Txn) -> bool {
    matches!(txn.body, Some(Body::Error(_)))
}
