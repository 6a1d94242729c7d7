//! What clients see, and what it is judged by: a model that does every decided transaction, as it was asked for.

use std::borrow::Cow;

use zabra::ids::{SessionId, Xid, Zxid};
use zabra::jute::{CreateMode, ErrorCode, EventKind, ReadResult, Response, WatchEvent};
use zabra::tree::Tree;
use zabra::txn::{Txn, txn::Body};

use super::checkers::ephemerals::{self, Ephemerals};
use super::checkers::generations::{self, Generations};
use super::checkers::limited::{self, Gone, Limited};
use super::checkers::require;
use super::checkers::watches::{self, Watching};
use super::checkers::{client_history, client_order, linearizability, lock, real_time};
use super::client::{Client, Waiting};
use super::coverage::Coverage;
use super::history::{History, Outcome, Seen};
use super::model::{Author, Effects, Model, is_refused};
use super::op::{Op, Read};
use super::workload::SHARED;

#[derive(Default)]
pub struct Witness {
    pub history: History,
    pub model: Model,
    pub limited: Limited,
    ephemerals: Ephemerals,
    generations: Generations,
    /// who wrote under the lock last
    holder: Option<SessionId>,
}

impl Witness {
    /// A transaction is seen for the first time.
    pub fn decided(&mut self, zxid: Zxid, txn: &Txn, coverage: &mut Coverage) {
        let session = SessionId(txn.session_id);
        // A session that is over has no generation, nor has who is refused to go on with one.
        if !(is_refusal(txn) && (txn.xid == 0 || !self.model.is_open(session, self.model.end()))) {
            require(generations::NAME, self.generations.says(session, txn.generation, zxid));
        }
        let response = (txn.request_id != 0 && txn.xid != 0).then(|| self.request_done(zxid, txn, coverage));
        match &txn.body {
            Some(Body::CreateSession(_)) => {
                coverage.count("session opened");
                require(ephemerals::NAME, self.ephemerals.opened(session, zxid));
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
                let by_itself = || self.ended_by_leader(zxid, txn, coverage);
                let effects = response.unwrap_or_else(by_itself);
                self.model.apply(zxid, effects);
            }
        }
    }

    /// A transaction that no client asked for.
    fn ended_by_leader(&self, zxid: Zxid, txn: &Txn, coverage: &mut Coverage) -> Effects {
        if txn.ops().is_empty() {
            return Effects::default();
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
    fn request_done(&mut self, zxid: Zxid, txn: &Txn, coverage: &mut Coverage) -> Effects {
        let session = SessionId(txn.session_id);
        let before = self.model.end();
        let Some(entry) = self.history.request(session, txn.xid) else {
            require(client_history::NAME, Err(format!("nobody asked for {txn:?} at {zxid}")));
            return Effects::default();
        };
        let author = Author { session, zxid, time_ms: txn.time_ms };
        let (expected, effects) = self.model.judge(&entry.op, before, author);
        require(client_history::NAME, client_history::decided(entry, zxid, txn, &expected));
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
    pub fn connected(&mut self, client: &Client, session: SessionId, at: Zxid) {
        let is_same = client.session == SessionId(0) || client.session == session;
        require(client_order::NAME, client_order::same_session(is_same));
        require(client_order::NAME, client_order::seen(client.last_zxid, at));
    }

    /// A client is told that its session is gone.
    pub fn expired(&mut self, client: &Client, coverage: &mut Coverage) {
        let end = self.model.end();
        let is_open = self.model.is_open(client.session, end);
        require(client_order::NAME, client_order::told_expired(client.session, is_open));
        if !client.watches.is_empty() {
            coverage.count("watches gone with their session");
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

    /// A server's tree at the end.
    pub fn compare(&self, tree: &Tree) {
        let stats = |path: &str| tree.node(path).map(|node| (node.data().map(Cow::into_owned), node.stat()));
        require(client_history::NAME, client_history::tree_is(&self.model, tree.len(), stats));
    }
}

fn is_refusal(txn: &Txn) -> bool {
    matches!(txn.body, Some(Body::Error(_)))
}

fn count_answer(op: &Op, result: &Result<Response, ErrorCode>, coverage: &mut Coverage) {
    match (op, result) {
        (Op::Multi(_), Ok(_)) if is_refused(result) => coverage.count("multi refused"),
        (Op::Multi(_), Ok(_)) => coverage.count("multi"),
        (Op::Sync, Ok(_)) => coverage.count("rule 17: a sync was confirmed by a quorum"),
        (Op::Create { mode: CreateMode::Container, .. }, Ok(_)) => coverage.count("container create"),
        (Op::Create { mode: CreateMode::PersistentWithTtl, .. }, Ok(_)) => {
            coverage.count("create with a time to live");
        }
        (Op::Create { mode: CreateMode::PersistentSequentialWithTtl, .. }, Ok(_)) => {
            coverage.count("sequential create with a time to live");
        }
        (Op::Create { mode, .. }, Ok(_)) if mode.is_sequential() => coverage.count("sequential create"),
        (Op::Create { mode, .. }, Ok(_)) if mode.is_ephemeral() => coverage.count("ephemeral create"),
        (Op::Set { version, .. }, Ok(_)) if *version != super::op::ANY => {
            coverage.count("version as expected")
        }
        (_, Err(ErrorCode::NodeExists)) => coverage.count("refused: the znode is there"),
        (_, Err(ErrorCode::NoNode)) => coverage.count("refused: no such znode"),
        (_, Err(ErrorCode::BadVersion)) => coverage.count("refused: another version"),
        (_, Err(ErrorCode::NotEmpty)) => coverage.count("refused: not empty"),
        _ => {}
    }
}

fn count_read(read: &Read, result: &Result<Response, ErrorCode>, coverage: &mut Coverage) {
    match (read, result) {
        (Read::Many(_), Ok(Response::MultiRead(results))) => {
            let is_error = |result: &ReadResult| matches!(result, ReadResult::Error(_));
            coverage.count(match results.iter().any(is_error) {
                true => "multiRead with an error",
                false => "multiRead",
            });
        }
        (Read::Ephemerals { .. }, Ok(Response::Ephemerals(paths))) if !paths.is_empty() => {
            coverage.count("ephemerals told");
        }
        (Read::Descendants { .. }, Ok(_)) => coverage.count("descendants counted"),
        (Read::AddWatch { is_recursive: true, .. }, Ok(_)) => coverage.count("recursive watch added"),
        (Read::AddWatch { .. }, Ok(_)) => coverage.count("persistent watch added"),
        (Read::CheckWatches { .. }, Ok(_)) => coverage.count("watch found"),
        (Read::RemoveWatches { .. }, Ok(_)) => coverage.count("watches removed"),
        (Read::CheckWatches { .. } | Read::RemoveWatches { .. }, Err(_)) => {
            coverage.count("refused: no such watch");
        }
        _ => {}
    }
}
